"""Syslog and journald drivers against real sockets, TLS included."""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ketch.logs.journald import JournaldLog
from ketch.logs.syslog import SyslogLog, split_address

SETTINGS: dict[str, Any] = {
    "address": "", "facility": 3, "format": "rfc5424", "tag": "tag", "hostname": "host",
    "attrs": {}, "ca": "", "cert": "", "key": "", "skip_verify": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost with its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


class Server:
    """Takes one connection and everything it says."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        self._context = context
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self.listener.accept()
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            while data := sock.recv(65536):
                self.received += data
        except OSError:
            pass  # a client that does not trust us
        finally:
            sock.close()

    def finish(self) -> bytes:
        self._thread.join(10)
        self.listener.close()
        return self.received


def speak(settings: dict[str, Any]) -> None:
    log = SyslogLog(settings)
    log.write("stdout", b"one\ntwo")
    log.write("stderr", b"bad\n")
    log.close()


def test_tls_counts_its_messages(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(context)
    address = f"tcp+tls://localhost:{server.port}"
    speak({**SETTINGS, "address": address, "ca": str(certificate)})
    rest, messages = server.finish(), []
    while rest:
        length, _, rest = rest.partition(b" ")
        messages.append(rest[: int(length)])
        rest = rest[int(length) :]
    assert [re.sub(rb"^<(\d+)>1 \S+Z host tag \d+ tag - ", rb"\1 ", m) for m in messages] == [
        b"30 one\n", b"27 bad\n", b"30 two\n",
    ]  # fmt: skip


def test_a_certificate_that_nobody_knows(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(context)
    with pytest.raises(OSError, match="certificate"):
        SyslogLog({**SETTINGS, "address": f"tcp+tls://localhost:{server.port}"})
    server.finish()
    server = Server(context)
    address = f"tcp+tls://localhost:{server.port}"
    speak({**SETTINGS, "address": address, "skip_verify": True})
    assert b"one" in server.finish()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_unix_sockets_of_both_kinds(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(path))
        server.settimeout(10)
        if kind is socket.SOCK_STREAM:
            server.listen()
        speak({**SETTINGS, "address": f"unix://{path}", "format": "rfc3164"})
        if kind is socket.SOCK_STREAM:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(10)
                data = sock.recv(65536)
        else:
            data = b"".join(server.recv(65536) for _ in range(3))
    assert re.findall(rb"<(\d+)>\w+ +\d+ \S+ host tag\[\d+\]: (\w+)\n", data) == [
        (b"30", b"one"), (b"27", b"bad"), (b"30", b"two"),
    ]  # fmt: skip


def test_a_server_that_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    log = SyslogLog({**SETTINGS, "address": f"tcp://127.0.0.1:{port}"})
    taken, _ = first.accept()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken.close()  # a reset: the next write fails
    first.close()
    for _ in range(3):
        log.write("stdout", b"lost\n")
    with socket.create_server(("127.0.0.1", port)) as second:
        second.settimeout(10)
        log._failed_at = -60.0  # the pause is over
        log.write("stdout", b"found\n")
        sock, _ = second.accept()
        with sock:
            sock.settimeout(10)
            assert sock.recv(65536).endswith(b"found\n")
    assert capfd.readouterr().err.count("lines are lost") == 1


def test_structured_data_is_escaped() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        address = f"udp://127.0.0.1:{server.getsockname()[1]}"
        speak({**SETTINGS, "address": address, "attrs": {'a "b]': 'x"]\\'}})
        assert b'[container@0 a__b_="x\\"\\]\\\\"] one\n' in server.recv(65536)


@pytest.mark.parametrize(
    ("where", "expected"),
    [("h:1", ("h", 1)), ("h", ("h", 514)), ("[::1]:6", ("::1", 6)), ("[::1]", ("::1", 514))],
)
def test_addresses(where: str, expected: tuple[str, int]) -> None:
    assert split_address(where) == expected


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that takes what a journal takes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.settimeout(10)
        yield sock


def fields(entry: bytes) -> dict[str, bytes]:
    """The native protocol, read back."""
    found = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[name.decode()] = value
        entry = rest
    return found


def test_journal_entries(journal: socket.socket, tmp_path: Path) -> None:
    log = JournaldLog({"socket": str(tmp_path / "journal"), "fields": {"CONTAINER_NAME": "web"}})
    log.write("stdout", b"a=b\nnul \0 inside\n")
    log.write("stderr", b"no newline")
    log.close()
    entries = [fields(journal.recv(65536)) for _ in range(3)]
    assert [entry["MESSAGE"] for entry in entries] == [b"a=b", b"nul \0 inside", b"no newline"]
    assert [entry["PRIORITY"] for entry in entries] == [b"6", b"6", b"3"]
    assert all(entry["CONTAINER_NAME"] == b"web" for entry in entries)
    assert ["CONTAINER_PARTIAL_MESSAGE" in entry for entry in entries] == [False, False, True]


def test_a_large_journal_entry_is_a_memfd(journal: socket.socket, tmp_path: Path) -> None:
    settings = {"socket": str(tmp_path / "journal"), "fields": {"LARGE": "x" * 1_000_000}}
    log = JournaldLog(settings)
    log.write("stdout", b"line\n")
    _, rights, _, _ = journal.recvmsg(10, socket.CMSG_SPACE(4))
    fd = struct.unpack("=i", rights[0][2])[0]
    try:
        found = fields(os.pread(fd, 2_000_000, 0))
    finally:
        os.close(fd)
    assert found["MESSAGE"] == b"line"
    assert len(found["LARGE"]) == 1_000_000
