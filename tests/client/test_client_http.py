"""The client's HTTP: real sockets, answers in every framing, and broken ones."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.client.address import Address
from ketch.client.api import Client, encode_query, quote
from ketch.client.connection import EngineUnreachable
from ketch.errors import Conflict, InvalidParameter, NotFound, Unavailable
from ketch.linux import fastjson


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[bytes], Client]]:
    """A server that gives one canned answer to each connection."""
    servers: list[socket.socket] = []

    def serve(answer: bytes) -> Client:
        path = str(tmp_path / f"{len(servers)}.sock")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        servers.append(server)

        def run() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return Client(Address("unix://" + path))

    yield serve
    for server in servers:
        server.close()


def test_content_length(engine: Callable[[bytes], Client]) -> None:
    answer = (
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    )
    assert engine(answer).call("GET", "/x") == {"a": 1}


def test_chunked_and_interim(engine: Callable[[bytes], Client]) -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'5\r\n{"a":\r\n4;x=y\r\n 1}\n\r\n0\r\n\r\n'
    )
    assert list(engine(answer).json_lines("GET", "/x")) == [{"a": 1}]


def test_until_close(engine: Callable[[bytes], Client]) -> None:
    assert engine(b"HTTP/1.1 200 OK\r\n\r\nabc").call("GET", "/x") == "abc"


def test_a_connection_made_ahead_is_the_next_exchanges(
    engine: Callable[[bytes], Client],
) -> None:
    client = engine(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")  # to one connection only
    client.connect_ahead()
    client.connect_ahead()
    assert client.stream("GET", "/x").body() == b"abc"


def test_something_is_done_while_the_engine_works(tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(65536).startswith(b"POST /x ")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")

        said = Client(Address("unix://" + path)).call("POST", "/x", meanwhile=answer)
    assert said == "a"


def test_nobody_to_connect_to_ahead_shows_at_the_exchange(tmp_path: Path) -> None:
    client = Client(Address(f"unix://{tmp_path}/nobody.sock"))
    client.connect_ahead()
    with pytest.raises(EngineUnreachable):
        client.call("GET", "/x")


@pytest.mark.parametrize(
    ("status", "category"), [(404, NotFound), (409, Conflict), (400, InvalidParameter)]
)
def test_errors_by_category(
    engine: Callable[[bytes], Client], status: int, category: type[Exception]
) -> None:
    body = b'{"message":"no such thing"}\n'
    answer = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    with pytest.raises(category, match="no such thing"):
        engine(answer).call("GET", "/x")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    ],
)
def test_broken_answers(engine: Callable[[bytes], Client], answer: bytes) -> None:
    with pytest.raises(Unavailable):
        engine(answer).call("GET", "/x")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match="Is the ketch daemon running"):
        Client(Address(f"unix://{tmp_path}/none.sock")).call("GET", "/x")


@pytest.mark.parametrize("text", ["nonsense", "ftp://x", "tcp://host", "tcp://:x"])
def test_addresses_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="unable to parse"):
        Address(text)


def test_query() -> None:
    query = {"a": True, "b": None, "c": False, "d": ["x y", "é"], "e": {"k": ["v"]}}
    assert encode_query(query) == "?a=1&d=x%20y&d=%C3%A9&e=%7B%22k%22%3A%5B%22v%22%5D%7D"
    assert quote("a/b") == "a%2Fb"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_fastjson_round_trip(value: object) -> None:
    assert fastjson.loads(fastjson.dumps(value)) == value


def test_fastjson_is_unicode() -> None:
    """As Go does it: U+FFFD for each byte of a name that is no UTF-8, and for halves of pairs."""
    name = os.fsdecode(b"a\xff\xfe\xc3\xa9")
    assert fastjson.loads(fastjson.dumps([name, "\ud83d\ude00", "\ud83d"])) == [
        "a\ufffd\ufffd\u00e9", "\U0001f600", "\ufffd",
    ]  # fmt: skip
    assert fastjson.dumps(name) == '"a\ufffd\ufffd\u00e9"'.encode()


@given(st.text())
def test_fastjson_refuses_as_json_does(text: str) -> None:
    import json

    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            fastjson.loads(text)
    else:
        assert fastjson.loads(text) == expected


def test_what_is_no_chunk(engine: Callable[[bytes], Client]) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nHTTP/1.1 500 X\r\n"
    with pytest.raises(Unavailable, match="broke off"):
        engine(answer).call("GET", "/x")
