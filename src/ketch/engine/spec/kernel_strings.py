"""Words of a request that the kernel takes as strings: they end at the first NUL (pure).

A word that holds one would be another word to the kernel than to whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter

_LONGEST_PATH = 4095  # PATH_MAX without the NUL, limits.h(0p)
_LONGEST_NAME = 255  # NAME_MAX


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` naming the word that the kernel cannot take."""
    check_words("command", (*(spec.entrypoint or ()), *(spec.cmd or ())))
    check_words("environment variable", spec.env)
    _check_paths("working directory", (spec.working_dir,))
    _check_paths("masked path", spec.masked_paths or ())
    _check_paths("read-only path", spec.readonly_paths or ())
    _check_paths("mount path", (mount.target for mount in spec.mounts))
    _check_paths("mount path", spec.anonymous_volumes)
    _check_paths("cgroup parent", (spec.cgroup_parent,))


def check_words(kind: str, words: Iterable[str]) -> None:
    """Raise ``InvalidParameter`` for a word with a NUL in it; ``kind`` is what they are."""
    for word in words:
        if "\0" in word:
            raise InvalidParameter(f"invalid {kind} {word!r}: it has a NUL character")


def _check_paths(kind: str, paths: Iterable[str]) -> None:
    paths = tuple(paths)
    check_words(kind, paths)
    for path in paths:
        if _size(path) > _LONGEST_PATH:
            raise InvalidParameter(
                f"invalid {kind} '{path[:40]}…': it is longer than {_LONGEST_PATH} bytes"
            )
        for name in path.split("/"):
            if _size(name) > _LONGEST_NAME:
                raise InvalidParameter(
                    f"invalid {kind}: '{name[:40]}…' is longer than {_LONGEST_NAME} bytes"
                )


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
