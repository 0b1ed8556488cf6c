"""Networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_create import endpoint
from ketch.api.convert_network import network_json, network_spec
from ketch.api.filters import keys, resolve_until
from ketch.api.schema.container import EndpointSettings
from ketch.api.schema.network import NetworkConnect, NetworkCreate, NetworkDisconnect
from ketch.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_LIST_FILTERS = keys("dangling driver id label name scope type")
_PRUNE_FILTERS = keys("until label label!")


async def list_(call: Call) -> StreamResponse:
    """GET /networks"""
    networks = call.engine.networks
    found = await networks.list(call.filters(_LIST_FILTERS))
    if call.version >= (1, 28):
        return responses.json([network_json(network) for network in found])
    rows = [network_json(network, await networks.members(network.id)) for network in found]
    return responses.json(rows)


async def create(call: Call) -> StreamResponse:
    """POST /networks/create"""
    spec = network_spec(await call.json(NetworkCreate))
    network = await call.engine.networks.create(spec)
    return responses.json({"Id": network.id, "Warning": ""}, 201)


async def inspect(call: Call) -> StreamResponse:
    """GET /networks/{id}"""
    networks = call.engine.networks
    network = await networks.get(call.id)
    if call.text("scope") not in ("", "local"):
        raise NotFound(f"network {call.id} not found")
    members = await networks.members(network.id)
    return responses.json(network_json(network, members))


async def remove(call: Call) -> StreamResponse:
    """DELETE /networks/{id}"""
    await call.engine.networks.remove(call.id)
    return responses.empty()


async def connect(call: Call) -> StreamResponse:
    """POST /networks/{id}/connect"""
    body = await call.json(NetworkConnect)
    container = _container(body.Container)
    settings = body.EndpointConfig or EndpointSettings()
    await call.engine.networks.connect_container(call.id, container, endpoint(call.id, settings))
    return responses.empty(200)


async def disconnect(call: Call) -> StreamResponse:
    """POST /networks/{id}/disconnect"""
    body = await call.json(NetworkDisconnect)
    await call.engine.networks.disconnect_container(
        call.id, _container(body.Container), force=bool(body.Force)
    )
    return responses.empty(200)


def _container(name: str | None) -> str:
    if not name:
        raise InvalidParameter("the field Container must name a container")
    return name


async def prune(call: Call) -> StreamResponse:
    """POST /networks/prune"""
    report = await call.engine.networks.prune(resolve_until(call.filters(_PRUNE_FILTERS)))
    return responses.json({"NetworksDeleted": list(report.deleted) or None})
