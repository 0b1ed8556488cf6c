"""Messages over SEQPACKET, honest and hostile."""

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.linux import unixpath
from ketch.runtime import protocol
from ketch.runtime.detach_keys import DetachKeys
from ketch.runtime.protocol import ProtocolError

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        yield one, two


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_message_with_fds(pair: Pair) -> None:
    read, write = os.pipe()
    protocol.send(pair[0], {"op": "x", "text": "ü\n"}, [write])
    os.close(write)
    message = protocol.receive(pair[1])
    assert message is not None
    assert message.body == {"op": "x", "text": "ü\n"}
    assert fcntl.fcntl(message.fds[0], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.write(message.fds[0], b"through")
    message.close()
    assert os.read(read, 100) == b"through"
    os.close(read)


def test_large_message_is_a_sealed_memfd(pair: Pair) -> None:
    before = open_fds()
    body = {"text": "x" * 1_000_000}
    protocol.send(pair[0], body, [0])
    message = protocol.receive(pair[1])
    assert message is not None
    assert message.body == body
    assert len(message.fds) == 1
    message.close()
    assert open_fds() == before


def test_end_and_nothing_yet(pair: Pair) -> None:
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        protocol.receive(pair[1])
    pair[0].close()
    assert protocol.receive(pair[1]) is None


@pytest.mark.parametrize(
    "packet", [b"{", b"[]", b"1", b"\xff\xfe", b"{}x", b'{"memfd":true}', b"[" * 20_000, b"NaN"]
)
def test_what_is_no_message(pair: Pair, packet: bytes) -> None:
    pair[0].send(packet)
    with pytest.raises(ProtocolError):
        protocol.receive(pair[1])


def test_an_oversized_packet_is_refused_and_skipped(pair: Pair) -> None:
    pair[0].send(b"x" * (protocol.MAX_PACKET + 1))
    protocol.send(pair[0], {"next": 1})
    with pytest.raises(ProtocolError):
        protocol.receive(pair[1])
    message = protocol.receive(pair[1])
    assert message is not None
    assert message.body == {"next": 1}


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_WRITE])
def test_a_memfd_that_could_still_change_is_refused(pair: Pair, seals: int) -> None:
    before = open_fds()
    memfd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(memfd, b"{}")
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, seals)
    socket.send_fds(pair[0], [b'{"memfd":true}'], [memfd, memfd])
    os.close(memfd)
    with pytest.raises(ProtocolError):
        protocol.receive(pair[1])
    assert open_fds() == before


def test_fds_of_a_bad_message_are_closed(pair: Pair) -> None:
    before = open_fds()
    socket.send_fds(pair[0], [b"nonsense"], [0, 1, 2])
    with pytest.raises(ProtocolError):
        protocol.receive(pair[1])
    assert open_fds() == before


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(data: bytes) -> None:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        one.send(data)
        try:
            message = protocol.receive(two)
        except ProtocolError:
            return
        assert message is not None
        assert isinstance(message.body, dict)


def test_sockets_below_long_paths(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d") / ("x" * 120)
    directory.mkdir()
    path = str(directory / "s.sock")
    listener = unixpath.listen(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    client = unixpath.connect(path)
    server = unixpath.accept(listener)
    assert unixpath.peer_uid(server) == os.getuid()
    for sock in (listener, client, server):
        sock.close()


@given(st.binary(max_size=4), st.lists(st.binary(max_size=6), max_size=6))
def test_detach_keys_are_found_wherever_the_input_is_cut(keys: bytes, chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    finder = DetachKeys(keys)
    passed, found = b"", False
    for chunk in chunks:
        more, found = finder.feed(chunk)
        passed += more
        if found:
            break
    index = whole.find(keys) if keys else -1
    assert found == (index >= 0)
    if found:
        assert passed == whole[:index]
    else:
        assert whole.startswith(passed)
        assert keys.startswith(whole[len(passed) :]) if keys else passed == whole


@pytest.mark.parametrize(
    ("typed", "passed"), [(b"\x10\x10\x11z", b"\x10"), (b"a\x10b\x10\x11", b"a\x10b")]
)
def test_default_detach_keys(typed: bytes, passed: bytes) -> None:
    assert DetachKeys(b"\x10\x11").feed(typed) == (passed, True)
