"""The command line's byte code in one file, since a start imports some two dozen modules.

Finding one in a directory and reading its ``.pyc`` costs a dozen system calls and ten times the
time of executing it. ``packaging/make_programs.py`` writes the archive; ``ketch`` executes what it
begins with, this module, before any other import. A module whose source was changed since is not
served: the interpreter's own finders then take it from its file.

The form, lengths in eight bytes, little-endian: the length and code of this module; the length of
the index and the index, a dict by module names; the code that it points into. All is ``marshal``'s,
so an archive is good for one version of the interpreter.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, ModuleType
    from typing import Any

    # path of the source, its mtime in ns, its size; whether it is a package; place, length of code
    Row = tuple[str, int, int, bool, int, int]

SEEK_CUR = 1  # os has it, posix has not


class CodeArchive:
    """Finder and loader of the modules of an archive (``importlib.abc``)."""

    def __init__(self, fd: int) -> None:
        """``fd`` stands at the length of the index; the archive keeps it."""
        self._fd = fd
        self._rows: dict[str, Row] = marshal.loads(read_part(fd))
        self._base = posix.lseek(fd, 0, SEEK_CUR)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        """A module whose source is as it was."""
        row = self._rows.get(name)
        if row is None or not _is_unchanged(row):
            return None
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=row[0], is_package=row[3])
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(row[0].rpartition("/")[0])
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual kind of module."""

    def exec_module(self, module: "ModuleType") -> None:
        """Execute its code."""
        path, _, _, _, place, length = self._rows[module.__name__]
        module.__file__ = path
        code = marshal.loads(posix.pread(self._fd, length, self._base + place))
        exec(code, module.__dict__)


def _is_unchanged(row: "Row") -> bool:
    try:
        info = posix.stat(row[0])
    except OSError:
        return False
    return info.st_mtime_ns == row[1] and info.st_size == row[2]


def read_part(fd: int) -> bytes:
    """The next part that has its length before it."""
    return posix.read(fd, int.from_bytes(posix.read(fd, 8), "little"))


def install(fd: int) -> None:
    """Import from the archive from now on; ``fd`` stands behind this module's code."""
    sys.meta_path.insert(0, CodeArchive(fd))


def pack(sources: "Mapping[str, str]") -> bytes:
    """An archive of modules: their names → paths of their sources. For the running interpreter
    with its optimisation (``-OO``) and options."""
    own, rows, codes, place = b"", {}, [], 0
    for name, path in sources.items():
        info = posix.stat(path)
        code = marshal.dumps(_compiled(path))
        own = code if name == __name__ else own
        is_package = path.endswith("/__init__.py")
        rows[name] = (path, info.st_mtime_ns, info.st_size, is_package, place, len(code))
        codes.append(code)
        place += len(code)
    index = marshal.dumps(rows)
    return b"".join([_length(own), own, _length(index), index, *codes])


def _length(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little")


def _compiled(path: str) -> "CodeType":
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)
