"""Guard against web pages: a browser must not drive the engine through a TCP listener.

A page of a foreign site can send requests to ``localhost`` (it sends ``Origin``), and a name that
it controls can be made to point here (DNS rebinding: then ``Host`` is that name). So over TCP a
request must name the engine by an address, by ``localhost`` or by a name of this machine, and an
``Origin`` must agree with ``Host``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ketch.errors import Forbidden

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest


class OriginPolicy:
    """Which hosts a request may name; ``names`` (``*.x`` for any below x) add to the machine's."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        machine = socket.gethostname().lower()
        self._names = {"localhost", machine, *(name.lower() for name in names)}

    def check(self, request: BaseRequest) -> None:
        """Raise ``Forbidden`` for a foreign Host or Origin."""
        host = _without_port(request.headers.get("Host", ""))
        if not self._ours(host):
            raise Forbidden(f"the Host header names {host!r}, which is not this engine")
        origin = request.headers.get("Origin")
        if origin is not None and _without_port(origin.partition("://")[2]) != host:
            raise Forbidden(f"requests from the web page origin {origin!r} are refused")

    def _ours(self, host: str) -> bool:
        if host in self._names or f"*.{host.partition('.')[2]}" in self._names:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def _without_port(authority: str) -> str:
    authority = authority.lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
