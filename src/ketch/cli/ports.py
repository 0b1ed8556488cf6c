"""``-p`` and ``--expose``: ``[[IP:]HOST[-RANGE]:]PORT[-RANGE][/PROTO]`` to the API's shape."""

from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_publish(text: str) -> "list[tuple[str, dict[str, str]]]":
    """One ``-p`` value → (``80/tcp``, {"HostIp", "HostPort"}) pairs; raises ``UsageError``."""
    rest, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f"invalid containerPort: {text}: unknown protocol {protocol!r}")
    host_ip, host, container = _split(rest)
    inner = _range(container, text)
    outer = _range(host, text) if host else None
    if outer and len(outer) != len(inner) and len(inner) != 1:
        raise UsageError(f"invalid ranges specified for container and host Ports: {text}")
    bindings = []
    for index, port in enumerate(inner):
        if not outer:
            host_port = ""
        elif len(inner) == 1:
            host_port = host
        else:
            host_port = str(outer[index])
        bindings.append((f"{port}/{protocol}", {"HostIp": host_ip, "HostPort": host_port}))
    return bindings


def _split(text: str) -> "tuple[str, str, str]":
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or not rest.startswith(":"):
            raise UsageError(f"invalid IP address: {text}")
        host, _, container = rest[1:].rpartition(":")
        return address, host, container
    words = text.rsplit(":", 2)
    if len(words) == 3:
        return words[0], words[1], words[2]
    return ("", words[0], words[1]) if len(words) == 2 else ("", "", words[0])


def _range(text: str, whole: str) -> range:
    first, _, last = text.partition("-")
    try:
        ports = range(int(first), int(last or first) + 1)
    except ValueError:
        raise UsageError(f"invalid containerPort: {whole}") from None
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise UsageError(f"invalid port range: {whole}")
    return ports


def of_flags(publish: "list[str]", expose: "list[str]") -> "tuple[dict[str, Any], dict[str, Any]]":
    """(ExposedPorts, PortBindings) of the create body."""
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for text in publish:
        for port, binding in parse_publish(text):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    for text in expose:
        inner, _, protocol = text.partition("/")
        for number in _range(inner, text):
            exposed[f"{number}/{protocol or 'tcp'}"] = {}
    return exposed, bindings
