"""Tar archives in and out: save, load, import, export."""

import os
import sys

from ketch.cli import progress, routes, transfer
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.cli.image_names import platform_json, split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

OUTPUT = Flag("output", "o", "text", "Write to a file, instead of STDOUT", "", values="files")
PLATFORM = "only the given platform variant (os[/arch[/variant]])"
SAVE_FLAGS = (
    OUTPUT,
    Flag("platform", "", "text", f"Save {PLATFORM}", "", values="platforms"),
)
LOAD_FLAGS = (
    Flag("input", "i", "text", "Read from tar archive file, instead of STDIN", "", values="files"),
    Flag("platform", "", "text", f"Load {PLATFORM}", "", values="platforms"),
    Flag("quiet", "q", "switch", "Suppress the load output"),
)
IMPORT_FLAGS = (
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "text", "Set commit message for imported image", ""),
    Flag("platform", help="Set platform if server is multi-platform capable", default=""),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "save": ("[OPTIONS] IMAGE [IMAGE...]", SAVE_FLAGS),
    "export": ("[OPTIONS] CONTAINER", (OUTPUT,)),
    "load": ("[OPTIONS]", LOAD_FLAGS),
    "import_": ("[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", IMPORT_FLAGS),
}
CHUNK = 1 << 20


def save(client: "Client", argv: "list[str]") -> int:
    """Images to a tar archive."""
    parsed = parse(SAVE_FLAGS, argv)
    count(parsed, "save", 1, None)
    _check_output(parsed["output"], "save")
    query = {"names": parsed.words, "platform": platform_json(parsed["platform"])}
    response = client.stream("GET", "/images/get", query)
    write_out(response.pieces(), parsed["output"], "Saving")
    return 0


def export(client: "Client", argv: "list[str]") -> int:
    """A container's files to a tar archive."""
    parsed = parse((OUTPUT,), argv)
    count(parsed, "export", 1)
    _check_output(parsed["output"], "export")
    pieces = client.stream("GET", routes.container(parsed.words[0], "/export")).pieces()
    write_out(pieces, parsed["output"], "Exporting")
    return 0


def load(client: "Client", argv: "list[str]") -> int:
    """Images from a tar archive."""
    parsed = parse(LOAD_FLAGS, argv)
    count(parsed, "load", 0)
    if not parsed["input"] and os.isatty(0):
        raise Failure("requested load from stdin, but stdin is empty")
    messages = client.json_lines(
        "POST",
        "/images/load",
        {"quiet": parsed["quiet"], "platform": platform_json(parsed["platform"])},
        body=transfer.counted(read_in(parsed["input"] or "-"), "Loading", parsed["input"]),
        headers={"Content-Type": "application/x-tar"},
    )
    progress.show(messages, sys.stdout)
    return 0


def import_(client: "Client", argv: "list[str]") -> int:
    """An image of one layer from the tar archive of a root file system."""
    parsed = parse(IMPORT_FLAGS, argv)
    count(parsed, "import", 1, 2)
    source, *rest = parsed.words
    name = rest[0] if rest else ""
    if source.startswith(("http://", "https://")):
        return _import_url(client, parsed, source, name)
    import_stream(
        client,
        read_in(source),
        name,
        changes=parsed["change"],
        message=parsed["message"],
        platform=parsed["platform"],
    )
    return 0


def _import_url(client: "Client", parsed: "Parsed", url: str, name: str) -> int:
    """The engine fetches the archive."""
    query = {**_names(name), "fromSrc": url, "changes": parsed["change"]}
    query["message"] = parsed["message"] or None
    query["platform"] = parsed["platform"] or None
    progress.show(client.json_lines("POST", "/images/create", query), sys.stdout)
    return 0


def _names(name: str) -> "dict[str, Any]":
    repository, tag = split_tag(name)
    return {"repo": repository or None, "tag": tag or None}


def import_stream(
    client: "Client",
    pieces: "Iterable[bytes]",
    name: str,
    *,
    changes: "list[str]",
    message: str = "",
    platform: str = "",
) -> None:
    """POST a tar stream to /images/create; prints the new image's ID."""
    query = {
        **_names(name),
        "fromSrc": "-",
        "changes": changes,
        "message": message or None,
        "platform": platform or None,
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


def _check_output(path: str, verb: str) -> None:
    if not path and os.isatty(1):
        raise Failure(f"cowardly refusing to {verb} to a terminal. Use the -o flag or redirect")
    folder = os.path.dirname(path) or "."
    if path and not os.path.isdir(folder):
        raise Failure(f'failed to {verb}: invalid output path: directory "{folder}" does not exist')
    if os.path.isdir(path):
        raise Failure(f'failed to {verb}: invalid output path: "{path}" is a directory')


def write_out(pieces: "Iterable[bytes]", path: str, what: str = "") -> None:
    """Write to stdout, or to a file that appears only when it is whole."""
    if not path:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device
        with open(path, "wb") as file:
            file.writelines(pieces)
        return
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            for piece in transfer.counted(pieces, what):
                file.write(piece)
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
