"""Environment variables that a legacy link makes (pure).

docs.docker.com, "Legacy container links": the alias in capitals before the name, the address of
each exposed port as a URL and in parts, the variables of the linked container.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ketch.engine.containers.spec import ContainerSpec

_KEPT_APART = {"HOME", "PATH"}  # they are about the other container's files
_RANGE = 3  # so many ports in a row are a range, too

Port = tuple[int, str]
"""Number and protocol."""


def variables(owner: str, alias: str, address: str, other: ContainerSpec) -> Iterator[str]:
    """``NAME=value`` for the container ``owner``; ``alias`` is what it calls ``other``."""
    prefix = alias.upper().replace("-", "_")
    ports = sorted(map(_port, other.exposed_ports))  # of one number, tcp comes first
    if ports:
        yield f"{prefix}_PORT={_url(ports[0], address)}"
    for first, last in _ranges(ports):
        yield from _range(prefix, first, last, address)
    for port in ports:
        name = f"{prefix}_PORT_{_name(port)}"
        yield f"{name}={_url(port, address)}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PORT={port[0]}"
        yield f"{name}_PROTO={port[1]}"
    yield f"{prefix}_NAME=/{owner}/{alias}"
    yield from (f"{prefix}_ENV_{entry}" for entry in _shown(other.env))


def _port(text: str) -> Port:
    number, _, protocol = text.partition("/")
    return int(number), protocol or "tcp"


def _name(port: Port) -> str:
    return f"{port[0]}_{port[1].upper()}"


def _url(port: Port, address: str) -> str:
    return f"{port[1]}://{address}:{port[0]}"


def _ranges(ports: Sequence[Port]) -> Iterator[tuple[Port, Port]]:
    """The first and the last of so many ports in a row."""
    start = 0
    for index, port in enumerate(ports):
        following = ports[index + 1][0] if index + 1 < len(ports) else 0
        if following not in (port[0], port[0] + 1):  # two protocols do not end it
            if index - start + 1 >= _RANGE:
                yield ports[start], port
            start = index + 1


def _range(prefix: str, first: Port, last: Port, address: str) -> Iterator[str]:
    name = f"{prefix}_PORT_{_name(first)}"
    ending = f"{prefix}_PORT_{_name((first[0], last[1]))}"
    yield f"{name}_START={_url(first, address)}"
    yield f"{name}_PORT_START={first[0]}"
    yield f"{name}_ADDR={address}"
    yield f"{name}_PROTO={first[1]}"
    yield f"{ending}_END={_url(last, address)}"
    yield f"{ending}_PORT_END={last[0]}"


def _shown(env: Iterable[str]) -> Iterator[str]:
    for entry in env:
        name, equals, _ = entry.partition("=")
        if equals and name not in _KEPT_APART:
            yield entry
