"""What ``ketch build`` lends: connections to an agent, at every pace of the engine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from ketch.cli import build_lend
from ketch.cli.build_agents import converse
from ketch.cli.build_flags import FLAGS
from ketch.cli.flags import parse
from ketch.client.address import Address
from ketch.client.api import Client

HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
TOKEN = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    b'{"Id":"t"}'
)


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    server.settimeout(10)
    return server


def accepted(server: socket.socket, beginning: bytes) -> socket.socket:
    """The next connection, whose first bytes are these."""
    connection = server.accept()[0]
    connection.settimeout(10)
    assert connection.recv(65536).startswith(beginning)
    return connection


def test_what_a_step_says_at_once_reaches_the_agent(tmp_path: Path) -> None:
    """A step that waits for a connection speaks as soon as there is one: its words may come
    together with the head of the engine's answer."""
    parsed = parse(FLAGS, ["--ssh", f"default={tmp_path}/agent", "."])
    with listening(tmp_path / "engine") as engine, listening(tmp_path / "agent") as agent:
        client = Client(Address(f"unix://{tmp_path}/engine"))
        lending = threading.Thread(target=build_lend.lend, args=(client, parsed), daemon=True)
        lending.start()
        with accepted(engine, b"POST /ketch/builds/offers ") as asked:
            asked.sendall(TOKEN)
            for word in (b"\0\0\0\1\x0b", b"\0\0\0\5\x0dsign"):
                with accepted(engine, b"POST /ketch/builds/offers/t/agent?") as step:
                    step.sendall(HEAD + word)
                    with accepted(agent, word) as conversation:
                        conversation.sendall(b"\0\0\0\2ok")
                        assert step.recv(100) == b"\0\0\0\2ok"
        lending.join()


def test_a_step_cannot_change_the_agent(tmp_path: Path) -> None:
    """A Dockerfile could empty or lock the agent of whoever builds it."""
    mine, theirs = socket.socketpair()
    theirs.settimeout(10)
    remove_all, identities, lock = b"\0\0\0\1\x13", b"\0\0\0\1\x0b", b"\0\0\0\5\x16\0\0\0\0"
    with listening(tmp_path / "agent") as agent, theirs:
        carried = threading.Thread(
            target=converse, args=(mine, remove_all[:3], f"{tmp_path}/agent"), daemon=True
        )
        carried.start()
        theirs.sendall(remove_all[3:] + identities + lock)
        with accepted(agent, identities) as conversation:  # nothing else comes there
            conversation.sendall(b"\0\0\0\5\x0c\0\0\0\0")
            wanted = b"\0\0\0\1\5" + b"\0\0\0\5\x0c\0\0\0\0" + b"\0\0\0\1\5"
            answered = b""
            while len(answered) < len(wanted):
                answered += theirs.recv(100)
            assert answered == wanted
            theirs.sendall(b"\xff\xff\xff\xff")  # longer than any message
            assert (theirs.recv(1), conversation.recv(1)) == (b"", b"")
    carried.join()
