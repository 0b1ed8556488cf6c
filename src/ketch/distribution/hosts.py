"""Where a registry is reached: mirrors, plain http, certificates."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator

import msgspec

from ketch.errors import InvalidParameter
from ketch.oci.reference import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"
"""The host that serves what is called ``docker.io``."""


class Endpoint(msgspec.Struct, frozen=True):
    """One way to a registry: ``base`` is ``https://host[:port]``, without a slash at the end.

    ``verify`` is false where certificates are not looked at; ``mirror`` where the endpoint only has
    copies, so that a miss there says nothing.
    """

    base: str
    verify: bool = True
    mirror: bool = False

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return self.base.partition("://")[2].partition("/")[0]


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's configuration of registries, in the words of Docker's ``daemon.json``.

    ``mirrors`` are URLs that are asked before the Hub for images of ``docker.io``; ``insecure``
    hosts (``host[:port]`` or CIDR) may speak plain http or have any certificate, as loopback
    addresses may; ``certificates`` is a directory with ``<host>/*.crt`` (authorities), ``*.cert``
    and ``*.key`` (ours). ``attempts``: how often a download without progress is tried again.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: str = "/etc/docker/certs.d"
    attempts: int = 5

    def endpoints(self, domain: str) -> list[Endpoint]:
        """The ways to the registry of a domain, in the order in which they are tried."""
        mirrors = self.mirrors if domain == DEFAULT_DOMAIN else ()
        found = [endpoint for mirror in mirrors for endpoint in self._mirror(mirror)]
        host = HUB if domain == DEFAULT_DOMAIN else domain
        return [*found, *self._host(host)]

    def trusting(self, domain: str) -> RegistrySettings:
        """The same, where a registry may speak plain http or have any certificate."""
        return msgspec.structs.replace(self, insecure=(*self.insecure, domain))

    def _mirror(self, url: str) -> Iterator[Endpoint]:
        scheme, separator, rest = url.partition("://")
        rest = rest.rstrip("/")
        if not separator or scheme not in ("http", "https") or not rest:
            raise InvalidParameter(f"invalid registry mirror {url!r}: an http(s) URL is expected")
        host = rest.partition("/")[0]
        yield Endpoint(f"{scheme}://{rest}", not self._insecure(host), mirror=True)

    def _host(self, host: str) -> Iterator[Endpoint]:
        insecure = self._insecure(host)
        yield Endpoint(f"https://{host}", not insecure)
        if insecure:
            yield Endpoint(f"http://{host}", False)

    def _insecure(self, host: str) -> bool:
        name = _without_port(host)
        return (
            host in self.insecure or name in self.insecure or _in_networks(name, self._networks())
        )

    def _networks(self) -> Iterator[str]:
        yield "127.0.0.0/8"
        yield "::1/128"
        yield from (entry for entry in self.insecure if "/" in entry)

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """The TLS context for an endpoint; raises ``InvalidParameter`` for certificates of its
        folder that cannot be used."""
        if endpoint.verify:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reads no list of authorities
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._add_certificates(context, endpoint.host)
        return context

    def _add_certificates(self, context: ssl.SSLContext, host: str) -> None:
        folder = os.path.join(self.certificates, host)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in names:
            path = os.path.join(folder, name)
            stem, suffix = os.path.splitext(path)
            try:
                if suffix == ".crt":
                    context.load_verify_locations(path)
                elif suffix == ".cert":
                    context.load_cert_chain(path, f"{stem}.key")
            except (OSError, ssl.SSLError) as error:
                raise InvalidParameter(
                    f"the certificates for the registry {host} in {folder}: {name}: {error}"
                ) from None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _in_networks(name: str, networks: Iterator[str]) -> bool:
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    for network in networks:
        try:
            if address in ipaddress.ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    return False
