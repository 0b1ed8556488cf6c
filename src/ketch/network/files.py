"""Contents of /etc/hosts, /etc/hostname and /etc/resolv.conf of a container: pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ketch.errors import InvalidParameter

FALLBACK_DNS = ("8.8.8.8", "8.8.4.4")
_LOCAL_NAMES = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class Resolver(msgspec.Struct, frozen=True):
    """What was asked for name resolution; empty members take the host's."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hosts(
    names: Sequence[str], addresses: Iterable[str], extra: Iterable[str], gateway: str = ""
) -> str:
    """/etc/hosts: the local names, ``extra`` (``name:address``), and the container's own names.

    ``host-gateway`` as an address means ``gateway``. Raises ``InvalidParameter``.
    """
    lines = [_LOCAL_NAMES, extra_hosts(extra, gateway)]
    given = [name for name in names if name]
    short = [name.partition(".")[0] for name in given[:1]]
    own = " ".join(dict.fromkeys((*given, *short)))
    lines += [f"{address}\t{own}\n" for address in addresses if own]
    return "".join(lines)


def entries(linked: Iterable[tuple[str, str]]) -> str:
    """Lines of (address, names)."""
    return "".join(f"{address}\t{names}\n" for address, names in linked)


def extra_hosts(extra: Iterable[str], gateway: str) -> str:
    """The lines of ``--add-host``; see ``hosts``."""
    lines = []
    for word in extra:
        name, separator, address = word.partition(":")
        if not separator:
            name, separator, address = word.partition("=")
        if not name or not address:
            raise InvalidParameter(f'bad format for add-host: "{word}"')
        if address == "host-gateway":
            if not gateway:
                raise InvalidParameter(
                    "unable to derive the IP value for host-gateway: the container has no gateway"
                )
            address = gateway
        lines.append(f"{address.strip('[]')}\t{name}\n")
    return "".join(lines)


def resolv_conf(host_text: str, asked: Resolver, *, own_namespace: bool) -> str:
    """/etc/resolv.conf from the host's, as ``asked``.

    In a network namespace of its own a container cannot reach the host's loopback, so nameservers
    there are left out, and public ones stand in when none is left.
    """
    servers, search, options = _parse(host_text)
    if own_namespace:
        servers = [server for server in servers if not _is_loopback(server)]
    servers = list(asked.servers) or servers or list(FALLBACK_DNS)
    search = list(asked.search) or search
    options = list(asked.options) or options
    lines = [f"nameserver {server}" for server in servers]
    if search and search != ["."]:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    """(nameservers, search domains, options) of resolv.conf(5)."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"
