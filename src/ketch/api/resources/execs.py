"""Exec: further processes in a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.api import hijack, responses
from ketch.api.convert_create import console_size
from ketch.api.older_bodies import forget_newer_exec
from ketch.api.resources.container_io import detach_keys, terminal_size
from ketch.api.schema.exec import ExecCreate, ExecStart
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def create(call: Call) -> StreamResponse:
    """POST /containers/{id}/exec"""
    body = await call.json(ExecCreate)
    forget_newer_exec(body, call.version)
    spec = ExecSpec(
        cmd=tuple(body.Cmd or ()),
        env=tuple(body.Env or ()),
        user=body.User or "",
        working_dir=body.WorkingDir or "",
        tty=bool(body.Tty),
        privileged=bool(body.Privileged),
        attach_stdin=bool(body.AttachStdin),
        attach_stdout=bool(body.AttachStdout),
        attach_stderr=bool(body.AttachStderr),
        detach_keys=detach_keys(body.DetachKeys or ""),
        console_size=console_size(body.ConsoleSize),
        die_with_client=bool(body.DieWithClient),
    )
    return responses.json({"Id": await call.engine.execs.create(call.id, spec)}, 201)


async def start(call: Call) -> StreamResponse:
    """POST /exec/{id}/start"""
    body = await call.optional_json(ExecStart) or ExecStart()
    execs = call.engine.execs
    size = console_size(body.ConsoleSize)
    record = await execs.inspect(call.id)
    await execs.check_start(call.id)
    if body.Detach and record.spec.die_with_client:
        raise InvalidParameter("conflicting options: DieWithClient and a detached start")
    if body.Detach:
        await execs.start(call.id, None, size)
        return responses.empty(200)
    taken = await hijack.take(call, hijack.content_type(call, not record.spec.tty))
    await execs.start(call.id, _attach(record, taken), size)
    return hijack.Hijacked()


def _attach(record: ExecRecord, taken: hijack.Taken) -> AttachOptions:
    spec = record.spec
    return AttachOptions(
        sock=taken.sock,
        read_ahead=taken.read_ahead,
        stdin=spec.attach_stdin,
        stdout=spec.attach_stdout,
        stderr=spec.attach_stderr,
        framed=not spec.tty,
        detach_keys=spec.detach_keys,
    )


async def resize(call: Call) -> StreamResponse:
    """POST /exec/{id}/resize"""
    height, width = terminal_size(call)
    await call.engine.execs.resize(call.id, height, width)
    return responses.empty(200)


async def inspect(call: Call) -> StreamResponse:
    """GET /exec/{id}/json"""
    return responses.json(exec_json(await call.engine.execs.inspect(call.id)))


def exec_json(record: ExecRecord) -> dict[str, Any]:
    """The document of an exec instance."""
    spec = record.spec
    process: dict[str, Any] = {
        "tty": spec.tty,
        "entrypoint": spec.cmd[0] if spec.cmd else "",
        "arguments": list(spec.cmd[1:]),
        "privileged": spec.privileged,
    }
    if spec.user:
        process["user"] = spec.user
    return {
        "ID": record.id,
        "Running": record.running,
        "ExitCode": record.exit_code,
        "ProcessConfig": process,
        "OpenStdin": spec.attach_stdin,
        "OpenStderr": spec.attach_stderr,
        "OpenStdout": spec.attach_stdout,
        "CanRemove": not record.running and record.exit_code is not None,
        "ContainerID": record.container_id,
        "DetachKeys": "",
        "Pid": record.pid,
    }
