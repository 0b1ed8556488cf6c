"""Options of the local driver (``--opt type=none --opt o=bind --opt device=/path``).

Docker's driver hands them to mount(2) on the host. Ketch mounts nothing there: a bound directory is
bound into each container that uses the volume; other file systems are refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ketch.errors import InvalidParameter, Unsupported

_KNOWN = ("device", "o", "type")
_WORDS = {"bind", "rbind", "rw"}


def bound_directory(options: Mapping[str, str]) -> str:
    """The host directory that stands for the volume's own; empty without options.

    Raises ``InvalidParameter`` for what makes no sense, ``Unsupported`` for other file systems.
    """
    if not options:
        return ""
    for option in sorted(options):
        if option not in _KNOWN:
            raise InvalidParameter(f'invalid option: "{option}"')
    kind, device = options.get("type", ""), options.get("device", "")
    words = [word for word in options.get("o", "").split(",") if word]
    if not {"bind", "rbind"} & set(words):
        raise Unsupported(
            f"local volumes of type {kind!r} are not supported yet: only bound directories are"
            " (--opt type=none --opt o=bind --opt device=/path)"
        )
    for word in words:
        if word not in _WORDS:
            raise Unsupported(f"the mount option {word!r} of a local volume is not supported")
    if kind not in ("", "none", "bind"):
        raise InvalidParameter(f"type={kind} contradicts o=bind: leave it out, or say none")
    if not device:
        raise InvalidParameter('missing required option: "device"')
    if not device.startswith("/") or "\0" in device:
        raise InvalidParameter(f"device={device!r} is no absolute path")
    return os.path.normpath(device).replace("//", "/")
