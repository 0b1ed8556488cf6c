"""What ``ketch build`` sends: the words PATH, URL and - with ``--file``."""

import os
import sys

from ketch.cli.build_flags import directories, is_remote
from ketch.cli.flags import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.cli.flags import Parsed

_LARGEST = 5 << 20
OUTSIDE_NAME = ".ketch-dockerfile"


def context_of(parsed: "Parsed", *, whole: bool = True) -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    path, file = parsed.words[0], parsed["file"]
    named = directories(parsed["build-context"])
    if path == "-":
        if named:
            raise Failure("a context on stdin can't be sent with directories (--build-context)")
        return _from_stdin(file)
    if not os.path.isdir(path):
        raise Failure(f'unable to prepare context: path "{path}" not found')
    from ketch.cli import context

    stream = context.stream if whole else context.of_dockerfile
    if file == "-":
        return stream(path, OUTSIDE_NAME, sys.stdin.buffer.read(), named), OUTSIDE_NAME
    if file.startswith(("http://", "https://")):
        return stream(path, OUTSIDE_NAME, fetched(file), named), OUTSIDE_NAME
    name = file or os.path.join(path, "Dockerfile")
    if not os.path.exists(name):
        raise Failure(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(name)}: no such file or directory"
        )
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if relative.startswith(".."):
        with open(name, "rb") as opened:
            return stream(path, OUTSIDE_NAME, opened.read(), named), OUTSIDE_NAME
    return stream(path, relative, None, named), relative


def remote_of(parsed: "Parsed") -> "tuple[Iterable[bytes], str]":
    """For a context by URL: (a Dockerfile from here as a tar stream or nothing, its name)."""
    from ketch.cli import context

    if directories(parsed["build-context"]):
        raise Failure("a context by URL can't be sent with directories (--build-context)")
    file = parsed["file"]
    if file == "-":
        return context.lone(sys.stdin.buffer.read()), ""
    if file.startswith(("http://", "https://")):
        return context.lone(fetched(file)), ""
    return iter(()), file


def fetched(url: str) -> bytes:
    """A Dockerfile by URL."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=60) as response:
            return bytes(response.read(_LARGEST))
    except (URLError, OSError, ValueError) as error:
        raise Failure(f"failed to fetch the Dockerfile {url}: {error}") from None


def question_of(parsed: "Parsed") -> "tuple[str, Iterable[bytes], str]":
    """(URL or "", tar stream with nothing but the Dockerfile and its ignore file, its name)."""
    path, file = parsed.words[0], parsed["file"]
    if is_remote(path):
        return path, *remote_of(parsed)
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
