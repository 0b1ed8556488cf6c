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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import msgspec

from ketch.engine.builder.cache.gc import Amounts, Rule
from ketch.engine.builder.cache.records import DOWNLOAD, CacheUsage
from ketch.engine.builder.contexts.expiry import UNUSED, overdue
from ketch.engine.builder.contexts.fetch import save
from ketch.engine.http_get import opened
from ketch.state.database import Database, Table

FOLDER = "build-downloads"
_MOST = 1 << 30  # bytes of all, or a twentieth of the disk; what was used longest ago goes first
_LONGEST = 1000  # characters of an ETag
_log = logging.getLogger("ketch.engine.builder")


class KeptDownload(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``name`` here, ``shown`` is its URL without what may be secret in it."""

    key: str
    etag: str
    digest: str
    name: str
    shown: str
    size: int
    created_at: int
    used_at: int
    uses: int = 1


class KeptDownloads:
    """All that are kept."""

    def __init__(self, database: Database, data_root: str) -> None:
        self._database = database
        self._root = f"{data_root}/{FOLDER}"
        self._table = Table(database, "build_downloads", KeptDownload)
        self._records = self._table.all()
        self._most = _MOST

    def start(self) -> None:
        """Drop what a killed daemon left half-made."""
        os.makedirs(self._root, 0o700, exist_ok=True)
        disk = os.statvfs(self._root)
        self._most = min(_MOST, disk.f_blocks * disk.f_frsize // 20)
        there = set(os.listdir(self._root))
        self.drop([key for key, one in self._records.items() if one.name not in there])
        for name in there - {one.name for one in self._records.values()}:
            os.unlink(f"{self._root}/{name}")

    async def fetch(self, url: str, path: str) -> str:
        """What a URL has as the new file ``path``; its digest. Raises as ``fetch.save``."""
        key = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:25]
        record = self._records.get(key)
        async with opened(url, plain=True, etag=record.etag if record else "") as response:
            if record is None or response.status != 304:
                digest = await save(url, response, path)
                self._keep(key, url, path, digest, response.headers)
                return digest
        if await asyncio.to_thread(self._take, record, path):
            used = msgspec.structs.replace(record, used_at=time.time_ns(), uses=record.uses + 1)
            if self._records.get(key) is record:
                self._put(used)
            return record.digest
        self.drop([key])
        return await self.fetch(url, path)

    def _take(self, record: KeptDownload, path: str) -> bool:
        """Whether the file is there and whole."""
        try:
            os.link(f"{self._root}/{record.name}", path)
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
        kept = 0 < len(etag) <= _LONGEST and size <= self._most
        self.drop([key])
        if not kept or "no-store" in headers.get("Cache-Control", "").lower():
            return
        name, now = secrets.token_hex(16), time.time_ns()
        try:
            os.link(path, f"{self._root}/{name}")
        except OSError as error:
            _log.warning("what %s has is not kept: %s", _shown(url), error)
            return
        self._put(
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

    def rule(self) -> Rule:
        """What ``trim`` keeps to."""
        bounds = Amounts(max_used=self._most)
        return Rule(filters={"type": (DOWNLOAD,)}, unused_for=UNUSED, amounts=bounds)

    def trim(self) -> None:
        """Keep them within their bounds."""
        self.drop(overdue(self._records.values(), self._most))

    def _put(self, record: KeptDownload) -> None:
        with self._database.transaction(durable=False):
            self._table.put(record.key, record)
        self._records[record.key] = record

    def usage(self) -> list[CacheUsage]:
        """Every one."""
        return [
            CacheUsage(
                one.key,
                "",
                one.size,
                False,
                one.used_at,
                one.created_at,
                one.uses,
                DOWNLOAD,
                f"download of {one.shown}",
            )
            for one in self._records.values()
        ]

    def drop(self, keys: Iterable[str]) -> None:
        """Forget some. A build that has one goes on."""
        doomed = [self._records.pop(key) for key in keys if key in self._records]
        if doomed:
            with self._database.transaction(durable=False):
                for record in doomed:
                    self._table.delete(record.key)
        for record in doomed:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._root}/{record.name}")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
