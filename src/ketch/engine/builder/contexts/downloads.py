"""What ADD fetched from URLs earlier, so that what did not change is not sent again.

A server that gives an ETag is asked whether it still holds (RFC 9110, 13.1.2); if so, the file of
the last time is taken, once more checked by its digest: nothing here was synced. Servers without
ETags send everything each time, as with BuildKit: a time of a whole second proves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from ketch.engine.builder.cache.records import DOWNLOAD
from ketch.engine.builder.contexts.fetch import save
from ketch.engine.builder.contexts.kept import KeptFiles, KeptRecord
from ketch.engine.http_get import opened
from ketch.state.database import Database

FOLDER = "build-downloads"
_MOST = 1 << 30  # bytes of all
_LONGEST = 1000  # characters of an ETag
_log = logging.getLogger("ketch.engine.builder")


class KeptDownload(KeptRecord, frozen=True, kw_only=True):
    """One file; ``shown`` is its URL without what may be secret in it."""

    etag: str
    digest: str
    shown: str


class KeptDownloads(KeptFiles[KeptDownload]):
    """All that are kept."""

    def __init__(self, database: Database, data_root: str) -> None:
        root = f"{data_root}/{FOLDER}"
        super().__init__(database, root, "build_downloads", KeptDownload, DOWNLOAD, _MOST)

    def description(self, record: KeptDownload) -> str:
        """By its URL."""
        return f"download of {record.shown}"

    async def fetch(self, url: str, path: str) -> str:
        """What a URL has as the new file ``path``; its digest. Raises as ``fetch.save``."""
        key = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:25]
        record = self.records.get(key)
        async with opened(url, plain=True, etag=record.etag if record else "") as response:
            if record is None or response.status != 304:
                digest = await save(url, response, path)
                self._keep(key, url, path, digest, response.headers)
                return digest
        if await asyncio.to_thread(self._take, record, path):
            self.touch(record)
            return record.digest
        self.drop([key])
        return await self.fetch(url, path)

    def _take(self, record: KeptDownload, path: str) -> bool:
        """Whether the file is there and whole."""
        try:
            os.link(f"{self.root}/{record.name}", path)
        except FileNotFoundError:
            return False
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if f"sha256:{digest}" == record.digest:
            return True
        os.unlink(path)
        return False

    def _keep(self, key: str, url: str, path: str, digest: str, headers: Mapping[str, str]) -> None:
        """As another link to the build's file. On a full disk nothing is kept: no error."""
        etag, size = headers.get("ETag", ""), os.stat(path).st_size
        kept = 0 < len(etag) <= _LONGEST and size <= self.most
        self.drop([key])
        if not kept or "no-store" in headers.get("Cache-Control", "").lower():
            return
        name, now = secrets.token_hex(16), time.time_ns()
        try:
            os.link(path, f"{self.root}/{name}")
        except OSError as error:
            _log.warning("what %s has is not kept: %s", _shown(url), error)
            return
        self.put(
            KeptDownload(
                key=key,
                etag=etag,
                digest=digest,
                name=name,
                shown=_shown(url),
                size=size,
                created_at=now,
                used_at=now,
            )
        )
        self.trim()


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
