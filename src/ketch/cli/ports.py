"""``-p`` and ``--expose``: ``[[IP:]HOST[-RANGE]:]PORT[-RANGE][/PROTO]`` to the API's shape."""

from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOLS = ("tcp", "udp", "sctp")


def parse_publish(text: str) -> "list[tuple[str, dict[str, str]]]":
    """One ``-p`` value → (``80/tcp``, {"HostIp", "HostPort"}) pairs; raises ``UsageError``."""
    if "=" in text:
        text = _short_form(text)
    rest, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise UsageError(f"invalid proto: {protocol}")
    host_ip, host, container = _split(rest)
    if host_ip:
        _check_address(host_ip)
    if not container:
        raise UsageError(f"no port specified: {text}<empty>")
    inner = _range(container, "invalid containerPort")
    outer = _range(host, "invalid hostPort", first=0) if host else None  # 0 is any free one
    if outer and len(outer) != len(inner) and len(inner) != 1:
        raise UsageError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )
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


def _short_form(text: str) -> str:
    """``target=80,published=8080,protocol=tcp`` as ``8080:80/tcp``."""
    values = {"published": "", "protocol": "tcp", "target": ""}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key not in values or not value:
            raise UsageError(f"invalid field {field!r} in publish opts: use target=, published=")
        values[key] = value
    if not values["target"]:
        raise UsageError(f"missing target port in publish opts: {text}")
    published = f"{values['published']}:" if values["published"] else ""
    return f"{published}{values['target']}/{values['protocol']}"


def _split(text: str) -> "tuple[str, str, str]":
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        before, colon, container = rest.rpartition(":")
        if not address or not closed or not colon or not before.startswith(":"):
            raise UsageError(f"invalid IP address: {text}")
        return address, before[1:], container
    words = text.rsplit(":", 2)
    if len(words) == 3:
        return words[0], words[1], words[2]
    return ("", words[0], words[1]) if len(words) == 2 else ("", "", words[0])


def _check_address(text: str) -> None:
    import ipaddress  # few command lines have one

    try:
        valid = not getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"invalid IP address: {text}")


def _range(text: str, what: str, first: int = 1) -> range:
    low, _, high = text.partition("-")
    numbers = (low, high or low)
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(f"{what}: {text}")
    ports = range(int(low), int(high or low) + 1)
    if not ports or ports[0] < first or ports[-1] > 65535:
        raise UsageError(f"{what}: {text}")
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
        protocol = (protocol or "tcp").lower()
        if ":" in inner:
            raise UsageError(f"invalid port format for --expose: {text}")
        if protocol not in PROTOCOLS:
            raise UsageError(f"invalid protocol for --expose: {text}")
        for number in _range(inner, "invalid range format for --expose"):
            exposed[f"{number}/{protocol}"] = {}
    return exposed, bindings
