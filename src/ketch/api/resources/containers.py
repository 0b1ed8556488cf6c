"""Life cycle of containers, and looking at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.api import convert_limits, convert_update, responses
from ketch.api.client_facts import introduce
from ketch.api.convert_container import inspect_json
from ketch.api.convert_create import container_spec
from ketch.api.convert_image import descriptor_json
from ketch.api.convert_summary import summary_json
from ketch.api.filters import keys, resolve_until
from ketch.api.older_bodies import forget_newer, forget_newer_update
from ketch.api.schema.container import ContainerCreate
from ketch.api.schema.host import Limits, Update
from ketch.engine.containers.list import ListOptions
from ketch.engine.containers.update_values import UpdateOptions
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.oci.descriptor import Descriptor

_LIST_FILTERS = keys(
    "ancestor before expose exited health id is-task isolation label name network publish since "
    "status volume"
)
_PRUNE_FILTERS = keys("until label label!")


async def create(call: Call) -> StreamResponse:
    """POST /containers/create"""
    body = await call.json(ContainerCreate)
    discarded = _kernel_memory(body.HostConfig)
    forget_newer(body, call.version)
    platform = call.text("platform") if call.version >= (1, 41) else ""
    spec = container_spec(body, platform)
    container_id, warnings = await call.engine.containers.create(spec, call.text("name"))
    notes = [*warnings, *discarded]
    if any(endpoint.aliases for endpoint in spec.endpoints):
        notes.append("Network aliases are recorded, but names are not resolved in networks yet.")
    if body.MacAddress and call.version >= (1, 44):
        notes.append(
            "The container-wide MacAddress field is now deprecated. It should be specified in "
            "EndpointsConfig instead."
        )
    return responses.json({"Id": container_id, "Warnings": notes}, 201)


async def list_(call: Call) -> StreamResponse:
    """GET /containers/json"""
    limit = call.integer("limit")
    options = ListOptions(
        all=call.flag("all") or limit > 0,
        limit=max(limit, 0),
        filters=call.filters(_LIST_FILTERS),
    )
    containers = call.engine.containers
    records = await containers.list(options)
    rows = [summary_json(record, call.version) for record in records]
    images, manifests = containers.image_names(records), _manifests(call)
    for record, row, image in zip(records, rows, images, strict=True):
        row["Image"] = image
        if record.image_id in manifests:
            row["ImageManifestDescriptor"] = descriptor_json(manifests[record.image_id])
        row["Names"] += [f"/{name}" for name in containers.link_names(record)]
        if call.flag("size"):
            sizes = await containers.sizes(record.id)
            row["SizeRw"], row["SizeRootFs"] = sizes.rw, sizes.root
    return responses.json(rows)


async def inspect(call: Call) -> StreamResponse:
    """GET /containers/{id}/json"""
    engine = call.engine
    record = await engine.containers.settled(call.id)
    sizes = await engine.containers.sizes(record.id) if call.flag("size") else None
    document = inspect_json(
        record,
        call.version,
        execs=engine.execs.running_in(record.id),
        sizes=sizes,
        driver=engine.system.storage_driver,
    )
    if manifest := _manifests(call).get(record.image_id):
        document["ImageManifestDescriptor"] = descriptor_json(manifest)
    return responses.json(document)


def _manifests(call: Call) -> Mapping[str, Descriptor]:
    """Of images that are platforms of an index: shown since API 1.48."""
    return call.engine.images.platform_manifests() if call.version >= (1, 48) else {}


_NOTHING = 7  # bytes of a body that says nothing, however it is written: null, {}, with line ends


async def start(call: Call) -> StreamResponse:
    """POST /containers/{id}/start"""
    if (call.request.content_length or 0) > _NOTHING:
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22 and "
            "removed in v1.24: configure at create"
        )
    await call.engine.containers.start(call.id)
    return responses.empty()


async def stop(call: Call) -> StreamResponse:
    """POST /containers/{id}/stop"""
    introduce(call)
    await call.engine.containers.stop(call.id, call.optional_integer("t"), _signal(call))
    return responses.empty()


async def restart(call: Call) -> StreamResponse:
    """POST /containers/{id}/restart"""
    introduce(call)
    await call.engine.containers.restart(call.id, call.optional_integer("t"), _signal(call))
    return responses.empty()


def _signal(call: Call) -> str:
    return call.text("signal") if call.version >= (1, 42) else ""


async def kill(call: Call) -> StreamResponse:
    """POST /containers/{id}/kill"""
    introduce(call)
    await call.engine.containers.kill(call.id, call.text("signal"))
    return responses.empty()


async def pause(call: Call) -> StreamResponse:
    """POST /containers/{id}/pause"""
    await call.engine.containers.pause(call.id)
    return responses.empty()


async def unpause(call: Call) -> StreamResponse:
    """POST /containers/{id}/unpause"""
    await call.engine.containers.unpause(call.id)
    return responses.empty()


async def rename(call: Call) -> StreamResponse:
    """POST /containers/{id}/rename"""
    await call.engine.containers.rename(call.id, call.text("name"))
    return responses.empty()


async def remove(call: Call) -> StreamResponse:
    """DELETE /containers/{id}"""
    introduce(call)
    await call.engine.containers.remove(
        call.id, force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link")
    )
    return responses.empty()


async def update(call: Call) -> StreamResponse:
    """POST /containers/{id}/update"""
    body = await call.json(Update)
    forget_newer_update(body, call.version)
    named = body.RestartPolicy is not None and body.RestartPolicy.Name  # "" leaves it as it is
    policy = convert_limits.restart_policy(body.RestartPolicy) if named else None
    changes = convert_update.changes(body.Ketch) if body.Ketch is not None else None
    options = UpdateOptions(resources=convert_limits.update(body), restart=policy, changes=changes)
    done = await call.engine.containers.update(call.id, options)
    answer: dict[str, Any] = {"Warnings": [*done.warnings, *_kernel_memory(body)] or None}
    if changes is not None:
        answer["Ketch"] = {"Live": list(done.live), "NextStart": list(done.next_start)}
    return responses.json(answer)


def _kernel_memory(limits: Limits | None) -> list[str]:
    """Docker discards these limits too: no kernel has had them since Linux 5.16."""
    asked = limits is not None and (limits.KernelMemory or limits.KernelMemoryTCP)
    return [convert_limits.KERNEL_MEMORY] if asked else []


async def prune(call: Call) -> StreamResponse:
    """POST /containers/prune"""
    report = await call.engine.containers.prune(resolve_until(call.filters(_PRUNE_FILTERS)))
    return responses.json(
        {"ContainersDeleted": list(report.deleted) or None, "SpaceReclaimed": report.reclaimed}
    )


async def top(call: Call) -> StreamResponse:
    """GET /containers/{id}/top"""
    table = await call.engine.containers.top(call.id, call.text("ps_args"))
    return responses.json({"Titles": table.titles, "Processes": table.processes})


async def changes(call: Call) -> StreamResponse:
    """GET /containers/{id}/changes"""
    found = await call.engine.containers.changes(call.id)
    rows = [{"Path": change.path, "Kind": change.kind} for change in found]
    return responses.json(rows or None)
