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
_AT_ONCE = 4 << 20  # bytes of a context that is sent with the request, whatever steps want of it:
# to ask for some of it takes as long as to send so much to an engine of this machine
OUTSIDE_NAME = ".ketch-dockerfile"


class Directories:
    """What the engine may ask for: the context at ``path`` and further ones by name."""

    __slots__ = ("dockerfile", "named", "path")

    def __init__(self, path: str, dockerfile: str, named: "dict[str, str]") -> None:
        self.path = path
        self.dockerfile = dockerfile
        self.named = named


def sent(parsed: "Parsed") -> "tuple[Iterable[bytes], str, Directories | None]":
    """(tar stream, the Dockerfile's name in it, what is not in it since it is large)."""
    if parsed.words[0] == "-":
        return *context_of(parsed), None
    from ketch.cli import context

    folder, dockerfile, content, named = _local(parsed)
    found = context.measured(context.parts(folder, dockerfile, named), _AT_ONCE)
    if found is not None:
        return context.stream(found, dockerfile, content), dockerfile, None
    lone = context.of_dockerfile(folder, dockerfile, content)
    return lone, dockerfile, Directories(folder, dockerfile, named)


def context_of(parsed: "Parsed", *, whole: bool = True) -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    if parsed.words[0] == "-":
        if directories(parsed["build-context"]):
            raise Failure("a context on stdin can't be sent with directories (--build-context)")
        return _from_stdin(parsed["file"])
    from ketch.cli import context

    folder, dockerfile, content, named = _local(parsed)
    if not whole:
        return context.of_dockerfile(folder, dockerfile, content), dockerfile
    return context.stream(context.parts(folder, dockerfile, named), dockerfile, content), dockerfile


def _local(parsed: "Parsed") -> "tuple[str, str, bytes | None, dict[str, str]]":
    """(context, the Dockerfile's name, its content if it is not in the context, directories)."""
    path, file = parsed.words[0], parsed["file"]
    named = directories(parsed["build-context"])
    if not os.path.isdir(path):
        raise Failure(f'unable to prepare context: path "{path}" not found')
    if file == "-":
        return path, OUTSIDE_NAME, sys.stdin.buffer.read(), named
    if file.startswith(("http://", "https://")):
        return path, OUTSIDE_NAME, fetched(file), named
    name = file or os.path.join(path, "Dockerfile")
    if not os.path.exists(name):
        raise Failure(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(name)}: no such file or directory"
        )
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if relative.startswith(".."):
        with open(name, "rb") as opened:
            return path, OUTSIDE_NAME, opened.read(), named
    return path, relative, None, named


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
