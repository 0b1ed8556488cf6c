"""Running programs in real sandboxes, from a forked process in a mount namespace of its own."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ketch.errors import KetchError, StartFailed
from ketch.mounts import Mount, Rootfs
from ketch.runtime import defaults, hostmounts, sandbox
from ketch.runtime.cgroups.hierarchy import detect

BUSYBOX = "/bin/busybox"
APPLETS = """
    sh cat ls id sleep true echo mknod mount stat hostname env head dd tty pwd wc chmod ps kill
    sync readlink stty mkdir rm ln touch nc ip
"""
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:alice\nalice:x:1001:\naudio:x:29:bob,alice\n"


class Result:
    """What became of one process: exit status, output, how long the launch took (seconds)."""

    def __init__(self, status: int, out: str, err: str, seconds: float) -> None:
        self.status, self.out, self.err, self.seconds = status, out, err, seconds


def busybox_tree(base: Path) -> Path:
    """A small root with busybox as every applet, passwd and group."""
    tree = base / "tree"
    for name in ("bin", "etc", "root", "home/alice", "tmp", "proc", "sys", "dev"):
        (tree / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    for applet in APPLETS.split():
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    return tree


def host_python() -> list[str]:
    """The interpreter of the tests, for sandboxes whose layer is the host's root."""
    return [os.path.realpath(sys.executable), "-I", "-S"]


class Runner:
    """Makes sandboxes over ``tree`` with their files below ``base``.

    ``keep`` of ``within`` runs any function where mounts are private; its result is handed back.
    """

    def __init__(self, base: Path, tree: Path, parent: str) -> None:
        self.base, self.tree, self.parent = base, tree, parent
        self.count = 0

    def spec(self, args: list[str], **process: Any) -> dict[str, Any]:
        """The default configuration for a program, as the engine makes it."""
        spec = defaults.default_spec()
        spec["process"] |= {"args": args, "noNewPrivileges": False, "terminal": False, **process}
        spec["process"]["env"] = [f"PATH={defaults.PATH}", *process.get("env", ())]
        spec["root"]["readonly"] = False
        spec["linux"]["sysctl"] = dict(defaults.SYSCTLS)
        return spec

    def start(self, spec: dict[str, Any], **start: Any) -> dict[str, Any]:
        """A START object around a configuration."""
        self.count += 1
        name = f"t{self.count}"
        upper, work = self.base / name / "upper", self.base / name / "work"
        for directory in (upper, work):
            directory.mkdir(parents=True, exist_ok=True)
        rootfs = Rootfs((Mount("bind", str(self.tree)),), str(upper), str(work))
        return {
            "id": name,
            "bundle": str(self.base),
            "spec": spec,
            "rootfs": rootfs.to_wire(),
            "cgroup": {"parent": self.parent, "name": name},
            "link": None,
            "user": "",
            "groups_add": [],
            "make_cwd": True,
            "seccomp": "",
            "terminal": False,
            **start,
        }

    def run(self, start: dict[str, Any], stdin: bytes = b"", timeout: float = 20) -> Result:
        """Start, collect output, wait; raises ``StartFailed`` as the sandbox does."""
        return within(lambda: self.run_here(start, stdin), timeout)

    def sh(self, script: str, **start: Any) -> Result:
        """A shell script in a default sandbox."""
        return self.run(self.start(self.spec(["/bin/sh", "-c", script]), **start))

    def box(self, start: dict[str, Any]) -> tuple[sandbox.Sandbox, int]:
        """A parked sandbox and the root's mount (call it inside ``within``)."""
        hostmounts.leave()
        layers = sandbox.LayerMounts(str(self.base / "layers"))
        root_fd = sandbox.mount_rootfs(Rootfs.from_wire(start["rootfs"]), layers)
        warm = {key: start[key] for key in ("id", "cgroup", "link")}
        warm["namespaces"] = start["spec"]["linux"]["namespaces"]
        return sandbox.prepare(warm), root_fd

    def run_here(
        self, start: dict[str, Any], stdin: bytes = b"", during: Callable[..., Any] | None = None
    ) -> Any:
        """As ``run`` without the fork; ``during(box, started)`` may look at the running process."""
        box, root_fd = self.box(start)
        try:
            into, into_w = os.pipe()
            out_r, out = os.pipe()
            err_r, err = os.pipe()
            before = time.perf_counter()
            started = box.launch(start, root_fd, (into, out, err))
            seconds = time.perf_counter() - before
            for fd in (into, out, err):
                os.close(fd)
            if during is not None:
                return during(box, started)
            os.write(into_w, stdin)
            os.close(into_w)
            out_text, err_text = _read(out_r), _read(err_r)
            return Result(_wait(box.pid), out_text, err_text, seconds)
        finally:
            box.destroy()


def join_run(box: Any, job: dict[str, Any]) -> Result:
    """An exec process in a running sandbox, to its end."""
    out_r, out = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    before = time.perf_counter()
    started = sandbox.join({"init_pid": box.pid, **job}, box.pidfd, (null, out, out))
    seconds = time.perf_counter() - before
    os.close(out)
    text = _read(out_r)
    return Result(_wait(started.pid), text, "", seconds)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _read(fd: int) -> str:
    with open(fd, "rb") as file:
        return file.read().decode(errors="replace")


def within(body: Callable[[], Any], timeout: float = 20) -> Any:
    """Run ``body`` in a forked process; its result or its exception becomes ours."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _answer(write, body, timeout)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    status = os.waitpid(pid, 0)[1]
    if not data:
        raise AssertionError(f"the process died: wait status {status:#x}")
    kind, value = pickle.loads(data)
    if kind == "start-failed":
        raise StartFailed(*value)
    if kind == "error":
        raise value
    if kind == "text":
        raise AssertionError(value)
    return value


def _answer(write: int, body: Callable[[], Any], timeout: float) -> None:
    import signal

    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        answer: Any = ("value", body())
    except StartFailed as error:
        answer = ("start-failed", (error.message, error.exit_code))
    except (KetchError, OSError) as error:
        answer = ("error", error)
    except BaseException:
        answer = ("text", traceback.format_exc())
    try:
        with open(write, "wb") as file:
            pickle.dump(answer, file)
    finally:
        os._exit(0)


def remove_parent(parent: str) -> None:
    """Remove the tests' cgroup parent from every hierarchy."""
    for hierarchy in detect():
        directory = hierarchy.mount + parent
        for path, _, _ in os.walk(directory, topdown=False):
            os.rmdir(path)
