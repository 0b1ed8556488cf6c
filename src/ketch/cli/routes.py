"""Paths of the Engine API for names that people typed.

Names are escaped: a name with a question mark must not become a parameter of the request.
"""

from ketch.client.api import quote
from ketch.errors import InvalidParameter


def _path(kind: str, place: str, name: str, rest: str) -> str:
    if not name.strip():
        raise InvalidParameter(f"invalid {kind} name or ID: value is empty")
    return f"{place}/{quote(name)}{rest}"


def container(name: str, rest: str = "") -> str:
    """``/containers/NAME`` and what follows; raises ``InvalidParameter`` for an empty name."""
    return _path("container", "/containers", name, rest)


def network(name: str, rest: str = "") -> str:
    """``/networks/NAME`` and what follows."""
    return _path("network", "/networks", name, rest)


def volume(name: str, rest: str = "") -> str:
    """``/volumes/NAME`` and what follows."""
    return _path("volume", "/volumes", name, rest)


def image(name: str, rest: str = "") -> str:
    """``/images/NAME`` and what follows."""
    return _path("image", "/images", name, rest)


def exec_(name: str, rest: str = "") -> str:
    """``/exec/ID`` and what follows."""
    return _path("exec", "/exec", name, rest)
