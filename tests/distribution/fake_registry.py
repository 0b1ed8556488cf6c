"""A registry that lies as it is told to, and remembers what it was asked."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from ketch.oci import media_types


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeRegistry:
    """Serves one image; tests change its attributes or replace handlers."""

    def __init__(self, *layers: bytes) -> None:
        self.blobs: dict[str, bytes] = {}
        self.seen: list[web.Request] = []
        self.manifest_headers: dict[str, str] = {}
        self.host = ""
        packed = [gzip.compress(layer, mtime=0) for layer in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
        self.config = self.add(json.dumps(config).encode())
        self.layers = [self.add(data) for data in packed]
        self.document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": self.descriptor(self.config, media_types.OCI_CONFIG),
            "layers": [self.descriptor(d, media_types.OCI_LAYER_GZIP) for d in self.layers],
        }
        self.manifest: bytes | None = None

    def add(self, data: bytes) -> str:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def descriptor(self, digest: str, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": len(self.blobs[digest])}

    def manifest_bytes(self) -> bytes:
        return json.dumps(self.document).encode() if self.manifest is None else self.manifest

    async def on_manifest(self, request: web.Request) -> web.StreamResponse:
        data = self.manifest_bytes()
        headers = {
            "Content-Type": media_types.OCI_MANIFEST,
            "Docker-Content-Digest": digest_of(data),
            **self.manifest_headers,
        }
        return web.Response(body=data, headers=headers)

    async def on_blob(self, request: web.Request) -> web.StreamResponse:
        data = self.blobs.get(request.match_info["digest"])
        if data is None:
            raise web.HTTPNotFound
        start = 0
        if wanted := request.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if not start:
            return web.Response(body=data)
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return web.Response(status=206, body=data[start:], headers=headers)

    async def _manifest(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.on_manifest(request)

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.on_blob(request)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The host under which it answers."""
        app = web.Application()
        app.router.add_get("/v2/{name:.+}/manifests/{target}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        self.host = f"127.0.0.1:{server.port}"
        try:
            yield self.host
        finally:
            await server.close()

    def asked(self, part: str) -> list[web.Request]:
        return [request for request in self.seen if part in request.path]
