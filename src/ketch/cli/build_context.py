"""What ``ketch build`` sends: the words PATH, URL and - with ``--file``."""

import os
import sys

from ketch.cli.flags import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.cli.flags import Parsed

OUTSIDE_NAME = ".ketch-dockerfile"


def is_remote(path: str) -> bool:
    """A context that the engine fetches: an archive, a Dockerfile or a repository by URL."""
    return "://" in path or path.startswith(("git@", "github.com/"))


def context_of(parsed: "Parsed", *, whole: bool = True) -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    path, file = parsed.words[0], parsed["file"]
    if path == "-":
        return _from_stdin(file)
    if not os.path.isdir(path):
        raise Failure(f'unable to prepare context: path "{path}" not found')
    from ketch.cli import context

    stream = context.stream if whole else context.of_dockerfile
    if file == "-":
        return stream(path, OUTSIDE_NAME, sys.stdin.buffer.read()), OUTSIDE_NAME
    name = file or os.path.join(path, "Dockerfile")
    if not os.path.exists(name):
        raise Failure(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(name)}: no such file or directory"
        )
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if relative.startswith(".."):
        with open(name, "rb") as opened:
            return stream(path, OUTSIDE_NAME, opened.read()), OUTSIDE_NAME
    return stream(path, relative), relative


def question_of(parsed: "Parsed") -> "tuple[str, Iterable[bytes], str]":
    """(URL or "", tar stream with nothing but the Dockerfile and its ignore file, its name)."""
    path, file = parsed.words[0], parsed["file"]
    if is_remote(path):
        return path, iter(()), file
    if path == "-":
        return ("", *_from_stdin(file))
    return ("", *context_of(parsed, whole=False))


def _from_stdin(file: str) -> "tuple[Iterable[bytes], str]":
    """A tar archive on stdin, or a lone Dockerfile."""
    from ketch.cli import context

    first = sys.stdin.buffer.read(512)
    if context.looks_like_archive(first):
        return context.chain(first, sys.stdin.buffer), file or "Dockerfile"
    if file:
        raise Failure("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    return context.lone(first + sys.stdin.buffer.read()), "Dockerfile"
