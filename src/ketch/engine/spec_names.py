"""Names and addresses of a request that end up in the container's /etc files (pure).

They are text from outside: what holds a blank or a newline would write lines of its own into
hosts(5) or resolv.conf(5).
"""

from __future__ import annotations

import ipaddress
import re

from ketch.engine.container_spec import ContainerSpec
from ketch.errors import InvalidParameter

_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,255}\Z")


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` naming the value that is none."""
    for kind, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name and not _WORD.match(name):
            raise InvalidParameter(f"invalid {kind}: {name!r}")
    for server in spec.dns:
        if not _is_address(server):
            raise InvalidParameter(f"invalid DNS server: {server!r} is not an IP address")
    for kind, words in (("domain", spec.dns_search), ("option", spec.dns_options)):
        for word in words:
            if not _WORD.match(word):
                raise InvalidParameter(f"invalid DNS {kind}: {word!r}")
    for host in spec.extra_hosts:
        _check_host(host)


def _check_host(host: str) -> None:
    """``name:address`` or ``name=address``; ``host-gateway`` is looked up at start."""
    found = re.search("[:=]", host)
    if found is None:
        raise InvalidParameter(f'bad format for add-host: "{host}"')
    name, address = host[: found.start()], host[found.end() :]
    if not _WORD.match(name) or not address:
        raise InvalidParameter(f'bad format for add-host: "{host}"')
    if address != "host-gateway" and not _is_address(address.strip("[]")):
        raise InvalidParameter(f'invalid IP address in add-host: "{address}"')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
