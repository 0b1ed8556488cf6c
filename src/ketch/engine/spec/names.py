"""Names and addresses of a request that end up in the container's /etc files (pure).

They are text from outside: what holds a blank or a newline would write lines of its own into
hosts(5) or resolv.conf(5).
"""

from __future__ import annotations

import ipaddress
import re

from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter

_LONGEST_NAME = 64  # sethostname(2), setdomainname(2)
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,255}\Z")


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` naming the value that is none."""
    for kind, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name and not _WORD.match(name):
            raise InvalidParameter(f"invalid {kind}: {name!r}")
        if len(name.encode()) > _LONGEST_NAME:
            raise InvalidParameter(f"invalid {kind}: {name!r} is longer than {_LONGEST_NAME} bytes")
    if "" in spec.annotations:
        raise InvalidParameter(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )
    for endpoint in spec.endpoints:
        for version, text in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
            if text and not _is_address(text, version):
                raise InvalidParameter(f"invalid IPv{version} address: {text}")
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


def _is_address(text: str, version: int = 0) -> bool:
    """Whether it is an IP address, of one version or any."""
    try:
        return ipaddress.ip_address(text).version in (version or 4, version or 6)
    except ValueError:
        return False
