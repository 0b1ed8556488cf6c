"""``ketch build``: send a context, show the steps."""

import os
import sys

from ketch.cli import units
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    Flag("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)"),
    Flag("build-arg", "", "list", "Set build-time variables"),
    Flag("cgroup-parent", help="Set the parent cgroup for RUN instructions", default=""),
    Flag("file", "f", "text", "Name of the Dockerfile (default: PATH/Dockerfile)", ""),
    Flag("force-rm", "", "switch", "Always remove intermediate containers"),
    Flag("iidfile", help="Write the image ID to the file", default=""),
    Flag("label", "", "list", "Set metadata for an image"),
    Flag("memory", "m", "text", "Memory limit", ""),
    Flag("network", help="Set the networking mode for RUN instructions", default=""),
    Flag("no-cache", "", "switch", "Do not use cache when building the image"),
    Flag("platform", help="Set target platform for build", default=""),
    Flag("pull", "", "switch", "Always attempt to pull a newer version of the image"),
    Flag("quiet", "q", "switch", "Suppress the build output and print image ID on success"),
    Flag("rm", "", "switch", "Remove intermediate containers after a successful build", True),
    Flag("tag", "t", "list", "Name and optionally a tag (format: name:tag)"),
    Flag("target", help="Set the target build stage to build", default=""),
)
HELP = {"build": ("[OPTIONS] PATH | -", FLAGS)}
OUTSIDE_NAME = ".ketch-dockerfile"


def build(client: "Client", argv: "list[str]") -> int:
    """Build an image; exit code 1 when a step fails."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch build' requires 1 argument: the directory of the context, or -")
    pieces, dockerfile = _context(parsed)
    from ketch.cli import credentials

    registries = credentials.all_headers() or "e30="
    messages = client.json_lines(
        "POST",
        "/build",
        _query(parsed, dockerfile),
        body=pieces,
        headers={"Content-Type": "application/x-tar", "X-Registry-Config": registries},
    )
    try:
        image = _show(messages, quiet=parsed["quiet"])
    except _StepFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if parsed["iidfile"]:
        with open(parsed["iidfile"], "w") as file:
            file.write(image)
    return 0


def _query(parsed: "Parsed", dockerfile: str) -> "dict[str, Any]":
    query: dict[str, Any] = {
        "dockerfile": dockerfile,
        "t": parsed["tag"],
        "q": parsed["quiet"],
        "nocache": parsed["no-cache"],
        "pull": parsed["pull"],
        "rm": "1" if parsed["rm"] else "0",
        "forcerm": parsed["force-rm"],
        "target": parsed["target"] or None,
        "platform": parsed["platform"] or None,
        "networkmode": parsed["network"] or None,
        "cgroupparent": parsed["cgroup-parent"] or None,
        "extrahosts": parsed["add-host"],
        "memory": units.parse_size(parsed["memory"], "memory") if parsed["memory"] else None,
    }
    if parsed["build-arg"]:
        query["buildargs"] = _arguments(parsed["build-arg"])
    if parsed["label"]:
        query["labels"] = dict(word.partition("=")[::2] for word in parsed["label"])
    return query


def _arguments(words: "list[str]") -> "dict[str, str | None]":
    """``--build-arg NAME`` without a value takes the caller's variable, None when unset."""
    return {
        name: (value if equals else os.environ.get(name))
        for name, equals, value in (word.partition("=") for word in words)
    }


def _context(parsed: "Parsed") -> "tuple[Iterable[bytes], str]":
    """(tar stream, the Dockerfile's name in it)."""
    path, file = parsed.words[0], parsed["file"]
    if path == "-":
        return _from_stdin(file)
    if "://" in path or path.startswith("git@"):
        raise UsageError(f"remote build contexts are not supported yet: {path}; clone it first")
    if not os.path.isdir(path):
        raise UsageError(f'unable to prepare context: path "{path}" not found')
    from ketch.cli import context

    if file == "-":
        return context.stream(path, OUTSIDE_NAME, sys.stdin.buffer.read()), OUTSIDE_NAME
    name = file or os.path.join(path, "Dockerfile")
    if not os.path.exists(name):
        raise UsageError(
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
        raise UsageError(
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"
        )
    return context.lone(first + sys.stdin.buffer.read()), "Dockerfile"


class _StepFailed(Exception):
    """The build's own error, already in the words to show."""


def _show(messages: "Iterable[dict[str, Any]]", *, quiet: bool) -> str:
    """Print the stream; returns the image's ID."""
    image = ""
    try:
        for message in messages:
            if message.get("error"):
                raise _StepFailed(message["error"])
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
        raise _StepFailed(f"Error response from daemon: {error}") from None
    return image
