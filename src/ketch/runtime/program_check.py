"""Whether a container's program could be executed, and if not why.

Runs in a worker of the launcher that is pivoted into the container's root: all paths are the
container's, and the files are hostile, so each is only read, and never far. Device files and pipes
are not opened.
"""

import os
import stat

from ketch.linux import elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    Args = dict[str, object]

_HEAD = 256  # bytes that the kernel reads of a script's first line (binfmt_script.c)
_MOST_LIBRARIES = 300
_LARGEST_LIST = 65536
_MOST_PATTERNS, _MOST_PLACES = 20, 200  # of ld.so.conf; of it, or of an rpath
_DEFAULT_DIRECTORIES = (
    "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32", "/usr/local/lib",
    "/usr/local/lib64",
)  # fmt: skip
_TRIPLETS = {62: "x86_64-linux-gnu", 3: "i386-linux-gnu", 183: "aarch64-linux-gnu",
             40: "arm-linux-gnueabihf", 243: "riscv64-linux-gnu", 22: "s390x-linux-gnu",
             21: "powerpc64le-linux-gnu"}  # fmt: skip


class Problem(Exception):
    """Found it: ``args`` are the kind and what the finding is about."""

    def __init__(self, kind: str, **details: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.details = details


def check(args: "Args", fds: "list[int]") -> "Args":
    """``args``: ``program``, ``path`` ($PATH), ``cwd``, ``library_path``.

    With an fd, that is the file at ``program``: it comes from a mount that is not here.

    Returns ``{"kind": "" or what is wrong, "path": the file, …details}``. Kinds: ``missing``,
    ``directory``, ``not-executable``, ``empty``, ``format``, ``crlf``, ``interpreter`` (of a
    script), ``loader``, ``library``, ``architecture``, ``unreadable``.
    """
    cwd = str(args["cwd"]) or "/"
    try:
        os.chdir(cwd)
    except OSError:
        os.chdir("/")
    try:
        search, libraries = str(args["path"]), str(args["library_path"])
        if fds:
            path = str(args["program"])
            _check_open(fds[0], path, search, libraries, 0)
        else:
            path = _find(str(args["program"]), search)
            _check_file(path, search, libraries, 0)
    except Problem as problem:
        return {"kind": problem.kind, **problem.details}
    except (OSError, ValueError) as error:
        return {"kind": "unreadable", "reason": str(error)}
    return {"kind": "", "path": path}


def _find(program: str, search: str) -> str:
    if "/" in program:
        return program
    hidden = ""
    for directory in search.split(":"):
        candidate = f"{directory or '.'}/{program}"
        found = _stat(candidate)
        if found is None or not stat.S_ISREG(found.st_mode):
            continue
        if found.st_mode & 0o111:
            return candidate
        hidden = hidden or candidate
    if hidden:
        raise Problem("not-executable", path=hidden)
    raise Problem("missing", path=program, searched=search)


def _stat(path: str) -> "os.stat_result | None":
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _check_file(path: str, search: str, libraries: str, depth: int) -> None:
    """Raise ``Problem`` when execve(2) or the loader would fail."""
    found = _stat(path)
    if found is None:
        link = os.readlink(path) if os.path.islink(path) else ""
        raise Problem("missing", path=path, link=link)
    _check_mode(found.st_mode, path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_open(fd, path, search, libraries, depth)
    finally:
        os.close(fd)


def _check_mode(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise Problem("directory", path=path)
    if not stat.S_ISREG(mode) or not mode & 0o111:
        raise Problem("not-executable", path=path)


def _check_open(fd: int, path: str, search: str, libraries: str, depth: int) -> None:
    _check_mode(os.fstat(fd).st_mode, path)
    head = os.pread(fd, _HEAD, 0)
    if head[:2] == b"#!":
        _check_script(path, head, search, libraries, depth)
    elif head[:4] == b"\x7fELF":
        _check_elf(fd, path, libraries)
    elif not head:
        raise Problem("empty", path=path)
    else:
        raise Problem("format", path=path, text="1" if _is_text(head) else "")


def _is_text(head: bytes) -> bool:
    return b"\0" not in head


def _check_script(path: str, head: bytes, search: str, libraries: str, depth: int) -> None:
    line = head[2:].partition(b"\n")[0]
    words = line.strip(b" \t").split(None, 1)
    if not words:
        raise Problem("format", path=path, text="1")
    if line.endswith(b"\r"):
        raise Problem("crlf", path=path, interpreter=os.fsdecode(words[0].rstrip(b"\r")))
    interpreter = os.fsdecode(words[0])
    if _stat(interpreter) is None:
        raise Problem("interpreter", path=path, interpreter=interpreter)
    if depth >= 4:
        raise Problem("format", path=path, text="1")
    _check_file(interpreter, search, libraries, depth + 1)
    if os.path.basename(interpreter) == "env" and len(words) > 1:
        program = os.fsdecode(words[1].split()[-1])
        if not program.startswith("-") and "=" not in program:
            try:
                _find(program, search)
            except Problem:
                raise Problem("interpreter", path=path, interpreter=program) from None


def _check_elf(fd: int, path: str, libraries: str) -> None:
    program = elf.read(fd)
    if not elf.runs_here(program.machine):
        raise Problem(
            "architecture", path=path, architecture=elf.architecture(program.machine),
            host=os.uname().machine,
        )  # fmt: skip
    if not program.interpreter:
        return
    if _stat(program.interpreter) is None:
        raise Problem("loader", path=path, loader=program.interpreter)
    missing = Libraries(program, path, libraries).missing()
    if missing:
        raise Problem("library", path=path, library=missing[0], needed_by=missing[1])


class Libraries:
    """The shared libraries of a program, looked for as the dynamic loader does."""

    def __init__(self, program: elf.Elf, path: str, library_path: str) -> None:
        self._program = program
        self._path = path
        self._always = [part for part in library_path.split(":") if part]
        musl = "musl" in os.path.basename(program.interpreter)
        self._last = _musl_directories(program) if musl else _glibc_directories(program)

    def missing(self) -> "tuple[str, str] | None":
        """The first library that is nowhere, and the file that needs it."""
        seen: set[str] = set()
        waiting = [(self._path, self._program)]
        while waiting and len(seen) < _MOST_LIBRARIES:
            path, file = waiting.pop(0)
            for name in file.needed:
                if name in seen or name == os.path.basename(self._program.interpreter):
                    continue
                seen.add(name)
                found = self._search(name, path, file)
                if found is None:
                    return name, path
                waiting.append(found)
        return None

    def _search(self, name: str, path: str, file: elf.Elf) -> "tuple[str, elf.Elf] | None":
        if "/" in name:
            candidates = [name]
        else:
            own = "" if file.runpath else f"{file.rpath}:{self._program.rpath}"
            origin = os.path.dirname(os.path.realpath(path))
            places = [*own.split(":"), *self._always, *file.runpath.split(":")]
            expanded = [place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
                        for place in places[:_MOST_PLACES] if place]  # fmt: skip
            candidates = [f"{place}/{name}" for place in (*expanded, *self._last)]
        for candidate in candidates:
            library = _library(candidate, self._program)
            if library is not None:
                return candidate, library
        return None


def _library(path: str, program: elf.Elf) -> "elf.Elf | None":
    """The library at ``path``, when there is one for the program's machine."""
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        library = elf.read(fd)
    except ValueError:
        return None
    finally:
        os.close(fd)
    same = (library.machine, library.is64) == (program.machine, program.is64)
    return library if same else None


def _glibc_directories(program: elf.Elf) -> "list[str]":
    triplet = _TRIPLETS.get(program.machine, "")
    multiarch = [f"{place}/{triplet}" for place in ("/lib", "/usr/lib", "/usr/local/lib")]
    configured = _configured("/etc/ld.so.conf")
    loaders = os.path.dirname(os.path.realpath(program.interpreter))
    return [*configured, *(multiarch if triplet else ()), *_DEFAULT_DIRECTORIES, loaders]


def _musl_directories(program: elf.Elf) -> "list[str]":
    name = os.path.basename(program.interpreter)
    if name.endswith(".so.1"):
        text = _text(f"/etc/{name.removesuffix('.so.1')}.path")
        if text:
            return [part for part in text.replace("\n", ":").split(":") if part]
    return ["/lib", "/usr/local/lib", "/usr/lib"]


def _configured(path: str) -> "list[str]":
    """The directories of ld.so.conf(5), with what it includes; each file is read once."""
    found: list[str] = []
    lists, patterns = [path], 0
    for name in lists:  # grows
        for line in _text(name).splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                wanted = words[1 : 1 + _MOST_PATTERNS - patterns]
                patterns += len(wanted)
                for pattern in wanted:
                    names = _expanded(os.path.join(os.path.dirname(name), pattern))
                    lists += [one for one in names if one not in lists]
            elif len(words) == 1:
                found.append(words[0])
        if len(found) >= _MOST_PLACES:
            break
    return found[:_MOST_PLACES]


def _expanded(pattern: str) -> "list[str]":
    """A pattern with one ``*`` in its last part, the only kind in use."""
    folder, _, name = pattern.rpartition("/")
    before, star, after = name.partition("*")
    if not star:
        return [pattern]
    try:
        names = sorted(os.listdir(folder or "/"))
    except OSError:
        return []
    return [f"{folder}/{n}" for n in names if n.startswith(before) and n.endswith(after)][:100]


def _text(path: str) -> str:
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return ""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(fd, _LARGEST_LIST, 0).decode(errors="replace")
    finally:
        os.close(fd)
