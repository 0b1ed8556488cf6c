"""Checking a user's credentials against a registry."""

from __future__ import annotations

from ketch.distribution.auth import Credentials
from ketch.distribution.connection import Connection, Refused, Request
from ketch.distribution.failures import error_for
from ketch.distribution.hosts import HUB, RegistrySettings
from ketch.errors import Unauthorized, Unavailable
from ketch.oci.reference import DEFAULT_DOMAIN

_HUB_NAMES = frozenset({"", DEFAULT_DOMAIN, "index.docker.io", HUB})


async def log_in(settings: RegistrySettings, server: str, credentials: Credentials) -> str:
    """Ask the registry's base route; returns an identity token, or "" when it gives none.

    ``server`` is a host or a URL as in Docker's configuration files. Raises ``Unauthorized`` when
    the credentials are refused, ``Unavailable`` when nobody answers.
    """
    host = (server.partition("://")[2] or server).partition("/")[0]
    domain = DEFAULT_DOMAIN if host in _HUB_NAMES else host
    failure: Unavailable | None = None
    for endpoint in settings.endpoints(domain):
        if endpoint.mirror:
            continue
        connection = Connection(endpoint, settings, credentials)
        connection.authorizer.offline = True
        try:
            async with connection.send(Request(method="GET", path="/v2/")):
                return connection.authorizer.refresh_token
        except Unavailable as error:
            failure = error
        except Refused as error:
            if error.answer.status == 401:
                raise Unauthorized(
                    f"login attempt to {endpoint.base}/v2/ failed with status: 401 Unauthorized"
                ) from None
            raise error_for(f"failed to log in to {host or domain}", error.answer) from None
        finally:
            await connection.close()
    assert failure is not None
    raise failure
