"""One health probe: a process in the container, or the engine's own look through its network.

Whatever happens to the daemon meanwhile, the probe ends: its process dies with the connection to
the engine, and at the end of its time with all that it started.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from ketch.build.dockerfile.durations import format_duration
from ketch.engine.containers import health_spec
from ketch.engine.containers.attach import attach_wire
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_process import exec_wire
from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.engine.containers.health_values import Healthcheck, HealthProbe
from ketch.engine.containers.place import hostname
from ketch.engine.containers.record import ContainerRecord
from ketch.errors import KetchError, StartFailed

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.runtime.messages import Exec
    from ketch.runtime.remote import Shim

DEFAULT_TIMEOUT = 30_000_000_000  # ns
_SHOWN = 4096  # bytes of output that are kept
_MARGIN = 2.0  # seconds that a worker may take beyond the probe's own time


class Prober:
    """Probes containers, one at a time and container."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def probe(self, record: ContainerRecord, check: Healthcheck) -> HealthProbe:
        """Probe once; what goes wrong is the probe's outcome."""
        start = time.time_ns()
        look = self._look if health_spec.is_engine_probe(check) else self._run
        try:
            code, output = await look(record, check)
        except StartFailed as error:
            code, output = error.exit_code, str(error)
        except (KetchError, OSError) as error:
            code, output = -1, str(error)
        return HealthProbe(start=start, end=time.time_ns(), exit_code=code, output=output)

    # the engine's own

    async def _look(self, record: ContainerRecord, check: Healthcheck) -> tuple[int, str]:
        target = health_spec.net_probe(check)
        timeout = check.timeout or DEFAULT_TIMEOUT
        own = [endpoint.ipv4 for endpoint in record.state.endpoints if endpoint.ipv4]
        args = {
            "hosts": [target.host] if target.host else ["127.0.0.1", "::1", *own],
            "port": target.port,
            "path": target.path,
            "authority": target.authority,
            "statuses": [list(pair) for pair in target.statuses],
            "seconds": timeout / 1e9,
        }
        namespace = os.open(f"/proc/{record.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            async with asyncio.timeout(timeout / 1e9 + _MARGIN):
                said = await self._parts.launcher.work(
                    "ketch.runtime.net_probe:probe", args, [namespace]
                )
        except TimeoutError:
            return -1, _late(timeout, "")
        finally:
            os.close(namespace)
        if said.get("timeout"):
            return -1, _late(timeout, str(said["output"]))
        return int(said["code"]), str(said["output"])

    # a process in the container

    async def _run(self, record: ContainerRecord, check: Healthcheck) -> tuple[int, str]:
        command = _command(check, record.spec.shell)
        probe = ExecRecord(
            id=secrets.token_hex(32),
            container_id=record.id,
            spec=ExecSpec(cmd=command, attach_stdout=True, attach_stderr=True),
        )
        said = f"{command[0]} {' '.join(command[1:])}"
        self._parts.publish(record, f"exec_create: {said}", execID=probe.id)
        self._parts.publish(record, f"exec_start: {said}", execID=probe.id)
        code, output = await self._process(record, probe, check.timeout or DEFAULT_TIMEOUT)
        self._parts.publish(record, "exec_die", execID=probe.id, exitCode=str(code))
        return code, output

    async def _process(
        self, record: ContainerRecord, probe: ExecRecord, timeout: int
    ) -> tuple[int, str]:
        ours, theirs = socket.socketpair()
        output = _Output(ours)
        with ours, theirs:
            client = AttachOptions(sock=theirs, stdout=True, stderr=True, framed=False)
            wire = self._wire(record, probe)
            shim = await self._parts.launcher.exec(wire, [(theirs, attach_wire(client))])
            reading = asyncio.ensure_future(output.read())
            try:
                async with asyncio.timeout(timeout / 1e9):
                    await shim.started()
                    theirs.close()
                    status = (await shim.exited()).status
                    await asyncio.wait((reading,))
                return status, output.text()
            except TimeoutError:
                await _end(shim)
                return -1, _late(timeout, output.text())
            finally:
                reading.cancel()
                shim.reap()
                shim.close()

    def _wire(self, record: ContainerRecord, probe: ExecRecord) -> Exec:
        return {
            **exec_wire(
                probe,
                record,
                hostname=hostname(self._parts, record),
                seccomp=self._parts.filters.of(record.spec),
                socket=self._parts.config.shim_socket(probe.id),
                runtime=self._parts.runtimes.wire(record.spec.runtime),
                default_ulimits=self._parts.config.default_ulimits,
            ),
            "die_with_client": 0,
        }


async def _end(shim: Shim) -> None:
    """Kill the probe and what it started."""
    try:
        async with asyncio.timeout(_MARGIN):
            await shim.kill_tree()
    except (KetchError, TimeoutError):
        pass  # it has ended at this moment, or is about to start and dies with its connection


def _command(check: Healthcheck, shell: tuple[str, ...]) -> tuple[str, ...]:
    kind, *words = check.test
    if kind == "CMD-SHELL":
        return (*(shell or ("/bin/sh", "-c")), *words)
    return tuple(words)


def _late(timeout: int, output: str) -> str:
    text = f"Health check exceeded timeout ({format_duration(timeout)})"
    return f"{text}: {output}" if output else text


class _Output:
    """What a probe says, up to the limit; the rest is read and dropped."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._kept = b""
        self._more = False

    async def read(self) -> None:
        """Until the end of the stream."""
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(self._sock, 65536):
            self._more |= len(self._kept) + len(chunk) > _SHOWN
            self._kept = (self._kept + chunk)[:_SHOWN]

    def text(self) -> str:
        """With Docker's mark of what was cut off."""
        return self._kept.decode(errors="replace") + ("..." if self._more else "")
