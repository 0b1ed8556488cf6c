"""Files of containers: the archive routes of ``cp``, export, commit."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from ketch.api import responses
from ketch.api.convert_create import config_spec
from ketch.api.file_mode import go_mode
from ketch.api.schema.container import Config
from ketch.api.times import rfc3339_of_file
from ketch.engine.containers.files import ArchivePut, PathStat
from ketch.engine.images.values import CommitOptions
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

TAR = "application/x-tar"
_STAT = "X-Docker-Container-Path-Stat"


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    if "\0" in path:
        raise InvalidParameter("bad parameter: path must not hold a NUL byte")
    return path


def stat_header(stat: PathStat) -> dict[str, str]:
    """The answer header that carries a path's metadata: base64 of JSON."""
    document = {
        "name": stat.name,
        "size": stat.size,
        "mode": go_mode(stat.mode),
        "mtime": rfc3339_of_file(stat.mtime),
        "linkTarget": stat.link_target,
    }
    return {_STAT: base64.b64encode(msgspec.json.encode(document)).decode()}


async def stat(call: Call) -> StreamResponse:
    """HEAD /containers/{id}/archive"""
    found = await call.engine.containers.archive_stat(call.id, _path(call))
    return responses.empty(200, stat_header(found))


async def get(call: Call) -> StreamResponse:
    """GET /containers/{id}/archive"""
    path = _path(call)
    found, chunks = await call.engine.containers.archive_get(call.id, path)
    return await send(call, chunks, stat_header(found))


async def put(call: Call) -> StreamResponse:
    """PUT /containers/{id}/archive: ``copyUIDGID`` or not, owners are as the archive says."""
    options = ArchivePut(
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
    )
    await call.engine.containers.archive_put(call.id, _path(call), upload(call), options)
    return responses.empty(200)


async def export(call: Call) -> StreamResponse:
    """GET /containers/{id}/export"""
    return await send(call, await call.engine.containers.export(call.id), {})


async def send(call: Call, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> StreamResponse:
    """Stream a tar; what fails before its first byte is a proper error answer."""
    first = await anext(chunks, b"")
    response = await responses.stream(call, TAR, headers)
    await response.write(first)
    async for chunk in chunks:
        await response.write(chunk)
    return response


def upload(call: Call) -> AsyncIterator[bytes]:
    """The request's body as it comes, with back pressure."""
    return call.request.content.iter_any().__aiter__()


async def commit(call: Call) -> StreamResponse:
    """POST /commit"""
    container = call.text("container")
    if not container:
        raise InvalidParameter("commit needs the parameter container")
    body = await call.optional_json(Config)
    repository, tag = call.text("repo"), call.text("tag")
    options = CommitOptions(
        reference=f"{repository}:{tag}" if repository and tag else repository,
        comment=call.text("comment"),
        author=call.text("author"),
        pause=call.flag("pause", default=True),
        changes=tuple(
            line for text in call.query.getall("changes", ()) for line in text.split("\n")
        ),
        overrides=None if body is None else config_spec(body),
    )
    image_id = await call.engine.containers.commit(container, options)
    return responses.json({"Id": image_id}, 201)
