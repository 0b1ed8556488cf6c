"""Tar archives in and out: save, load, import, export."""

import os
import sys

from ketch.cli import progress
from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.images import split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ketch.client.api import Client

OUTPUT = Flag("output", "o", "text", "Write to a file, instead of STDOUT", "")
LOAD_FLAGS = (
    Flag("input", "i", "text", "Read from tar archive file, instead of STDIN", ""),
    Flag("quiet", "q", "switch", "Suppress the load output"),
)
IMPORT_FLAGS = (
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "text", "Set commit message for imported image", ""),
    Flag("platform", help="Set platform if server is multi-platform capable", default=""),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "save": ("[OPTIONS] IMAGE [IMAGE...]", (OUTPUT,)),
    "export": ("[OPTIONS] CONTAINER", (OUTPUT,)),
    "load": ("[OPTIONS]", LOAD_FLAGS),
    "import_": ("[OPTIONS] file|- [REPOSITORY[:TAG]]", IMPORT_FLAGS),
}
CHUNK = 1 << 20


def save(client: "Client", argv: "list[str]") -> int:
    """Images to a tar archive."""
    parsed = parse((OUTPUT,), argv)
    if not parsed.words:
        raise UsageError("'ketch save' requires at least 1 argument")
    _check_output(parsed["output"])
    write_out(
        client.stream("GET", "/images/get", {"names": parsed.words}).pieces(), parsed["output"]
    )
    return 0


def export(client: "Client", argv: "list[str]") -> int:
    """A container's files to a tar archive."""
    parsed = parse((OUTPUT,), argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch export' requires 1 argument")
    _check_output(parsed["output"])
    pieces = client.stream("GET", f"/containers/{parsed.words[0]}/export").pieces()
    write_out(pieces, parsed["output"])
    return 0


def load(client: "Client", argv: "list[str]") -> int:
    """Images from a tar archive."""
    parsed = parse(LOAD_FLAGS, argv)
    if parsed.words:
        raise UsageError("'ketch load' accepts no arguments")
    if not parsed["input"] and os.isatty(0):
        raise UsageError("requested load from stdin, but stdin is empty")
    messages = client.json_lines(
        "POST",
        "/images/load",
        {"quiet": parsed["quiet"]},
        body=read_in(parsed["input"] or "-"),
        headers={"Content-Type": "application/x-tar"},
    )
    progress.show(messages, sys.stdout)
    return 0


def import_(client: "Client", argv: "list[str]") -> int:
    """An image of one layer from the tar archive of a root file system."""
    parsed = parse(IMPORT_FLAGS, argv)
    if not parsed.words or len(parsed.words) > 2:
        raise UsageError("'ketch import' requires 1 or 2 arguments")
    name = parsed.words[1] if len(parsed.words) == 2 else ""
    import_stream(
        client, read_in(parsed.words[0]), name, changes=parsed["change"], message=parsed["message"]
    )
    return 0


def import_stream(
    client: "Client",
    pieces: "Iterable[bytes]",
    name: str,
    *,
    changes: "list[str]",
    message: str = "",
) -> None:
    """POST a tar stream to /images/create; prints the new image's ID."""
    repository, tag = split_tag(name)
    query = {
        "fromSrc": "-",
        "repo": repository or None,
        "tag": tag or None,
        "changes": changes,
        "message": message or None,
    }
    messages = client.json_lines(
        "POST", "/images/create", query, body=pieces, headers={"Content-Type": "application/x-tar"}
    )
    progress.show(messages, sys.stdout)


def read_in(path: str) -> "Iterator[bytes]":
    """The bytes of a file, or of stdin for ``-``; opened before the first piece is asked for."""
    fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _pieces(fd)


def _pieces(fd: int) -> "Iterator[bytes]":
    while piece := os.read(fd, CHUNK):
        yield piece
    if fd:
        os.close(fd)


def _check_output(path: str) -> None:
    if not path and os.isatty(1):
        raise UsageError("cowardly refusing to save to a terminal. Use the -o flag or redirect")


def write_out(pieces: "Iterable[bytes]", path: str) -> None:
    """Write to stdout, or to a file that appears only when it is whole."""
    if not path:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
