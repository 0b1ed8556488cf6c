"""``ketch build``: send a context, show the steps."""

import os
import sys

from ketch.cli import transfer
from ketch.cli.build_flags import FLAGS, query
from ketch.cli.exits import prefix
from ketch.cli.flags import Failure, count, parse
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

HELP = {"build": ("[OPTIONS] PATH | URL | -", FLAGS)}
OUTSIDE_NAME = ".ketch-dockerfile"


def build(client: "Client", argv: "list[str]") -> int:
    """Build an image; the exit code of a step that fails, as docker's classic builder has it."""
    parsed = parse(FLAGS, argv)
    count(parsed, "build", 1)
    if _is_remote(parsed.words[0]):
        asked = {**query(parsed, parsed["file"]), "remote": parsed.words[0]}
        pieces: Iterable[bytes] = iter(())
    else:
        pieces, dockerfile = _context(parsed)
        asked = query(parsed, dockerfile)
    if not parsed["quiet"]:
        pieces = transfer.counted(pieces, "Sending build context")
    from ketch.cli import credentials, proxies

    proxies.add_to_build(asked, client)
    registries = credentials.all_headers() or "e30="
    messages = client.json_lines(
        "POST",
        "/build",
        asked,
        body=pieces,
        headers={"Content-Type": "application/x-tar", "X-Registry-Config": registries},
    )
    try:
        image = _show(messages, quiet=parsed["quiet"])
    except _StepFailed as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    if parsed["iidfile"]:
        with open(parsed["iidfile"], "w") as file:
            file.write(image)
    return 0


def _is_remote(path: str) -> bool:
    """A context that the engine fetches: an archive, a Dockerfile or a repository by URL."""
    return "://" in path or path.startswith(("git@", "github.com/"))


def _context(parsed: "Parsed") -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    path, file = parsed.words[0], parsed["file"]
    if path == "-":
        return _from_stdin(file)
    if not os.path.isdir(path):
        raise Failure(f'unable to prepare context: path "{path}" not found')
    from ketch.cli import context

    if file == "-":
        return context.stream(path, OUTSIDE_NAME, sys.stdin.buffer.read()), OUTSIDE_NAME
    name = file or os.path.join(path, "Dockerfile")
    if not os.path.exists(name):
        raise Failure(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(name)}: no such file or directory"
        )
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if relative.startswith(".."):
        with open(name, "rb") as opened:
            return context.stream(path, OUTSIDE_NAME, opened.read()), OUTSIDE_NAME
    return context.stream(path, relative), relative


def _from_stdin(file: str) -> "tuple[Iterable[bytes], str]":
    """A tar archive on stdin, or a lone Dockerfile."""
    from ketch.cli import context

    first = sys.stdin.buffer.read(512)
    if context.looks_like_archive(first):
        return context.chain(first, sys.stdin.buffer), file or "Dockerfile"
    if file:
        raise Failure("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    return context.lone(first + sys.stdin.buffer.read()), "Dockerfile"


class _StepFailed(Exception):
    """The build's own error, already in the words to show; ``code`` is our exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def _show(messages: "Iterable[dict[str, Any]]", *, quiet: bool) -> str:
    """Print the stream; returns the image's ID."""
    image = ""
    try:
        for message in messages:
            if message.get("error"):
                code = (message.get("errorDetail") or {}).get("code") or 1
                raise _StepFailed(message["error"], code)
            if "stream" in message:
                sys.stdout.write(message["stream"])
                if quiet and message["stream"].startswith("sha256:"):
                    image = message["stream"].strip()
            elif message.get("status"):
                sys.stderr.write(f"{message['status']}\n")
            elif (message.get("aux") or {}).get("ID"):
                image = message["aux"]["ID"]
            sys.stdout.flush()
    except KetchError as error:
        raise _StepFailed(f"{prefix(error)}{error}") from None
    return image
