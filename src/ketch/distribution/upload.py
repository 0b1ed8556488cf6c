"""Pushing to a registry: blobs and manifests (OCI distribution-spec 1.1, "Push")."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from ketch.distribution.auth import Credentials
from ketch.distribution.connection import BROKEN, Connection, Refused, Request, is_passing
from ketch.distribution.failures import error_for
from ketch.distribution.hosts import RegistrySettings
from ketch.errors import DataCorrupt, KetchError, Unavailable
from ketch.oci.descriptor import Descriptor
from ketch.oci.reference import Reference

if TYPE_CHECKING:
    import aiohttp

_PIECE = 1 << 20
_TRIES = 5
_PAUSE = 0.25  # seconds, doubled after each try


class Uploader:
    """Pushes into one repository; mirrors are not asked."""

    def __init__(
        self, settings: RegistrySettings, reference: Reference, credentials: Credentials
    ) -> None:
        self.reference = reference
        self._settings = settings
        self._credentials = credentials
        self._endpoints = [e for e in settings.endpoints(reference.domain) if not e.mirror]
        self._connection: Connection | None = None
        self._path = f"/v2/{reference.path}"
        self._scope = f"repository:{reference.path}:pull,push"

    async def __aenter__(self) -> Uploader:
        """Find the endpoint that answers; raises ``Unavailable`` when none does."""
        failure: KetchError | None = None
        for endpoint in self._endpoints:
            connection = Connection(endpoint, self._settings, self._credentials)
            try:
                async with connection.send(Request(method="GET", path="/v2/")):
                    pass
            except Refused as error:
                if error.answer.status not in (401, 403, 404):
                    failure = error_for(self._what(), error.answer)
                    await connection.close()
                    continue
            except Unavailable as error:
                failure = error
                await connection.close()
                continue
            self._connection = connection
            return self
        assert failure is not None
        raise failure

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob already."""
        path = f"{self._path}/blobs/{descriptor.digest}"
        try:
            async with self._send("HEAD", path) as response:
                return response.content_length in (None, descriptor.size)
        except Refused as error:
            if error.answer.status == 404:
                return False
            raise error_for(self._what(), error.answer) from None

    async def blob(
        self,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        progress: Callable[[int], None],
        mount_from: str = "",
    ) -> bool:
        """Upload a blob in one piece; True when the registry took it from ``mount_from`` instead.

        ``mount_from`` is the path of another repository of the registry that may have it. A broken
        connection and passing failures of the registry are answered by beginning anew.
        """
        for number in range(_TRIES):
            last = number + 1 == _TRIES
            try:
                return await self._blob(descriptor, source, progress, mount_from)
            except Refused as error:
                if last or not is_passing(error.answer.status):
                    raise error_for(self._what(), error.answer) from None
            except (Unavailable, *BROKEN) as error:
                if last:
                    raise Unavailable(f"{self._what()}: the connection broke: {error}") from None
            await asyncio.sleep(_PAUSE * 2**number)
        raise AssertionError("unreachable")

    async def _blob(
        self,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        progress: Callable[[int], None],
        mount_from: str,
    ) -> bool:
        location = await self._begin(descriptor, mount_from)
        if not location:
            return True
        with source() as file:
            await self._put(location, descriptor, file, progress)
        return False

    async def _begin(self, descriptor: Descriptor, mount_from: str) -> str:
        """Where to put the blob; "" when it was mounted."""
        path = f"{self._path}/blobs/uploads/"
        if mount_from:
            path += f"?mount={quote(descriptor.digest)}&from={quote(mount_from, safe='')}"
        async with self._send("POST", path, data=b"") as response:
            if response.status == 201:
                return ""
            location = response.headers.get("Location", "")
        if not location:
            raise DataCorrupt(f"{self.reference.domain} does not say where to upload to")
        assert self._connection is not None
        return self._connection.absolute(location)

    async def _put(
        self,
        location: str,
        descriptor: Descriptor,
        file: BinaryIO,
        progress: Callable[[int], None],
    ) -> None:
        joiner = "&" if "?" in location else "?"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(descriptor.size),
        }
        request = Request(
            method="PUT",
            path=f"{location}{joiner}digest={quote(descriptor.digest)}",
            scope=self._scope,
            headers=headers,
            data=_pieces(file, progress) if descriptor.size else b"",
        )
        assert self._connection is not None
        async with self._connection.send(request):
            pass

    async def manifest(self, data: bytes, media_type: str, target: str) -> str:
        """Put a manifest under a tag or digest; returns the digest that the registry announces."""
        path = f"{self._path}/manifests/{target}"
        try:
            async with self._send("PUT", path, data, media_type) as response:
                return response.headers.get("Docker-Content-Digest", "")
        except Refused as error:
            raise error_for(self._what(), error.answer) from None

    def _send(
        self, method: str, path: str, data: bytes | None = None, kind: str = ""
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        assert self._connection is not None
        headers = {"Content-Type": kind} if kind else {}
        return self._connection.send(
            Request(method=method, path=path, scope=self._scope, headers=headers, data=data)
        )

    def _what(self) -> str:
        return f"failed to push {self.reference}"


async def _pieces(file: BinaryIO, progress: Callable[[int], None]) -> AsyncIterator[bytes]:
    sent = 0
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece
        sent += len(piece)
        progress(sent)
