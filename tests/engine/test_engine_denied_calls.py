"""Which lines of the kernel's log are of a container."""

from __future__ import annotations

from ketch.engine.why import denied_calls

FIRST = 1000
AT = 1_700_000_000
LINE = (
    "audit: type=1326 audit({at}.500:7): auid=0 uid=0 gid=0 ses=1 subj=unconfined pid={pid} "
    'comm="{comm}" exe="/bin/busybox" sig=0 arch=c000003e syscall={call} compat=0 ip=0x1 code=0x0'
)


def found(*lines: str, first: int = FIRST) -> set[tuple[str, str, bool]]:
    """(call, program, whether it is the first process) of what is the container's."""
    since = AT * 1_000_000_000
    calls = denied_calls.find(lines, since, since + 1_000_000_000, first)
    return {(call.call, call.program, call.first) for call in calls}


def test_its_own_and_what_it_started() -> None:
    own = LINE.format(at=AT, pid=FIRST, comm="sh", call=165)
    child = LINE.format(at=AT, pid=FIRST + 3, comm="mount", call=165)
    assert found(own, child) == {("mount", "sh", True), ("mount", "mount", False)}


def test_older_processes_are_of_somebody_else() -> None:
    assert not found(LINE.format(at=AT, pid=FIRST - 1, comm="mkdir", call=83))


def test_the_numbers_of_processes_begin_anew() -> None:
    with open("/proc/sys/kernel/pid_max") as file:
        highest = int(file.read())
    child = LINE.format(at=AT, pid=301, comm="mount", call=165)
    assert found(child, first=highest - 2) == {("mount", "mount", False)}


def test_before_and_after_is_not_now() -> None:
    before = LINE.format(at=AT - 2, pid=FIRST, comm="mount", call=165)
    after = LINE.format(at=AT + 2, pid=FIRST, comm="mount", call=165)
    assert not found(before, after)
