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
    """What the engine may ask for: the context at ``path`` and further ones by name. ``dockerfile``
    is the file whose ignore file counts, ``sent_as`` its name in what is sent, and ``elsewhere``
    what is sent though it is not in the context."""

    __slots__ = ("dockerfile", "elsewhere", "named", "path", "sent_as")

    def __init__(
        self,
        path: str,
        dockerfile: str,
        named: "dict[str, str]",
        elsewhere: "dict[str, bytes] | None" = None,
    ) -> None:
        self.path = path
        self.dockerfile = dockerfile
        self.named = named
        self.elsewhere = elsewhere or {}
        self.sent_as = OUTSIDE_NAME if self.elsewhere else dockerfile


def sent(parsed: "Parsed") -> "tuple[Iterable[bytes], str, Directories | None]":
    """(tar stream, the Dockerfile's name in it, what is not in it since it is large)."""
    if parsed.words[0] == "-":
        return *context_of(parsed), None
    from ketch.cli import context

    local = _local(parsed)
    found = context.measured(context.parts(local.path, local.dockerfile, local.named), _AT_ONCE)
    if found is not None:
        return context.stream(found, local.elsewhere), local.sent_as, None
    return context.of_dockerfile(local.path, local.sent_as, local.elsewhere), local.sent_as, local


def context_of(parsed: "Parsed", *, whole: bool = True) -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    if parsed.words[0] == "-":
        if directories(parsed["build-context"]):
            raise Failure("a context on stdin can't be sent with directories (--build-context)")
        return _from_stdin(parsed["file"])
    from ketch.cli import context

    local = _local(parsed)
    if not whole:
        return context.of_dockerfile(local.path, local.sent_as, local.elsewhere), local.sent_as
    found = context.parts(local.path, local.dockerfile, local.named)
    return context.stream(found, local.elsewhere), local.sent_as


def _local(parsed: "Parsed") -> Directories:
    """The directory that is built, with its Dockerfile."""
    path, file = parsed.words[0], parsed["file"]
    named = directories(parsed["build-context"])
    if not os.path.isdir(path):
        raise Failure(f'unable to prepare context: path "{path}" not found')
    if file == "-":
        return Directories(path, OUTSIDE_NAME, named, {OUTSIDE_NAME: sys.stdin.buffer.read()})
    if file.startswith(("http://", "https://")):
        return Directories(path, OUTSIDE_NAME, named, {OUTSIDE_NAME: fetched(file)})
    name = file or _default(path)
    if not os.path.exists(name):
        raise Failure(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(name)}: no such file or directory"
        )
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if relative.startswith(".."):
        return Directories(path, os.path.abspath(name), named, _with_rules(name))
    return Directories(path, relative, named)


def _default(path: str) -> str:
    """``Dockerfile``, or ``dockerfile`` where that is all there is, as Docker's clients have it."""
    name, lower = os.path.join(path, "Dockerfile"), os.path.join(path, "dockerfile")
    return lower if os.path.exists(lower) and not os.path.exists(name) else name


def _with_rules(name: str) -> "dict[str, bytes]":
    """A Dockerfile that is not in the context, and its own ignore file."""
    found = {}
    for ending in ("", ".dockerignore"):
        if not ending or os.path.exists(name + ending):
            with open(name + ending, "rb") as opened:
                found[OUTSIDE_NAME + ending] = opened.read()
    return found


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
