"""A registry's client: manifests and blobs of one repository (OCI distribution-spec 1.1).

async with RegistryClient(settings, reference, credentials) as client:
    served = await client.manifest("22.04")
    await client.fetch(descriptor, ingest, progress)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import msgspec

from ketch.content.ingest import Ingest
from ketch.content.threads import completed
from ketch.distribution.auth import Credentials, read_body
from ketch.distribution.connection import BROKEN, Connection, Refused, Request
from ketch.distribution.failures import error_for
from ketch.distribution.hosts import RegistrySettings
from ketch.errors import DataCorrupt, KetchError, Unavailable
from ketch.oci import digest as digests
from ketch.oci import media_types, strictjson
from ketch.oci.descriptor import Descriptor
from ketch.oci.reference import Reference, check_tag

_MOST_TAGS = 100_000
_TAGS_A_PAGE = 1000
_MOST_PAGES = 100
_PIECE = 1 << 20
_PAUSE = 0.25

_T = TypeVar("_T")


class Served(msgspec.Struct, frozen=True):
    """A manifest as it came, with the digest of its bytes."""

    data: bytes
    media_type: str
    digest: str


class _TagPage(msgspec.Struct):
    tags: list[str] | None = None


class RegistryClient:
    """See the module's docstring."""

    def __init__(
        self, settings: RegistrySettings, reference: Reference, credentials: Credentials
    ) -> None:
        self.reference = reference
        self._settings = settings
        self._credentials = credentials
        self._endpoints = settings.endpoints(reference.domain)
        self._connections: dict[str, Connection] = {}
        self._path = f"/v2/{reference.path}"
        self._scope = f"repository:{reference.path}:pull"

    async def __aenter__(self) -> RegistryClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections.values():
            await connection.close()

    async def manifest(self, target: str) -> Served:
        """The manifest or index of a tag or digest.

        Raises ``NotFound``, ``Unauthorized``, ``Unavailable``, and ``DataCorrupt`` when the bytes
        don't have the digest asked for or announced.
        """
        return await self._from_any(lambda connection: self._manifest(connection, target))

    async def tags(self) -> list[str]:
        """Every tag of the repository; raises as ``manifest`` does."""
        return await self._from_any(self._tags)

    async def _from_any(self, ask: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Ask one endpoint after the other; the first that knows is asked for the rest too."""
        failure: KetchError | None = None
        for connection in self._all():
            try:
                answer = await ask(connection)
            except Refused as error:
                failure = error_for(self._what(), error.answer)
                if not connection.endpoint.mirror:
                    raise failure from None
            except KetchError as error:
                failure = _prefixed(self._what(), error)
                if not (connection.endpoint.mirror or isinstance(error, Unavailable)):
                    raise failure from None
            else:
                self._prefer(connection)
                return answer
        assert failure is not None
        raise failure

    async def _tags(self, connection: Connection) -> list[str]:
        """Page by page (distribution-spec, "Listing Tags")."""
        path = f"{self._path}/tags/list?n={_TAGS_A_PAGE}"
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            request = Request(method="GET", path=path, scope=self._scope)
            async with connection.send(request) as response:
                data = await read_body(response, strictjson.LARGEST)
                link = response.links.get("next")
            try:
                page = msgspec.json.decode(data, type=_TagPage)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise DataCorrupt(f"the list of tags is malformed: {error}") from None
            found += [check_tag(tag) for tag in page.tags or ()]
            if len(found) > _MOST_TAGS:
                break
            if link is None:
                return found
            following = connection.absolute(str(link["url"]))
            if following == path:
                break
            path = following
        raise DataCorrupt(f"the list of tags has more than {_MOST_TAGS} entries or no end")

    async def _manifest(self, connection: Connection, target: str) -> Served:
        request = Request(
            method="GET",
            path=f"{self._path}/manifests/{target}",
            scope=self._scope,
            headers={"Accept": media_types.ACCEPT},
        )
        async with connection.send(request) as response:
            if (response.content_length or 0) > strictjson.LARGEST:
                raise DataCorrupt(f"the manifest is larger than {strictjson.LARGEST} bytes")
            data = await read_body(response, strictjson.LARGEST)
            announced = response.headers.get("Docker-Content-Digest", "")
            media_type = response.headers.get("Content-Type", "")
        wanted = target if ":" in target else ""
        for digest in (wanted, announced):
            if digest and not digests.matches(data, digests.check(digest)):
                raise DataCorrupt(f"the manifest does not have the digest {digest}: refused")
        return Served(data, media_type, wanted or announced or digests.of(data))

    async def blob(self, descriptor: Descriptor, largest: int) -> bytes:
        """A small blob (an image configuration) as a whole, checked."""
        if descriptor.size > largest:
            raise DataCorrupt(f"blob {descriptor.digest} has more than {largest} bytes: refused")
        request = self._blob_request(descriptor, 0)
        data = b""
        for connection in self._all():
            try:
                async with connection.send(request) as response:
                    data = await read_body(response, descriptor.size)
                break
            except Refused as error:
                if not connection.endpoint.mirror:
                    raise error_for(self._blob_what(descriptor), error.answer) from None
            except BROKEN as error:
                raise Unavailable(f"{self._blob_what(descriptor)}: {error}") from None
        if len(data) != descriptor.size or not digests.matches(data, descriptor.digest):
            raise DataCorrupt(f"blob {descriptor.digest} arrived with other bytes: refused")
        return data

    async def fetch(
        self, descriptor: Descriptor, ingest: Ingest, progress: Callable[[int], None]
    ) -> None:
        """Download a blob into ``ingest``, going on where it ended; ``progress`` gets offsets.

        Lost connections are taken up again. Raises ``DataCorrupt`` (wrong size), ``NotFound``,
        ``Unavailable``. Committing is the caller's.
        """
        tries = 0
        while not ingest.complete:
            before = ingest.offset
            try:
                await self._fetch_from_any(descriptor, ingest, progress)
            except (*BROKEN, Unavailable) as error:
                tries = 0 if ingest.offset > before else tries + 1
                if tries >= self._settings.attempts:
                    raise Unavailable(f"{self._blob_what(descriptor)}: {error}") from None
                await asyncio.sleep(_PAUSE * 2**tries)

    async def _fetch_from_any(
        self, descriptor: Descriptor, ingest: Ingest, progress: Callable[[int], None]
    ) -> None:
        for connection in self._all():
            try:
                await self._fetch(connection, descriptor, ingest, progress)
                return
            except Refused as error:
                if error.answer.status == 416 and ingest.offset:
                    ingest.restart()
                    return
                if not connection.endpoint.mirror:
                    raise error_for(self._blob_what(descriptor), error.answer) from None

    async def _fetch(
        self,
        connection: Connection,
        descriptor: Descriptor,
        ingest: Ingest,
        progress: Callable[[int], None],
    ) -> None:
        request = self._blob_request(descriptor, ingest.offset)
        async with connection.send(request) as response:
            content_range = response.headers.get("Content-Range", "")
            if ingest.offset and not (
                response.status == 206 and content_range.startswith(f"bytes {ingest.offset}-")
            ):
                ingest.restart()
                if response.status == 206:
                    return
            left = descriptor.size - ingest.offset
            if response.content_length not in (None, left):
                ingest.discard()
                raise DataCorrupt(
                    f"blob {descriptor.digest}: the registry sends {response.content_length} bytes"
                    f" where {left} are announced: refused"
                )
            piece = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    piece += chunk
                    if len(piece) >= _PIECE:
                        piece = await _written(piece, ingest, progress)
            finally:
                await _written(piece, ingest, progress)
        if not ingest.complete:
            raise Unavailable("the connection ended early")

    def _blob_request(self, descriptor: Descriptor, offset: int) -> Request:
        return Request(
            method="GET",
            path=f"{self._path}/blobs/{descriptor.digest}",
            scope=self._scope,
            headers={"Range": f"bytes={offset}-"} if offset else {},
        )

    def _all(self) -> list[Connection]:
        return [self._connection(number) for number in range(len(self._endpoints))]

    def _connection(self, number: int) -> Connection:
        endpoint = self._endpoints[number]
        if endpoint.base not in self._connections:
            anonymous = endpoint.mirror  # a password for the Hub is not for its mirrors
            credentials = Credentials() if anonymous else self._credentials
            self._connections[endpoint.base] = Connection(endpoint, self._settings, credentials)
        return self._connections[endpoint.base]

    def _prefer(self, connection: Connection) -> None:
        """Ask the endpoint that had the manifest first; forget those before it that did not."""
        at = self._endpoints.index(connection.endpoint)
        self._endpoints = self._endpoints[at:]
        if not connection.endpoint.mirror:
            self._endpoints = self._endpoints[:1]

    def _what(self) -> str:
        return f'failed to resolve reference "{self.reference}": {self.reference}'

    def _blob_what(self, descriptor: Descriptor) -> str:
        return f"failed to fetch {descriptor.digest} of {self.reference.name}"


async def _written(piece: bytearray, ingest: Ingest, progress: Callable[[int], None]) -> bytearray:
    if piece:
        if len(piece) < 65536:
            ingest.write(piece)
        else:
            await completed(ingest.write, piece)
        progress(ingest.offset)
    return bytearray()


def _prefixed(what: str, error: KetchError) -> KetchError:
    return type(error)(f"{what}: {error}")
