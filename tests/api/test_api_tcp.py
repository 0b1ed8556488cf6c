"""TCP: web pages are kept out, and hijacking works through TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.fake_engine import ID, FakeEngine, talk
from api.wire import Client
from ketch.api.origin import OriginPolicy
from ketch.api.server import ApiServer
from ketch.daemon import listeners
from ketch.daemon.settings import Settings


@pytest.fixture
async def tcp(engine: FakeEngine) -> AsyncIterator[int]:
    api = ApiServer(engine, OriginPolicy(("engine.example",)))  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(api.remote_factory, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await api.close(0.1)


async def ask(port: int, method: str, path: str, host: str, origin: str = "") -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Content-Length: 0"]
    if origin:
        lines.append(f"Origin: {origin}")
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    status = (await Client(reader, writer).head()).status
    writer.close()
    return status


@pytest.mark.parametrize("host", ["127.0.0.1:2375", "localhost:2375", "[::1]", "engine.example"])
async def test_our_names(tcp: int, host: str) -> None:
    assert await ask(tcp, "GET", "/containers/json", host) == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", ""),
        ("localhost.evil.example", ""),
        ("", ""),
        ("localhost", "http://evil.example"),
        ("127.0.0.1:2375", "null"),
    ],
)
async def test_web_pages_are_refused(
    tcp: int, engine: FakeEngine, method: str, host: str, origin: str
) -> None:
    path = "/containers/json" if method == "GET" else f"/containers/{ID}/resize?h=1&w=1"
    assert await ask(tcp, method, path, host, origin) == 403
    assert engine.containers.calls == []


def make_certificates(folder: Path) -> Settings:
    """A CA that signs one certificate for both sides."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    openssl("req", *key, "-keyout", "key.pem", "-out", "csr", "-subj", "/CN=localhost")
    (folder / "ext").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        "x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", "cert.pem", "-extfile", "ext", "-days", "2",
    )  # fmt: skip
    return Settings(
        tlsverify=True,
        tlscacert=str(folder / "ca.pem"),
        tlscert=str(folder / "cert.pem"),
        tlskey=str(folder / "key.pem"),
        hosts=("tcp://127.0.0.1:0",),
    )


async def ping(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    await Client(reader, writer).ask("GET", "/_ping")


async def test_hijack_through_mutual_tls(engine: FakeEngine, tmp_path: Path) -> None:
    settings = make_certificates(tmp_path)
    (listener,) = listeners.open_all(settings)
    api = ApiServer(engine, OriginPolicy())  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(
        listener.factory(api), sock=listener.sock
    )
    port = listener.sock.getsockname()[1]
    context = ssl.create_default_context(cafile=settings.tlscacert)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await ping(port, context)
    context.load_cert_chain(settings.tlscert, settings.tlskey)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    path = f"/containers/{ID}/attach?stream=1&stdin=1&stdout=1"
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: tcp\r\n\r\nearly "
    writer.write(request.encode())
    client = Client(reader, writer)
    assert (await client.head()).status == 101
    options = await asyncio.wait_for(engine.containers.attached.get(), 60)
    with options.sock as sock:
        sock.setblocking(True)
        early = options.read_ahead or await asyncio.to_thread(sock.recv, 6)
        assert early == b"early "
        big = b"x" * 3_000_000
        writing = asyncio.create_task(asyncio.to_thread(talk, sock, big))
        assert await reader.readexactly(len(big)) == big
        await writing
        writer.write(big)
        got = 0
        while got < len(big):
            got += len(await asyncio.to_thread(sock.recv, 1 << 16))
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    server.close()
    await api.close(0.1)


def talk_half_closed(settings: Settings, port: int) -> bytes:
    """A client that ends its TLS stream and goes on reading, as Go's does."""
    context = ssl.create_default_context(cafile=settings.tlscacert)
    context.load_cert_chain(settings.tlscert, settings.tlskey)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:

        def drive(step: Any) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(1 << 16))
                finally:
                    sock.sendall(outgoing.read())

        drive(tls.do_handshake)
        path = f"/containers/{ID}/attach?stream=1&stdin=1&stdout=1"
        request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\ninput"
        drive(lambda: tls.write(request.encode()))
        head = drive(lambda: tls.read(4096))
        try:
            tls.unwrap()  # our close_notify
        except ssl.SSLError:
            sock.sendall(outgoing.read())
        rest = b""
        while True:
            try:
                rest += drive(lambda: tls.read(4096))
            except ssl.SSLZeroReturnError:
                return bytes(head) + rest


async def test_half_close_through_tls(engine: FakeEngine, tmp_path: Path) -> None:
    settings = make_certificates(tmp_path)
    (listener,) = listeners.open_all(settings)
    api = ApiServer(engine)  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(
        listener.factory(api), sock=listener.sock
    )
    port = listener.sock.getsockname()[1]
    client = asyncio.create_task(asyncio.to_thread(talk_half_closed, settings, port))
    options = await asyncio.wait_for(engine.containers.attached.get(), 60)
    with options.sock as sock:
        sock.setblocking(True)
        got = options.read_ahead
        while chunk := await asyncio.to_thread(sock.recv, 64):
            got += chunk
        assert got == b"input"
        talk(sock, b"output after the end of input")
    assert (await asyncio.wait_for(client, 60)).endswith(b"output after the end of input")
    server.close()
    await api.close(0.1)
