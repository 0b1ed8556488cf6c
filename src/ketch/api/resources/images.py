"""Images: looking, naming, removing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import body, responses
from ketch.api.convert_image import history_json, inspect_json, list_json, removed_json
from ketch.api.filters import keys, resolve_until
from ketch.api.refusal import refused
from ketch.api.schema.image import Platform
from ketch.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.engine.image_values import ImageDetails

_LIST_FILTERS = keys("dangling label before since reference until")
_PRUNE_FILTERS = keys("dangling label label! until")


async def list_(call: Call) -> StreamResponse:
    """GET /images/json"""
    filters = resolve_until(call.filters(_LIST_FILTERS))
    if call.version < (1, 41) and call.text("filter"):  # the older spelling of one filter
        filters = {**filters, "reference": (call.text("filter"),)}
    found = await call.engine.images.list(
        filters,
        all=call.flag("all"),
        shared_size=call.flag("shared-size"),
    )
    return responses.json([list_json(summary, call.version) for summary in found])


async def inspect(call: Call) -> StreamResponse:
    """GET /images/{name}/json"""
    details = await call.engine.images.inspect(call.params["name"])
    if call.version >= (1, 49):
        check_platform(call, details)
    driver = call.engine.system.storage_driver
    return responses.json(inspect_json(details, call.version, driver))


async def history(call: Call) -> StreamResponse:
    """GET /images/{name}/history"""
    if call.version >= (1, 48) and call.text("platform"):
        check_platform(call, await call.engine.images.inspect(call.params["name"]))
    lines = await call.engine.images.history(call.params["name"])
    return responses.json([history_json(line) for line in lines])


def check_platform(call: Call, details: ImageDetails) -> None:
    """Raise ``NotFound`` when the image is not for the platform that ``platform`` asks for (a JSON
    object of the OCI image specification)."""
    text = call.text("platform")
    if not text:
        return
    wanted = body.decode(text.encode(), Platform)
    there = (details.config.os, details.config.architecture)
    if (wanted.os or there[0], wanted.architecture or there[1]) != there:
        asked = "/".join(part for part in (wanted.os, wanted.architecture, wanted.variant) if part)
        raise NotFound(
            f"image with reference {call.params['name']} was found but does not provide the "
            f"specified platform ({asked})"
        )


async def tag(call: Call) -> StreamResponse:
    """POST /images/{name}/tag"""
    repository, name = call.text("repo"), call.text("tag")
    if not repository:
        raise InvalidParameter("the parameter repo must name a repository")
    target = f"{repository}:{name}" if name else repository
    await call.engine.images.tag(call.params["name"], target)
    return responses.empty(201)


async def remove(call: Call) -> StreamResponse:
    """DELETE /images/{name}"""
    if call.text("platforms"):
        raise refused("the parameter platforms")
    removed = await call.engine.images.remove(
        call.params["name"], force=call.flag("force"), prune=not call.flag("noprune")
    )
    return responses.json([removed_json(line) for line in removed])


async def prune(call: Call) -> StreamResponse:
    """POST /images/prune"""
    filters = resolve_until(call.filters(_PRUNE_FILTERS))
    report = await call.engine.images.prune(filters)
    rows = [removed_json(line) for line in report.removed]
    return responses.json({"ImagesDeleted": rows or None, "SpaceReclaimed": report.reclaimed})
