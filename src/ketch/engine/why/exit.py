"""What a container's record says of its end (pure)."""

from __future__ import annotations

import re
import signal as signals

from ketch.build.dockerfile.durations import format_duration
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.why.endings import DeniedCall, SentSignal
from ketch.engine.why.values import KNOWN, LIKELY, Finding

_CALLS = {  # what Docker's default profile allows with a capability
    **dict.fromkeys(
        str.split(
            "fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
            "open_tree quotactl setdomainname sethostname setns syslog umount umount2 unshare bpf "
            "fanotify_init perf_event_open pivot_root"
        ),
        "SYS_ADMIN",
    ),
    **dict.fromkeys(("delete_module", "init_module", "finit_module"), "SYS_MODULE"),
    **dict.fromkeys(("settimeofday", "stime", "clock_settime", "clock_settime64"), "SYS_TIME"),
    **dict.fromkeys(("kcmp", "process_madvise", "pidfd_getfd"), "SYS_PTRACE"),
    **dict.fromkeys(("iopl", "ioperm"), "SYS_RAWIO"),
    **dict.fromkeys(("get_mempolicy", "mbind", "set_mempolicy"), "SYS_NICE"),
    "reboot": "SYS_BOOT",
    "chroot": "SYS_CHROOT",
    "acct": "SYS_PACCT",
    "open_by_handle_at": "DAC_READ_SEARCH",
    "vhangup": "SYS_TTY_CONFIG",
}
_STAGES = re.compile(  # what Docker's clients want to read in front of the reason
    r"failed to create task for container: .*?unable to start container process: "
    r"(?:error during container init: )?|"
    r"failed to set up container networking: (?:driver failed .*? on endpoint \S+ \(\w*\): )?"
)
_FAULTS = {
    signals.SIGSEGV: "it touched memory that is not its own",
    signals.SIGBUS: "it touched memory that has nothing behind it, such as a file cut short or a "
    "full /dev/shm",
    signals.SIGILL: "it came to an instruction that this processor does not have, or to its own "
    "abort()",
    signals.SIGFPE: "it divided by zero or the like",
    signals.SIGTRAP: "it came to a breakpoint without a debugger",
    signals.SIGSYS: "it made a system call that its seccomp profile punishes by death",
}
_WISHES = {
    "stop": "a client stopped it",
    "restart": "a client restarted it",
    "kill": "a client sent it",
    "remove": "a client removed it by force",
    "health": "its health check failed, and --health-on-failure asked for that",
}


def findings(record: ContainerRecord, now: int) -> list[Finding]:
    """In the order of importance."""
    state = record.state
    if state.status in (Status.RUNNING, Status.PAUSED):
        found = [_running(record, now)]
    elif state.error:
        found = [_not_started(record)]
    elif not state.finished_at:
        found = [Finding(kind="never-started", text="It has been created and never started.")]
    else:
        found = _ended(record)
    return [*found, *_denied(record), *_restarts(record, now), *_health(record)]


def _running(record: ContainerRecord, now: int) -> Finding:
    state = record.state
    lasted = _lasting(now - state.started_at)
    if state.status is Status.PAUSED:
        return Finding(kind="paused", text=f"It is paused; it was started {lasted} ago.")
    return Finding(kind="running", text=f"It is running, for {lasted} now.")


def _not_started(record: ContainerRecord) -> Finding:
    error = record.state.error.strip()
    said = _STAGES.sub("", error)
    details: dict[str, str | int] = {"code": record.state.exit_code, "error": error}
    return Finding(kind="start-failed", text=f"It could not be started: {said}.", details=details)


def _ended(record: ContainerRecord) -> list[Finding]:
    state = record.state
    if state.unsupervised:
        return [_lost()]
    oom = [_out_of_memory(record)] if state.oom_killed else []
    if state.exit_signal:
        by_oom = state.oom_killed and state.exit_signal == signals.SIGKILL
        if by_oom and (state.last_signal is None or state.last_signal.signal != signals.SIGKILL):
            return oom
        return [_by_signal(record), *oom]
    return [_by_itself(record), *oom]


def _lost() -> Finding:
    return Finding(
        kind="lost",
        text="Its supervisor was killed, or the whole machine went down: how the program itself "
        "ended is not known (137 is a stand-in).",
    )


def _out_of_memory(record: ContainerRecord) -> Finding:
    state, limit = record.state, record.spec.resources.memory
    kernel = state.out_of_memory
    if kernel is not None:
        victim = f"the process {kernel.victim} (PID {kernel.pid} of the host)"
    elif state.exit_signal == signals.SIGKILL:
        victim = "its first process"
    else:
        victim = "a process in it"
    bound = f"the container's memory limit is {size(limit)}" if limit else (
        "the container has no memory limit, so the machine or a group above ran out"
    )  # fmt: skip
    details: dict[str, str | int] = {"limit": limit}
    if kernel is not None:
        details |= {"victim": kernel.victim, "pid": kernel.pid}
    return Finding(
        kind="oom",
        text=f"The kernel's OOM killer ended {victim} for want of memory: {bound}.",
        details=details,
    )


