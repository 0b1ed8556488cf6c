"""Searching an index: the search of Docker's registry API version 1, which the Hub still has."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from ketch.distribution.auth import Credentials, read_body
from ketch.distribution.connection import Connection, Refused, Request
from ketch.distribution.failures import error_for
from ketch.distribution.hosts import RegistrySettings
from ketch.errors import DataCorrupt, InvalidParameter, NotFound, Unavailable
from ketch.oci import reference as references

INDEX = "index.docker.io"
MOST_RESULTS = 100
_LARGEST = 4 << 20


class SearchResult(msgspec.Struct, frozen=True):
    """One repository that was found."""

    name: str
    description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Page(msgspec.Struct):
    results: list[SearchResult] | None = None


async def search(
    settings: RegistrySettings, term: str, limit: int, credentials: Credentials
) -> list[SearchResult]:
    """What the index finds for ``term``: words, or ``host/words`` for another index than the Hub's.

    Raises ``InvalidParameter``, ``Unavailable``, ``Unauthorized``, ``NotFound`` when the host has
    no search.
    """
    host, words = _split(term)
    failure: Unavailable | None = None
    for endpoint in settings.endpoints(host):
        connection = Connection(endpoint, settings, credentials)
        try:
            return await _ask(connection, words, limit)
        except Unavailable as error:
            failure = failure or error
        except Refused as error:
            if error.answer.status == 404:
                raise NotFound(f"{host} has no search: it does not know /v1/search") from None
            raise error_for(f"failed to search {host} for {words!r}", error.answer) from None
        finally:
            await connection.close()
    assert failure is not None
    raise failure


def _split(term: str) -> tuple[str, str]:
    """Docker's rule: what has a dot or a colon before the first slash is a host."""
    if "://" in term:
        raise InvalidParameter(
            f"invalid search term {term!r}: leave the scheme out, as in host:5000/words"
        )
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, words = (INDEX if first in ("docker.io", INDEX) else _checked(first)), rest
    else:
        host, words = INDEX, term
    if host == INDEX:
        words = words.removeprefix("library/")
    if not words:
        raise InvalidParameter("the search term is empty")
    return host, words


def _checked(host: str) -> str:
    """A host as references have it, or ``InvalidParameter``."""
    try:
        return references.parse(f"{host}/x").domain
    except InvalidParameter:
        raise InvalidParameter(f"invalid search term: {host!r} is no name of a host") from None


async def _ask(connection: Connection, words: str, limit: int) -> list[SearchResult]:
    path = f"/v1/search?q={quote(words, safe='')}&n={limit}"
    async with connection.send(Request(method="GET", path=path)) as response:
        data = await read_body(response, _LARGEST)
    try:
        page = msgspec.json.decode(data, type=_Page)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DataCorrupt(f"{connection.endpoint.host} answered nonsense: {error}") from None
    return (page.results or [])[:limit]
