"""Entry of the launcher: ``python -I -S -OO launcher_main.py EXEC_ROOT SITE_PACKAGES``.

Goes to the background at once. Reports on fd 3, which it closes: ``ready``, ``busy`` (another
launcher holds the lock) or what went wrong.
"""

import os
import sys

_LOG_LIMIT = 1 << 20


def main() -> None:
    """See the module's docstring."""
    exec_root, site_packages = sys.argv[1], sys.argv[2]
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    try:
        _seal()
    except OSError as error:
        _report(f"the interpreter cannot be protected from containers: {error}")
        raise
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    sys.path.append(site_packages)  # for workers; the launcher itself imports nothing from there
    try:
        launcher = _start(exec_root)
    except Exception as error:
        _report(f"{type(error).__name__}: {error}")
        raise
    if launcher is None:
        _report("busy")
        return
    _report("ready")
    launcher.run()


def _seal() -> None:
    """Go on in an interpreter that no container can overwrite (this executes the program anew)."""
    from ketch.runtime import interpreter

    interpreter.seal()


def _start(exec_root: str) -> "Launcher | None":
    import fcntl
    import gc

    from ketch.linux import freeblocks
    from ketch.linux.libc import trim_heap

    freeblocks.use_up()
    from ketch.runtime import supervisor  # noqa: F401  # first: what shims use lies close together

    freeblocks.use_up()
    from ketch.runtime import hostmounts, rehearsal_inside, sandbox
    from ketch.runtime.launcher import Launcher
    from ketch.runtime.rehearsal import rehearse

    lock = os.open(f"{exec_root}/launcher.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # A record lock is not inherited by children, so it ends with this process.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    if os.fstat(2).st_size > _LOG_LIMIT:
        os.ftruncate(2, 0)
    socket_path = f"{exec_root}/launcher.sock"
    if os.path.lexists(socket_path):
        os.unlink(socket_path)
    os.makedirs(f"{exec_root}/shims", 0o700, exist_ok=True)
    rehearse(f"{exec_root}/rehearsal")
    hostmounts.leave()
    sandbox.warm_up()
    rehearsal_inside.rehearse()
    gc.collect()
    gc.freeze()  # children share these pages as long as no collection touches them
    gc.disable()
    trim_heap()
    return Launcher(socket_path, f"{exec_root}/layers")


def _report(text: str) -> None:
    os.write(3, text.encode())
    os.close(3)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.launcher import Launcher

if __name__ == "__main__":
    main()
