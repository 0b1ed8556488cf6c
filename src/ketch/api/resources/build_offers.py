"""Secrets, SSH agents, layouts and contexts for a build by POST /build (docs/beyond.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ketch.api import hijack, responses
from ketch.api.resources.container_files import upload
from ketch.errors import InvalidParameter, KetchError, Unavailable

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


class _Offers(msgspec.Struct, forbid_unknown_fields=True):
    Secrets: dict[str, bytes] = {}  # values in base64
    Agents: list[str] = []


async def leave(call: Call) -> StreamResponse:
    """POST /ketch/builds/offers: returns the token that POST /build takes as ``offers``."""
    body = await call.json(_Offers)
    token = call.engine.builder.offers.leave(body.Secrets, body.Agents)
    return responses.json({"Id": token}, 201)


async def output(call: Call) -> StreamResponse:
    """GET /ketch/builds/offers/{id}/output: ``number`` counts the outputs from 0; answers with its
    tar archive as soon as the build has it."""
    parcel = await call.engine.builder.offers.find(call.id).collect(call.integer("number"))
    try:
        response = await responses.stream(call, "application/x-tar")
        async for piece in parcel.pieces:
            await response.write(piece)
        await response.write_eof()
    except BaseException as error:
        if not parcel.done.done():
            said = isinstance(error, KetchError)
            reason = error if said else Unavailable("the client went away before the output's end")
            parcel.done.set_exception(reason)
        raise
    if not parcel.done.done():
        parcel.done.set_result(None)
    return response


async def layout(call: Call) -> StreamResponse:
    """PUT /ketch/builds/offers/{id}/layout: ``name`` is how the build refers to it; the body is a
    tar archive of the OCI layout."""
    name = call.text("name")
    if not name:
        raise InvalidParameter("the parameter name is missing")
    await call.engine.builder.leave_layout(call.id, name, upload(call))
    return responses.empty(201)


async def demands(call: Call) -> StreamResponse:
    """GET /ketch/builds/offers/{id}/demands: a JSON line for each part of a context that the build
    wants (``Number``, ``Name``, ``Paths``), until it is over."""
    listening = call.engine.builder.offers.find(call.id).demands.listen()
    response = await responses.stream(call, responses.JSON)
    try:
        async for one in listening:
            line = {"Number": one.number, "Name": one.name, "Paths": one.paths}
            await response.write(responses.encode(line))
    finally:
        await listening.aclose()  # type: ignore[attr-defined]
    return response


async def context(call: Call) -> StreamResponse:
    """PUT /ketch/builds/offers/{id}/context: ``number`` is that of a demand; the body is a tar
    archive of what it asked for."""
    demands = call.engine.builder.offers.find(call.id).demands
    await demands.answer(call.integer("number"), upload(call))
    return responses.empty(201)


async def agent(call: Call) -> StreamResponse:
    """POST /ketch/builds/offers/{id}/agent: ``name``; the connection becomes one to that agent."""
    name = call.text("name")
    if not name:
        raise InvalidParameter("the parameter name is missing")
    taken = await hijack.take_for(call, "tcp")
    call.engine.builder.offers.connect(call.id, name, taken.sock)
    return hijack.Hijacked()