def _by_signal(record: ContainerRecord) -> Finding:
    state = record.state
    number, sent = state.exit_signal, state.last_signal
    details: dict[str, str | int] = {"signal": number, "name": name(number)}
    if sent is not None and sent.signal == number:
        return Finding(
            kind="signal", text=_by_wish(record, sent), details={**details, **_sender(sent)}
        )
    if number in _FAULTS:
        fault = _FAULTS[signals.Signals(number)]
        text = f"The kernel ended its program by {name(number)}: {fault}."
        return Finding(kind="signal", text=text, details={**details, "by": "kernel"})
    return _by_others(record, details)


def _by_others(record: ContainerRecord, details: dict[str, str | int]) -> Finding:
    said = f"Its first process was ended by {details['name']}, which ketch did not send"
    if record.spec.pid_mode:
        text = f"{said}: some process did that shares its process namespace, or one of the host."
        return Finding(kind="signal", text=text, details={**details, "by": "other"})
    return Finding(
        kind="signal",
        text=f"{said}: a process outside of the container did (the kernel lets none inside end the "
        "first process by a signal that this does not handle).",
        details={**details, "by": "outside"},
    )


def _by_wish(record: ContainerRecord, sent: SentSignal) -> str:
    who = f" ({sent.client})" if sent.client else ""
    if sent.by == "kill":
        return f"A client{who} sent it {name(sent.signal)}, and that ended it."
    wish = _WISHES[sent.by]
    wish = wish[0].upper() + wish[1:]
    if sent.ignored:
        return (
            f"{wish}{who}: it did not end in time when it got {name(sent.ignored)}, so it was "
            f"killed ({name(sent.signal)})."
        )
    return f"{wish}{who}: {name(sent.signal)} ended it."


def _sender(sent: SentSignal) -> dict[str, str | int]:
    found: dict[str, str | int] = {"by": sent.by}
    if sent.client:
        found["client"] = sent.client
    if sent.ignored:
        found["ignored"] = sent.ignored
    return found


def _by_itself(record: ContainerRecord) -> Finding:
    state = record.state
    code, sent = state.exit_code, state.last_signal
    details: dict[str, str | int] = {"code": code}
    prefix = "It ended by itself"
    if sent is not None and (sent.by != "kill" or code):
        who = f" ({sent.client})" if sent.client else ""
        wish = _WISHES[sent.by] + (f" {name(sent.signal)}" if sent.by == "kill" else "")
        prefix = f"After {wish}{who}, it ended by itself"
        details |= _sender(sent)
    return Finding(kind="exit", text=f"{prefix}, {_code(code, record)}.", details=details)


def _code(code: int, record: ContainerRecord) -> str:
    if code == 0:
        return "with exit code 0: success"
    if code == 126:
        return "with exit code 126: shells say so of a command that is there and cannot be executed"
    if code == 127:
        return (
            "with exit code 127: shells say so of a command that is not there, and the dynamic "
            "loader of a library that is not there"
        )
    if 128 < code <= 192:
        ran = "the program that its init ran" if record.spec.init else "a process that it ran"
        return f"with exit code {code}: it says that {ran} was ended by {name(code - 128)}"
    return f"with exit code {code}, whose meaning is its own"


def _restarts(record: ContainerRecord, now: int) -> list[Finding]:
    state, policy = record.state, record.spec.restart
    runs = state.exits
    if state.status is not Status.RESTARTING and len(runs) < 2:
        return []
    first = _lasting(now - runs[0].at) if runs else "no time"
    codes = ", ".join(str(run.exit_code) for run in runs)
    shortest = min((run.at - run.started_at for run in runs), default=0)
    again = "It will be started again" if state.status is Status.RESTARTING else "It has ended"
    text = (
        f"{again}; {len(runs)} runs of it have ended in the last {first} (exit codes {codes}; the "
        f"shortest took {_lasting(shortest)}). Restart policy: {policy.name or 'no'}."
    )
    return [Finding(kind="restarts", text=text, details={"count": state.restart_count})]


def _denied(record: ContainerRecord) -> list[Finding]:
    return [_denied_call(call) for call in record.state.denied]


def _denied_call(denied: DeniedCall) -> Finding:
    needed = _CALLS.get(denied.call, "")
    hint = f"--cap-add {needed} would allow it" if needed else (
        "a profile of your own or --security-opt seccomp=unconfined would allow it"
    )  # fmt: skip
    often = f"{denied.count} times" if denied.count > 1 else "once"
    return Finding(
        kind="denied-call",
        text=f"Its seccomp profile denied the system call {denied.call} to {denied.program}, "
        f"{often}; {hint}.",
        certainty=KNOWN if denied.first else LIKELY,
        details={"call": denied.call, "program": denied.program, "capability": needed},
    )


def _health(record: ContainerRecord) -> list[Finding]:
    health = record.state.health
    if health is None or not health.log or not health.failing_streak:
        return []
    last = health.log[-1]
    output = last.output.strip()
    said = f": {output[:200]}" if output else ""
    return [
        Finding(
            kind="health",
            text=f"Its last {health.failing_streak} health checks in a row failed; the latest with "
            f"exit code {last.exit_code}{said}",
            details={"streak": health.failing_streak, "code": last.exit_code},
            certainty=KNOWN if record.state.running else LIKELY,
        )
    ]


def name(number: int) -> str:
    """``SIGTERM``, or ``signal 40``."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def size(count: int) -> str:
    """Bytes in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.4g} {unit}"
        count /= 1024  # type: ignore[assignment]
    return ""


def _lasting(ns: int) -> str:
    step = 1_000_000 if ns < 1_000_000_000 else 100_000_000
    return format_duration(max(0, ns) // step * step)
