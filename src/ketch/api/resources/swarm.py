"""What an engine says that is not part of a swarm, has no plugins, and what ketch does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.errors import NotFound, Unavailable, Unsupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def not_a_manager(call: Call) -> StreamResponse:
    """Everything about nodes, services, tasks, secrets and configs."""
    raise Unavailable(
        "This node is not a swarm manager. ketch runs containers on one machine and has no swarm."
    )


async def no_swarm(call: Call) -> StreamResponse:
    """Making or joining a swarm."""
    raise Unsupported("swarm mode is not supported by ketch")


async def no_checkpoints(call: Call) -> StreamResponse:
    """Checkpoints of containers."""
    raise Unsupported("checkpoints are not supported by ketch: it does not use CRIU")


async def no_plugins(call: Call) -> StreamResponse:
    """GET /plugins"""
    call.filters(frozenset({"capability", "enabled"}))
    return responses.json([])


async def plugin_missing(call: Call) -> StreamResponse:
    """Anything about one plugin."""
    raise NotFound(f'plugin "{call.params["name"]}" not found')


async def no_plugin_installs(call: Call) -> StreamResponse:
    """Installing plugins."""
    raise Unsupported("plugins are not supported by ketch")
