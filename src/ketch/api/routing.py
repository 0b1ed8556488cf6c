"""Routes as values, and the router that finds one.

A pattern is a path with ``{names}``; a name matches one or more characters, slashes included,
because image references hold slashes (``/images/a/b:1/json``) and a client may ask for any name
anywhere. Fixed paths win over patterns; among patterns the order of the table decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ketch.api.versions import MAXIMUM, MINIMUM, Version

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

Handler = Callable[["Call"], Awaitable["StreamResponse"]]


class Route(NamedTuple):
    """One row of the table.

    ``streams``: the handler is cancelled when the client goes away. Others run to their end, since
    a half-made change is worse than an unread answer. ``finite``: a stream that ends by itself, so
    a client that has ended its own side gets all of it, unless it follows. ``since``/``until``
    bound the API versions.
    ``unversioned``: answers whatever version the path asks for (``/_ping``).
    """

    method: str
    pattern: str
    handler: Handler
    streams: bool = False
    finite: bool = False
    since: Version = MINIMUM
    until: Version = MAXIMUM
    plain_errors: bool = False  # errors as text/plain, as Docker's hijacked routes have it
    unversioned: bool = False
    options: bool = False  # served, but not with every option: one too many is the request's fault


class Match(NamedTuple):
    """A route and what its names matched."""

    route: Route
    params: dict[str, str]


_NAME = re.compile(r"\{(\w+)\}")


class Router:
    """Finds the route of a method and a path (without its version prefix)."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], list[Route]] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.pattern:
            self._fixed.setdefault((route.method, route.pattern), []).append(route)
            return
        compiled = re.compile(_NAME.sub(r"(?P<\1>.+)", route.pattern), re.DOTALL)
        key = (route.method, _first_segment(route.pattern))
        self._patterns.setdefault(key, []).append((compiled, route))

    def find(self, method: str, path: str, version: Version = MAXIMUM) -> Match | None:
        """None when nothing matches, as for a method that the path does not take."""
        for route in self._fixed.get((method, path), ()):
            if route.since <= version <= route.until:
                return Match(route, {})
        for pattern, route in self._patterns.get((method, _first_segment(path)), ()):
            if not route.since <= version <= route.until:
                continue
            found = pattern.fullmatch(path)
            if found is not None:
                return Match(route, found.groupdict())
        return None


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]
