"""Scripts of system calls: by machine code and by Python, in memory that is shared or is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ketch.linux import machine_code
from ketch.linux.script import ELSE, GO_ON, Refused, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_FD = 0x7FFFFFFF


@pytest.fixture(params=["machine code", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test twice: with the code of this machine, if there is any, and without."""
    if request.param == "python":
        monkeypatch.setattr(machine_code, "load", lambda: None)
    elif machine_code.load() is None:
        pytest.skip("there is no code for this machine")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for fd in ends:
        os.close(fd)


def written(pipe: tuple[int, int]) -> bytes:
    try:
        return os.read(pipe[0], 4096)
    except BlockingIOError:
        return b""


def held() -> tuple[int, str]:
    """Our open files and our children, dead ones too."""
    children = Path("/proc/thread-self/children").read_text()
    return len(os.listdir("/proc/self/fd")), children


def becoming(*words: bytes, output: int) -> Script:
    script = Script()
    script.call("dup3", output, 1, 0)
    variables = script.strings([b"A=1"])
    script.call("execve", words[0], script.strings(words), variables, what=words[0].decode())
    return script


@pytest.mark.usefixtures("way")
class TestRun:
    def test_the_calls_are_made_in_their_order(self, pipe: tuple[int, int]) -> None:
        script = Script()
        for word in (b"one ", b"two ", b"three"):
            script.call("write", pipe[1], word, len(word))
        script.run()
        assert written(pipe) == b"one two three"

    def test_a_failure_ends_it_and_says_what(self, pipe: tuple[int, int]) -> None:
        script = Script()
        script.call("write", pipe[1], b"a", 1)
        script.call("write", BAD_FD, b"b", 1, what="the second")
        script.call("write", pipe[1], b"c", 1)
        with pytest.raises(Refused) as caught:
            script.run()
        found = caught.value.errno, caught.value.call, caught.value.what
        assert found == (errno.EBADF, "write", "the second")
        assert written(pipe) == b"a"

    def test_a_failure_that_does_not_matter(self, pipe: tuple[int, int]) -> None:
        script = Script()
        script.call("write", BAD_FD, b"a", 1, failing=GO_ON)
        script.call("write", pipe[1], b"b", 1)
        script.run()
        assert written(pipe) == b"b"

    @pytest.mark.parametrize("works", [True, False])
    def test_a_second_choice(self, pipe: tuple[int, int], works: bool) -> None:
        script = Script()
        script.call("write", pipe[1] if works else BAD_FD, b"1", 1, failing=ELSE)
        script.call("write", pipe[1], b"2", 1, what="the second choice")
        script.call("write", pipe[1], b"3", 1)
        script.run()
        assert written(pipe) == (b"13" if works else b"23")

    def test_a_second_choice_that_fails_too(self) -> None:
        script = Script()
        script.call("write", BAD_FD, b"1", 1, failing=ELSE, what="first")
        script.call("write", BAD_FD, b"1", 1, what="second")
        with pytest.raises(Refused) as caught:
            script.run()
        assert caught.value.what == "second"

    def test_nothing_to_do(self) -> None:
        Script().run()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("apart", [False, True])
class TestSpawn:
    def test_a_child_becomes_a_program(self, pipe: tuple[int, int], apart: bool) -> None:
        words = (b"/bin/sh", b"-c", b'printf %s "$A$0$1"', b"x", b"y")
        pid, pidfd = becoming(*words, output=pipe[1]).spawn(0, apart=apart)
        os.close(pidfd)
        assert os.waitpid(pid, 0) == (pid, 0)
        assert written(pipe) == b"1xy"

    def test_no_such_program(self, pipe: tuple[int, int], apart: bool) -> None:
        before = held()
        with pytest.raises(Refused) as caught:
            becoming(b"/nothing", output=pipe[1]).spawn(0, apart=apart)
        assert (caught.value.errno, caught.value.what) == (errno.ENOENT, "/nothing")
        assert held() == before

    def test_a_child_that_becomes_nothing_is_gone(self, apart: bool) -> None:
        script = Script()
        script.call("umask", 0o077)
        pid, pidfd = script.spawn(0, apart=apart)
        os.close(pidfd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127

    def test_flags_that_the_kernel_refuses(self, apart: bool) -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            Script().spawn(1 << 63, apart=apart)


def test_numbers_that_are_not_known() -> None:
    with pytest.raises(OSError, match="nonsense"):
        Script().call("nonsense")
