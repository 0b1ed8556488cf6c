"""Whether a build that was made twice came to the same; if not, where it went another way."""

from __future__ import annotations

import asyncio
import hashlib
import tarfile
from typing import TYPE_CHECKING

from ketch.build.failures import StepFailed
from ketch.oci import digest as digests
from ketch.oci.image import encode

if TYPE_CHECKING:
    from ketch.build.steps.state import StageState
    from ketch.engine.builder.room import BuildRoom
    from ketch.snapshots.protocol import Snapshotter

_MOST = 10  # files that a message names
Facts = dict[str, tuple[object, ...]]


async def check_same(room: BuildRoom, first: StageState, second: StageState) -> None:
    """Raises ``StepFailed`` that names the first step with another layer, and its files."""
    one, two = encode(first.image), encode(second.image)
    if one == two:
        return
    for number, (a, b) in enumerate(zip(first.layers, second.layers, strict=False)):
        if a != b:
            changed = await asyncio.to_thread(_differences, room.parts.snapshots, a, b)
            raise StepFailed(
                f"the build is not reproducible: {_step(first, number)} made {a[:19]} and then"
                f" {b[:19]}: {'; '.join(changed)}"
            )
    raise StepFailed(
        "the build is not reproducible: the layers are the same, the configurations are not "
        f"({digests.of(one)}, {digests.of(two)})"
    )


def _step(state: StageState, layer: int) -> str:
    """The step that made a layer, by the image's history."""
    made = [line for line in state.image.history or () if not line.empty_layer]
    known = made[layer].created_by if layer < len(made) else ""
    return f"the step {known!r}" if known else f"layer {layer + 1}"


def _differences(snapshots: Snapshotter, first: str, second: str) -> list[str]:
    if not first or not second:
        return ["one of them changed nothing"]
    one, two = _facts(snapshots, first), _facts(snapshots, second)
    found = []
    for path in sorted(one.keys() | two.keys()):
        if path not in one or path not in two:
            found.append(f"{path} is in one of them only")
        elif one[path] != two[path]:
            pairs = zip(_NAMES, one[path], two[path], strict=True)
            found.append(f"{path} has another {', '.join(n for n, a, b in pairs if a != b)}")
    if len(found) > _MOST:
        found = [*found[:_MOST], f"and {len(found) - _MOST} more"]
    return found or ["the order of files"]


_NAMES = ("content", "mode", "owner", "time", "kind or target", "extended attribute")


def _facts(snapshots: Snapshotter, layer: str) -> Facts:
    found: Facts = {}
    with snapshots.open_tar(layer) as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
        for member in archive:
            sha = hashlib.sha256()
            content = archive.extractfile(member) if member.isreg() else None
            while content is not None and (data := content.read(1 << 20)):
                sha.update(data)
            owner = (member.uid, member.gid)
            kind = (member.type, member.linkname, member.devmajor, member.devminor)
            attributes = {
                name: text
                for name, text in member.pax_headers.items()
                if name.startswith("SCHILY.xattr.")
            }
            found[member.name] = (sha.digest(), member.mode, owner, member.mtime, kind, attributes)
    return found
