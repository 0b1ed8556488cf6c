"""The content service of a client's session, with containerd's manners, over OCI layouts."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ketch.buildkit.messages import session as messages
from ketch.buildkit.session import content

REF = "org.opencontainers.image.ref.name"
_PIECE = 1 << 20


def methods(stores: dict[str, Path]) -> dict[str, Handler]:
    """Handlers that serve the layouts by their IDs."""
    served = _Stores(stores)
    m = messages
    return {
        content.INFO: Handler(served.info, Cardinality.UNARY_UNARY, m.InfoRequest, m.InfoResponse),
        content.READ: Handler(
            served.read, Cardinality.UNARY_STREAM, m.ReadContentRequest, m.ReadContentResponse
        ),
        content.WRITE: Handler(
            served.write, Cardinality.STREAM_STREAM, m.WriteContentRequest, m.WriteContentResponse
        ),
    }


class _Stores:
    def __init__(self, stores: dict[str, Path]) -> None:
        self._stores = stores

    def _blob(self, stream: Any, digest: str) -> Path:
        store = stream.metadata["buildkit-attachable-store-id"]
        if store not in self._stores:
            raise GRPCError(Status.NOT_FOUND, f"unknown store {store}")
        return self._stores[store] / "blobs" / digest.replace(":", "/")

    async def info(self, stream: Any) -> None:
        request = await stream.recv_message()
        path = self._blob(stream, request.digest)
        if not path.exists():
            raise GRPCError(Status.NOT_FOUND, f"content {request.digest}: not found")
        found = messages.ContentInfo(digest=request.digest, size=path.stat().st_size)
        await stream.send_message(messages.InfoResponse(info=found))

    async def read(self, stream: Any) -> None:
        request = await stream.recv_message()
        data = self._blob(stream, request.digest).read_bytes()[request.offset :]
        data = data[: request.size] if request.size else data
        for start in range(0, len(data), _PIECE):
            await stream.send_message(
                messages.ReadContentResponse(
                    offset=request.offset + start, data=data[start : start + _PIECE]
                )
            )

    async def write(self, stream: Any) -> None:
        data = b""
        async for request in stream:
            assert request.ref
            path = self._blob(stream, request.expected)
            if path.exists():
                raise GRPCError(Status.ALREADY_EXISTS, f"blob {request.expected} exists")
            if request.offset and request.offset != len(data):
                raise GRPCError(Status.OUT_OF_RANGE, "must occur at current offset")
            data = data[: request.offset] + request.data
            answer = messages.WriteContentResponse(
                action=request.action, offset=len(data), total=request.total
            )
            if request.action == messages.ACTION_COMMIT:
                found = f"sha256:{hashlib.sha256(data).hexdigest()}"
                if found != request.expected or len(data) != request.total:
                    raise GRPCError(Status.FAILED_PRECONDITION, f"unexpected commit digest {found}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                answer.digest = found
            await stream.send_message(answer)
            if request.action == messages.ACTION_COMMIT:
                return


def put(folder: Path, descriptor: dict[str, Any], tag: str) -> None:
    """What a client does with the answer of an exporter: name the root."""
    path = folder / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {"schemaVersion": 2, "manifests": []}
    entry = {**descriptor, "annotations": {REF: tag}}
    others = [one for one in index["manifests"] if one["annotations"][REF] != tag]
    path.write_text(json.dumps({**index, "manifests": [*others, entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def root(folder: Path, tag: str = "latest") -> str:
    """The digest under a tag."""
    manifests = json.loads((folder / "index.json").read_text())["manifests"]
    return next(str(one["digest"]) for one in manifests if one["annotations"][REF] == tag)


def described(response: dict[str, str]) -> dict[str, Any]:
    """The descriptor in an image exporter's answer."""
    found: dict[str, Any] = json.loads(base64.b64decode(response["containerimage.descriptor"]))
    return found
