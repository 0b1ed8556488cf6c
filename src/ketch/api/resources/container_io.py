"""Standard streams of containers: attach, logs, wait, resize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import hijack, responses
from ketch.api.convert_logs import entry_writer, send
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.logs import LogOptions
from ketch.engine.containers.wait import WaitCondition
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def attach(call: Call) -> StreamResponse:
    """POST /containers/{id}/attach"""
    containers = call.engine.containers
    keys = detach_keys(call.text("detachKeys"))
    await containers.check_attach(call.id)
    record = await containers.get(call.id)
    framed = not record.spec.tty
    taken = await hijack.take(call, hijack.content_type(call, framed))
    options = AttachOptions(
        sock=taken.sock,
        read_ahead=taken.read_ahead,
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        stream=call.flag("stream"),
        logs=call.flag("logs"),
        framed=framed,
        detach_keys=keys,
    )
    await containers.attach(record.id, options)
    return hijack.Hijacked()


def detach_keys(text: str) -> str:
    """Check a key sequence: letters, or ``ctrl-`` and one of ``a``-``z @ [ \\ ] ^ _``."""
    for key in text.split(",") if text else ():
        prefix, _, letter = key.rpartition("ctrl-")
        valid = len(key) == 1 or (prefix == "" and len(letter) == 1 and letter in _CONTROLS)
        if not valid or not key.isascii():
            raise InvalidParameter(f"Invalid escape keys ({text}) provided")
    return text or "ctrl-p,ctrl-q"


_CONTROLS = "abcdefghijklmnopqrstuvwxyz@[\\]^_"


async def wait(call: Call) -> StreamResponse:
    """POST /containers/{id}/wait: the head goes out at once, the body at the exit.

    Before API 1.30 there was one condition.
    """
    word = call.text("condition") if call.version >= (1, 30) else ""
    word = word or WaitCondition.NOT_RUNNING.value
    try:
        condition = WaitCondition(word)
    except ValueError:
        raise InvalidParameter(f'invalid condition: "{word}"') from None
    waiter = await call.engine.containers.wait(call.id, condition)
    try:
        response = await responses.stream(call, responses.JSON)
        result = await waiter.result()
    finally:
        waiter.cancel()
    body: dict[str, object] = {"StatusCode": result.status}
    if result.error:
        body["Error"] = {"Message": result.error}
    await response.write(responses.encode(body))
    return response


async def logs(call: Call) -> StreamResponse:
    """GET /containers/{id}/logs"""
    options = _log_options(call)
    record = await call.engine.containers.get(call.id)
    batches = await call.engine.containers.logs(record.id, options)
    framed = not record.spec.tty
    write = entry_writer(
        framed=framed, timestamps=call.flag("timestamps"), details=call.flag("details")
    )
    response = await responses.stream(call, hijack.content_type(call, framed))
    await send(response, write, batches)
    return response


def _log_options(call: Call) -> LogOptions:
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not stdout and not stderr:
        raise InvalidParameter("must specify at least one of 'stdout' or 'stderr'")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=call.flag("follow"),
        since=call.instant("since"),
        until=call.instant("until"),
        tail=_tail(call.text("tail")),
    )


def _tail(text: str) -> int:
    """Anything that is no whole number from zero means all."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


async def resize(call: Call) -> StreamResponse:
    """POST /containers/{id}/resize"""
    height, width = terminal_size(call)
    await call.engine.containers.resize(call.id, height, width)
    return responses.empty(200)


def terminal_size(call: Call) -> tuple[int, int]:
    """Height and width in characters, of ``h`` and ``w``."""
    height, width = call.optional_integer("h"), call.optional_integer("w")
    if height is None or width is None:
        raise InvalidParameter("a resize needs the parameters h and w")
    if not 0 <= height <= 0xFFFF or not 0 <= width <= 0xFFFF:
        raise InvalidParameter(f"invalid terminal size {height}x{width}")
    return height, width
