"""Placeholders: what they are told, who tells them, what is left of them."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from ketch.linux import machine_code, namespaces, placeholder, process
from ketch.linux import mountapi as m
from ketch.linux.placeholder import Guide, Placeholder
from ketch.linux.script import Refused, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

FLAGS = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS


@pytest.fixture(params=["machine code", "python"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test twice: with a child in our memory, and with one that has a copy."""
    if request.param == "python":
        monkeypatch.setattr(machine_code, "load", lambda: None)
    elif machine_code.load() is None:
        pytest.skip("there is no code for this machine")


class Pair:
    """A placeholder and its guide; as far as ``ended`` says it is not reaped yet."""

    def __init__(self) -> None:
        self.first = Placeholder(FLAGS)
        self.guide = Guide(os.dup(self.first.door.fileno()), self.first.address)

    def prepare(self, calls: Script, *filesystems: str) -> list[int] | None:
        names = self.guide.prepare(calls, [], filesystems)
        contexts = self.guide.await_ready(names)
        if contexts is not None:
            self.first.address = self.guide.address
        else:
            self.first.check(names)
        return contexts

    def finish(self, calls: Script, *fds: int) -> None:
        names = self.guide.finish(calls, fds)
        self.first.await_end()
        self.first.check(names)

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.first.pid, 0)[1])

    def close(self) -> None:
        process.kill_and_reap(self.first.pid, self.first.pidfd)
        os.close(self.first.pidfd)
        self.first.forget()


@pytest.fixture
def pair() -> Iterator[Pair]:
    before = len(os.listdir("/proc/self/fd"))
    pair = Pair()
    yield pair
    pair.close()
    del pair.guide
    assert len(os.listdir("/proc/self/fd")) == before


def shell(code: bytes) -> Script:
    script = Script()
    words = script.strings([b"sh", b"-c", code])
    script.call("execve", b"/bin/sh", words, script.strings([b"A=1"]), what="/bin/sh")
    return script


def test_it_becomes_a_program_with_the_files_that_were_sent(pair: Pair) -> None:
    pair.prepare(Script())
    assert not pair.first.has_begun()
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    pair.finish(shell(b'echo "$$ $A" /proc/self/fd/*; exit 5'), null, write, write)
    assert pair.first.has_begun()
    assert pair.status() == 5
    os.close(write)
    with open(read) as output:
        said = output.read()
    os.close(null)
    assert said.split()[:2] == ["1", "1"]  # the first of its pid namespace
    assert [int(word.rpartition("/")[2]) for word in said.split()[2:5]] == [0, 1, 2]


def test_contexts_are_of_its_namespaces(pair: Pair) -> None:
    contexts = pair.prepare(Script(), "proc", "tmpfs")
    assert contexts is not None
    mounts = [m.new_filesystem("", context=context) for context in contexts]
    seen = []
    for fd in mounts:
        directory = os.open(".", os.O_RDONLY, dir_fd=fd)
        seen.append([name for name in os.listdir(directory) if name.isdigit()])
        os.close(directory)
        os.close(fd)
    assert seen == [["1"], []]


def test_it_knows_no_more_calls_than_it_was_told(pair: Pair) -> None:
    calls = Script()
    calls.call("umask", 0o077)
    pair.prepare(Script())
    pair.finish(calls)
    assert pair.status() == 127


@pytest.mark.parametrize("last", [False, True])
def test_a_call_that_fails_is_named(pair: Pair, last: bool) -> None:
    calls = Script()
    calls.call("umask", 0)
    calls.call("fchdir", 63, what="nowhere")
    if last:
        pair.prepare(Script())
    with pytest.raises(Refused) as caught:
        pair.finish(calls) if last else pair.prepare(calls)
    found = caught.value.errno, caught.value.call, caught.value.what
    assert found == (errno.EBADF, "fchdir", "nowhere")
    assert pair.status() == 127


def test_it_ends_when_nobody_can_tell_it_any_more() -> None:
    pair = Pair()
    pair.prepare(Script())
    del pair.guide
    pair.first.door.close()
    assert pair.status() == 127
    os.close(pair.first.pidfd)
    pair.first.forget()


def test_one_that_is_killed(pair: Pair) -> None:
    pair.prepare(Script())
    os.kill(pair.first.pid, signal.SIGKILL)
    assert pair.status() == -signal.SIGKILL
    with pytest.raises(BrokenPipeError):
        pair.guide.finish(Script(), [])
    pair.first.await_end()
    assert not pair.first.has_begun()


def test_long_arguments(pair: Pair) -> None:
    """More than a socket's buffer holds, up to what the kernel takes."""
    read, write = os.pipe()
    script = Script()
    words = script.strings(
        [b"sh", b"-c", b"echo $#", b"x", *[bytes(100_000).replace(b"\0", b"y")] * 15]
    )
    script.call("execve", b"/bin/sh", words, script.strings([]), what="/bin/sh")
    pair.prepare(Script())
    pair.finish(script, read, write, write)
    assert pair.status() == 0
    assert os.read(read, 100) == b"15\n"
    os.close(read)
    os.close(write)


def test_more_than_there_is_room_for(pair: Pair) -> None:
    script = Script()
    script.keep(bytes(placeholder._LIMIT))
    pair.prepare(Script())
    with pytest.raises(OSError, match="Argument list too long"):
        pair.guide.finish(script, [])


def test_flags_that_the_kernel_refuses() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Invalid argument"):
        Placeholder(1 << 63)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_door_takes_nobody_elses_number() -> None:
    taken = os.open(os.devnull, os.O_RDONLY)
    os.dup2(taken, placeholder.DOOR)
    before = os.fstat(placeholder.DOOR)
    with pytest.raises(OSError, match="Too many open files"):
        Placeholder(FLAGS)
    assert os.path.samestat(os.fstat(placeholder.DOOR), before)
    os.close(placeholder.DOOR)
    os.close(taken)


def test_one_after_the_other() -> None:
    for number in range(3):
        pair = Pair()
        pair.prepare(Script())
        pair.finish(shell(b"exit %d" % number))
        assert pair.status() == number
        pair.close()
