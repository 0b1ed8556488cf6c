"""Images: looking, naming, removing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_image import (
    history_json,
    inspect_json,
    list_json,
    manifests_json,
    removed_json,
)
from ketch.api.convert_platform import platform_text
from ketch.api.filters import keys, resolve_until
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

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
        manifests=call.flag("manifests") and call.version >= (1, 47),
    )
    return responses.json([list_json(summary, call.version) for summary in found])


async def inspect(call: Call) -> StreamResponse:
    """GET /images/{name}/json"""
    platform, manifests = "", call.flag("manifests") and call.version >= (1, 48)
    if call.version >= (1, 49):
        platform = platform_text(call.text("platform"))
    if platform and manifests:
        raise InvalidParameter(
            "conflicting options: manifests and platform options cannot both be set"
        )
    details = await call.engine.images.inspect(call.params["name"], platform)
    found = inspect_json(details, call.version, call.engine.system.storage_driver)
    if manifests and details.manifests is not None:
        found["Manifests"] = manifests_json(details.manifests)
    return responses.json(found)


async def history(call: Call) -> StreamResponse:
    """GET /images/{name}/history"""
    platform = platform_text(call.text("platform")) if call.version >= (1, 48) else ""
    lines = await call.engine.images.history(call.params["name"], platform)
    return responses.json([history_json(line) for line in lines])


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
    removed = await call.engine.images.remove(
        call.params["name"],
        force=call.flag("force"),
        prune=not call.flag("noprune"),
        platforms=[platform_text(text) for text in call.query.getall("platforms", ())],
    )
    return responses.json([removed_json(line) for line in removed])


async def prune(call: Call) -> StreamResponse:
    """POST /images/prune"""
    filters = resolve_until(call.filters(_PRUNE_FILTERS))
    report = await call.engine.images.prune(filters)
    rows = [removed_json(line) for line in report.removed]
    return responses.json({"ImagesDeleted": rows or None, "SpaceReclaimed": report.reclaimed})
