"""A context as one file: the tar that ``docker context export`` writes.

Members: ``meta.json`` and ``tls/docker/{ca,cert,key}.pem``. Docker also reads zip files of the
same members, as other programs hand them out.
"""

import io
import json
import tarfile
import zipfile
import zlib

from ketch.client.contexts import TLS_FILES, Context
from ketch.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 10 << 20
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError
)  # fmt: skip
_PLACES = {f"tls/docker/{name}": key for key, name in TLS_FILES.items()}


def pack(context: Context) -> bytes:
    """The archive of a context with its TLS files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "meta.json", json.dumps(context.document(), separators=(",", ":")).encode())
        folders = ["tls", *(["tls/docker"] if context.tls else [])]
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for key, path in context.tls.items():
            with open(path, "rb") as file:
                _add(tar, f"tls/docker/{TLS_FILES[key]}", file.read(), 0o600)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def unpack(data: bytes, name: str) -> "tuple[Context, dict[str, bytes]]":
    """The context under a new name, and its TLS files; raises ``InvalidParameter``."""
    if len(data) > LARGEST:
        raise InvalidParameter(f"the context archive is larger than {LARGEST} bytes")
    meta = b""
    tls = {}
    try:
        for path, content in _members(data):
            if path == "meta.json":
                meta = content
            elif path in _PLACES:
                tls[_PLACES[path]] = content
            else:
                raise InvalidParameter(f"the context archive holds an unexpected file: {path!r}")
        document = json.loads(meta or b"null")
    except _BROKEN as error:
        raise InvalidParameter(f"this is no context archive: {error}") from None
    if not isinstance(document, dict):
        raise InvalidParameter("this is no context archive: it has no meta.json")
    return Context({**document, "Name": name}, dict.fromkeys(tls, "")), tls


def _members(data: bytes) -> "Iterator[tuple[str, bytes]]":
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.file_size > LARGEST:
                    raise InvalidParameter(f"{info.filename!r} of the context archive is too large")
                if not info.is_dir():
                    yield info.filename, archive.read(info)
        return
    data += bytes(2 * tarfile.BLOCKSIZE)  # docker's may end in the middle of a block
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.size > LARGEST:
                raise InvalidParameter(f"{member.name!r} of the context archive is too large")
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()
