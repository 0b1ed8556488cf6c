"""Images and registries: pull, import, push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api.convert_platform import platform_text
from ketch.api.convert_progress import send_progress
from ketch.api.credentials import registry_auth
from ketch.api.resources.container_files import upload
from ketch.engine.images.values import Credentials, ImportOptions
from ketch.errors import InvalidParameter, NotFound, Unauthorized

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.api.schema.auth import AuthConfig


async def create(call: Call) -> StreamResponse:
    """POST /images/create: pull (fromImage) or import (fromSrc)."""
    if call.text("fromImage"):
        return await _pull(call)
    if call.text("fromSrc"):
        return await _import(call)
    raise InvalidParameter("give fromImage to pull or fromSrc to import")


async def _pull(call: Call) -> StreamResponse:
    name, tag = call.text("fromImage"), call.text("tag")
    platform = call.text("platform") if call.version >= (1, 32) else ""
    lines = call.engine.images.pull(
        named(name, tag),
        platform=platform_text(platform),
        auth=credentials(call),
        all_tags=not tag and ":" not in name.rpartition("/")[2] and "@" not in name,
    )
    try:
        return await send_progress(call, lines)
    except Unauthorized as error:
        # Docker says 404: at 401 the docker command line asks for a password, terminal or not
        raise NotFound(str(error)) from None


async def _import(call: Call) -> StreamResponse:
    source, repository = call.text("fromSrc"), call.text("repo")
    options = ImportOptions(
        reference=named(repository, call.text("tag")) if repository else "",
        message=call.text("message"),
        changes=tuple("\n".join(call.query.getall("changes", ())).splitlines()),
        platform=platform_text(call.text("platform")),
    )
    images = call.engine.images
    if source == "-":
        return await send_progress(call, images.import_(upload(call), options))
    return await send_progress(call, images.import_url(source, options))


async def push(call: Call) -> StreamResponse:
    """POST /images/{name}/push"""
    reference = named(call.params["name"], call.text("tag"))
    platform = platform_text(call.text("platform"))
    lines = call.engine.images.push(reference, platform=platform, auth=credentials(call))
    return await send_progress(call, lines)


def named(name: str, tag: str) -> str:
    """``name:tag``, or ``name@sha256:…`` when the tag is a digest."""
    if not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def credentials(call: Call) -> Credentials | None:
    """What ``X-Registry-Auth`` holds."""
    auth = registry_auth(call.request.headers.get("X-Registry-Auth", ""))
    return None if auth is None else of_auth(auth)


def of_auth(auth: AuthConfig) -> Credentials:
    """The engine's value of Docker's."""
    return Credentials(
        username=auth.username or "",
        password=auth.password or "",
        identity_token=auth.identitytoken or "",
        registry_token=auth.registrytoken or "",
    )
