"""Options of the local driver: ``type``, ``device``, ``o`` (for mount(8)'s ``-o``) and ``size``.

Docker's driver hands the first three to mount(2). A bound directory (``--opt type=none --opt o=bind
--opt device=/path``) is not mounted at all: containers bind it themselves. Other file systems
(tmpfs, nfs, ext4…) are mounted at the volume's directory while a container uses it. ``size`` bounds
a plain volume by a project quota.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import msgspec

from ketch import sizes
from ketch.errors import InvalidParameter

_KNOWN = ("device", "o", "size", "type")
_PLAIN_BIND = {"bind", "rbind", "rw"}
_NETWORK = ("nfs", "nfs4", "cifs", "smb3")
_TYPE = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_LONGEST = 4000  # mount(2) copies at most a page of data

_FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "mand": 64, "dirsync": 128,
    "noatime": 1024, "nodiratime": 2048, "bind": 4096, "rbind": 4096 | 16384,
    "relatime": 1 << 21, "strictatime": 1 << 24,
}  # fmt: skip
"""Words that are flags of mount(2) (sys/mount.h) and no file system's own."""
_CLEARING = {
    "rw": 1, "suid": 2, "dev": 4, "exec": 8, "async": 16, "nomand": 64, "atime": 1024,
    "diratime": 2048, "norelatime": 1 << 21, "nostrictatime": 1 << 24, "defaults": 0,
}  # fmt: skip
MS_BIND = 4096


class FileSystem(msgspec.Struct, frozen=True, kw_only=True):
    """What mount(2) is to be called with; ``address`` is the host of ``addr=``, to be resolved."""

    type: str
    device: str
    flags: int = 0
    data: str = ""
    address: str = ""


class LocalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One of three: a ``bound`` directory, a ``mounted`` file system, or neither, with ``size`` in
    bytes (0 = no bound)."""

    bound: str = ""
    mounted: FileSystem | None = None
    size: int = 0


def parse(options: Mapping[str, str]) -> LocalOptions:
    """Raises ``InvalidParameter`` for what makes no sense, in Docker's words where it has some."""
    for option in sorted(options):
        if option not in _KNOWN:
            raise InvalidParameter(f'invalid option: "{option}"')
        if "\0" in options[option] or "\n" in options[option]:
            raise InvalidParameter(f"the option {option} holds a character that has no place there")
    size = _bytes(options["size"]) if options.get("size") else 0
    kind, device, words = _mount_words(options)
    if not (kind or device or words):
        return LocalOptions(size=size)
    if size:
        raise InvalidParameter("size bounds a plain volume: a mounted one has a size of its own")
    if not device:
        raise InvalidParameter('missing required option: "device"')
    if {"bind", "rbind"} & set(words):
        return _bound(kind, device, words)
    if not kind:
        raise InvalidParameter('missing required option: "type"')
    if not _TYPE.fullmatch(kind) or kind == "none":
        raise InvalidParameter(f"type={kind}: that is no file system (o=bind is missing?)")
    return LocalOptions(mounted=_file_system(kind, device, words))


def _mount_words(options: Mapping[str, str]) -> tuple[str, str, list[str]]:
    words = [word for word in options.get("o", "").split(",") if word]
    return options.get("type", ""), options.get("device", ""), words


def _bound(kind: str, device: str, words: list[str]) -> LocalOptions:
    if kind not in ("", "none", "bind"):
        raise InvalidParameter(f"type={kind} contradicts o=bind: leave it out, or say none")
    if not device.startswith("/"):
        raise InvalidParameter(f"device={device!r} is no absolute path")
    place = os.path.normpath(device).replace("//", "/")
    if set(words) <= _PLAIN_BIND:
        return LocalOptions(bound=place)
    found = _file_system("none", place, words)
    if found.data:
        raise InvalidParameter(f"o={found.data}: a bound directory knows no such option")
    return LocalOptions(mounted=found)


def _file_system(kind: str, device: str, words: list[str]) -> FileSystem:
    flags, data, address = 0, [], ""
    for word in words:
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word in _CLEARING:
            flags &= ~_CLEARING[word]
        else:
            data.append(word)
            if word.startswith("addr=") and kind in _NETWORK:
                address = word.removeprefix("addr=")
    joined = ",".join(data)
    if len(joined) > _LONGEST:
        raise InvalidParameter(f"o is longer than {_LONGEST} bytes")
    if kind in ("nfs", "nfs4") and not address and device.startswith(":"):
        raise InvalidParameter(f"type={kind} needs o=addr=HOST, the server of {device}")
    return FileSystem(type=kind, device=device, flags=flags, data=joined, address=address)


def _bytes(text: str) -> int:
    number = sizes.parse(text)
    if not number:
        raise InvalidParameter(f"invalid size: '{text[:40]}'")
    return number
