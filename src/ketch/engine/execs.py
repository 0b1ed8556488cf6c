"""Exec instances: further processes in a running container."""

from __future__ import annotations

from ketch.engine.model import AttachOptions, ExecRecord, ExecSpec


class Execs:
    """See the module's docstring. Instances live until the container is started anew or removed."""

    async def create(self, ref: str, spec: ExecSpec) -> str:
        """Record a process to run in the container ``ref``; returns the exec ID.

        Raises ``NotFound``, ``Conflict`` (not running, paused), ``InvalidParameter`` (no command).
        """
        raise NotImplementedError

    async def check_start(self, exec_id: str) -> None:
        """Raise what ``start`` would raise, before the connection is hijacked."""
        raise NotImplementedError

    async def start(
        self,
        exec_id: str,
        attach: AttachOptions | None = None,
        console_size: tuple[int, int] = (0, 0),
    ) -> None:
        """Run it. With ``attach`` a start that fails is told as output on the socket, as Docker
        does, and does not raise; without, it raises ``StartFailed``. Returns once started; the
        socket (owned by the engine) closes at the end."""
        raise NotImplementedError

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set the terminal's size; before the process is up this waits for it."""
        raise NotImplementedError

    async def inspect(self, exec_id: str) -> ExecRecord:
        """The record; raises ``NotFound``."""
        raise NotImplementedError

    def running_in(self, container_id: str) -> tuple[str, ...]:
        """IDs of the live exec instances of a container."""
        raise NotImplementedError
