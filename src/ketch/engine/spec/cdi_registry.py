"""The CDI files of this machine: which devices there are, and what they need.

Read anew at each request: a request for devices is rare, and files come with drivers and go. A
file in a later directory wins over one in an earlier one; two of the same directory that name one
device make that device unusable (SPEC.md, "Precedence").
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ketch.engine.spec import cdi
from ketch.errors import InvalidParameter

_LONGEST = 4 << 20  # bytes of a file


class Registry:
    """What one look at ``folders`` found."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._devices: dict[str, tuple[cdi.Spec, cdi.Device]] = {}
        self._faults: list[str] = []
        self._conflicts: dict[str, str] = {}
        for folder in folders:
            self._read_folder(folder)

    def _read_folder(self, folder: str) -> None:
        here: dict[str, str] = {}
        for path in _files(folder):
            try:
                spec = cdi.parse(_read(path), path)
            except (InvalidParameter, OSError) as error:
                self._faults.append(str(error))
                continue
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                self._conflicts.pop(name, None)
                if name in here:
                    self._conflicts[name] = f"both {here[name]} and {path} have {name}"
                here[name] = path
                self._devices[name] = (spec, device)

    def names(self, kind: str) -> list[str]:
        """The devices of a kind, in order."""
        return [name for name in self._devices if name.partition("=")[0] == kind]

    def edits(self, names: Sequence[str]) -> cdi.Edits:
        """What the devices need together; raises ``InvalidParameter`` in Docker's words."""
        missing = [name for name in names if name not in self._devices or name in self._conflicts]
        if missing:
            reasons = [self._conflicts[name] for name in missing if name in self._conflicts]
            reasons = reasons or self._faults
            hint = f" ({'; '.join(reasons)})" if reasons else ""
            raise InvalidParameter(
                f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}{hint}"
            )
        found = [self._devices[name] for name in names]
        return cdi.joined(
            edits
            for spec, device in found
            for edits in (device.container_edits, spec.container_edits)
        )


def _files(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []  # a directory that is not there holds nothing
    return [f"{folder}/{name}" for name in names if name.endswith((".json", ".yaml", ".yml"))]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise InvalidParameter(f"{path}: larger than {_LONGEST} bytes")
    return data
