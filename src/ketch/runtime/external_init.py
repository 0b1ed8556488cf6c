"""``--init`` under an external runtime: our init is a file there, bound into the container.

It lies on a tmpfs that only the maker and the container see, since the exec root may be mounted
``noexec``.
"""

import os
import stat

from ketch.errors import StartFailed
from ketch.linux import mountapi as m
from ketch.linux.paths import open_in_root
from ketch.runtime import defaults, init_program, program, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

FOLDER = "init"


def added(spec: "Body", tree: int, folder: str) -> "Body":
    """``spec`` with our init as process 1; ``tree`` is the container's root.

    To be called in a mount namespace of one's own. Raises ``StartFailed`` when the program that
    the init is to run does not exist, ``Unsupported`` on machines without an init of ours.
    """
    process = spec["process"]
    args = [str(word) for word in process.get("args") or ()]
    env = program.environment(process.get("env") or [])
    path = _find(tree, args[0], env.get("PATH", defaults.PATH)) if args else ""
    if not env.get("HOME"):  # or the runtime would add it, and the init's variable must be the last
        env["HOME"] = users.home_of(tree, int(process["user"]["uid"]))
    env = init_program.environment(env, path)
    mount = {
        "destination": init_program.NAME,
        "type": "bind",
        "source": _write(folder),
        "options": ["bind", "ro"],
    }
    process = {
        **process,
        "args": init_program.command(args),
        "env": [f"{key}={value}" for key, value in env.items()],
    }
    return {**spec, "process": process, "mounts": [*spec["mounts"], mount]}


def _write(folder: str) -> str:
    place = f"{folder}/{FOLDER}"
    os.mkdir(place, 0o700)
    small = m.new_filesystem("tmpfs", [("mode", "755"), ("size", "64k")])
    m.move_mount(small, m.AT_FDCWD, place)
    os.close(small)
    source = init_program.open_init()
    target = os.open(f"{place}/docker-init", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755)
    os.sendfile(target, source, 0, os.fstat(source).st_size)
    os.close(target)
    os.close(source)
    return f"{place}/docker-init"


def _find(tree: int, name: str, path: str) -> str:
    """The program as the init is to execute it: a name without slash is searched in ``path``."""
    if "/" in name:
        return name
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        if candidate.startswith("/") and _is_executable(tree, candidate):
            return candidate
    raise StartFailed(f'exec: "{name}": executable file not found in $PATH', 127)


def _is_executable(tree: int, path: str) -> bool:
    try:
        fd = open_in_root(tree, path, os.O_PATH)
    except OSError:
        return False
    try:
        mode = os.fstat(fd).st_mode
    finally:
        os.close(fd)
    return stat.S_ISREG(mode) and bool(mode & 0o111)
