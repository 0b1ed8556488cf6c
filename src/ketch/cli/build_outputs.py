"""``--output``: what becomes of a build's result, and taking what comes back.

``type=tar|oci|docker`` writes an archive to ``dest`` (``-``: stdout), ``type=local`` files into the
directory ``dest``; a bare path is such a directory, ``-`` a tar archive on stdout. Each is fetched
over a connection of its own while the build runs (docs/beyond.md).
"""

import os
import sys

from ketch.cli.flags import Failure
from ketch.client.api import encode_query, quote
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FILES = ("tar", "local", "oci", "docker")
_PLACES = ("manifest", "index", "manifest-descriptor", "index-descriptor")


class Output:
    """One ``--output``: its type, the engine's attributes of it, where it goes here. A ``layout``
    is a directory of blobs, which keeps what it has."""

    __slots__ = ("attributes", "dest", "kind", "layout")

    def __init__(
        self, kind: str, attributes: "dict[str, str]", dest: str, *, layout: bool = False
    ) -> None:
        self.kind = kind
        self.attributes = attributes
        self.dest = dest
        self.layout = layout or (kind in ("oci", "docker") and self.is_directory)

    @property
    def comes_here(self) -> bool:
        """Whether files of it come to this side."""
        return self.kind in FILES

    @property
    def is_directory(self) -> bool:
        """Whether files are to be unpacked."""
        plain = self.attributes.get("tar", "true").lower() in ("0", "f", "false")
        return self.kind == "local" or (self.kind in ("oci", "docker") and plain)


def outputs(parsed: "Parsed") -> "list[Output]":
    """Those of the flags; raises ``Failure``."""
    found = [_output(text) for text in parsed["output"]]
    if parsed["push"] and parsed["load"] and not found:
        found.append(Output("image", {"push": "true"}, ""))
    elif parsed["push"]:
        images = [output for output in found if output.kind in ("image", "registry")]
        for output in images:
            output.attributes["push"] = "true"
        if not images:
            found.append(Output("registry", {}, ""))
    elif parsed["load"] and not any(output.kind in ("image", "registry") for output in found):
        found.append(Output("image", {}, ""))
    if parsed["iidfile"] and any(output.kind in ("local", "tar") for output in found):
        raise Failure("local and tar exporters are incompatible with image ID file")
    notes = dict(note for text in parsed["annotation"] for note in _annotation(text))
    if notes and not found:
        found.append(Output("image", {}, ""))
    for output in found:
        if output.kind in ("image", "registry", "oci", "docker"):
            output.attributes.update(notes)
    return found


def _output(text: str) -> Output:
    output = _parsed(text)
    if output.comes_here and output.dest != "-":
        there = os.path.isdir(output.dest)
        if output.is_directory and os.path.exists(output.dest) and not there:
            raise Failure(f"destination directory {output.dest} is a file")
        if not output.is_directory and there:
            raise Failure(f"destination file {output.dest} is a directory")
    return output


def _parsed(text: str) -> Output:
    if not text:
        raise Failure("invalid output '': write a directory, - or type=TYPE,KEY=VALUE,...")
    if "=" not in text.split(",")[0]:
        return Output("tar", {}, "-") if text == "-" else Output("local", {}, text)
    attributes = fields(text, "output")
    kind = attributes.pop("type", "")
    dest = attributes.pop("dest", "")
    if not kind:
        raise Failure(f"invalid output {text!r}: type is required")
    if kind == "docker" and not dest:
        kind = "image"  # into the engine, which builds where it keeps images
    if kind in FILES and not dest:
        if kind == "local":
            raise Failure("dest is required for local output")
        dest = "-"
    output = Output(kind, attributes, os.path.expanduser(dest))
    if output.is_directory and dest == "-":
        raise Failure(f"invalid output {text!r}: files can't be written to stdout")
    if dest == "-" and sys.stdout.isatty():
        raise Failure("an archive is not written to a terminal: name a file with dest=")
    return output


def fields(text: str, what: str) -> "dict[str, str]":
    """``key=value`` words between commas, quoted as in CSV; raises ``Failure``."""
    import csv

    found: dict[str, str] = {}
    for word in next(csv.reader([text])):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise Failure(f"invalid {what} {text!r}: write type=TYPE,KEY=VALUE,...")
        found[key.strip() if "." in key else key.strip().lower()] = value
    return found


def _annotation(text: str) -> "list[tuple[str, str]]":
    """``[place[,place]:]KEY=VALUE``, place being manifest, index, … with ``[platform]``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"invalid annotation {text!r}: write KEY=VALUE or manifest:KEY=VALUE")
    before, colon, name = key.partition(":")
    places = before.split(",") if colon else []
    kinds = [place.partition("[")[0] for place in places]
    if not all(kind.replace("-", "").isalpha() and kind.islower() for kind in kinds):
        return [(f"annotation.{key}", value)]  # a colon in the key itself
    for kind in kinds:
        if kind not in _PLACES:
            raise Failure(f"unknown annotation type {kind!r}: use {', '.join(_PLACES)}")
    return [(f"annotation-{place}.{name}", value) for place in places] or [
        (f"annotation.{key}", value)
    ]


def query(found: "list[Output]") -> "list[dict[str, Any]]":
    """The parameter ``outputs`` of POST /build."""
    return [{"Type": output.kind, "Attrs": output.attributes} for output in found]


def with_caches(found: "list[Output]", targets: "list[Output]") -> "list[Output]":
    """The outputs, and after them what becomes of the cache: that is how the engine counts."""
    return [*(found or [Output("image", {}, "")]), *targets]


class Fetching:
    """Takes the outputs that are for this side, each in a thread."""

    def __init__(self, client: "Client", token: str, found: "list[Output]") -> None:
        self._client = client
        self._token = token
        self._failures: list[str] = []
        self._threads: list[Thread] = []
        for number, output in enumerate(found):
            if output.comes_here:
                self._begin(number, output)

    def _begin(self, number: int, output: Output) -> None:
        import threading

        thread = threading.Thread(target=self._run, args=(number, output), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self, number: int, output: Output) -> None:
        route = f"/ketch/builds/offers/{quote(self._token)}/output"
        try:
            response = self._client.stream("GET", route + encode_query({"number": number}))
        except (KetchError, OSError):
            return  # the build ended before it; that is what is told
        try:
            _take(response.pieces(), output)
        except (Failure, KetchError, OSError) as error:
            told = error.strerror if isinstance(error, OSError) else error
            self._failures.append(f"output {output.dest}: {told}")

    def finish(self, patience: "float | None" = None) -> None:
        """Wait for the last byte (or so many seconds); raises ``Failure`` for what could not be
        written."""
        for thread in self._threads:
            thread.join(patience)
        if self._failures:
            raise Failure(self._failures[0])


def _take(pieces: "Any", output: Output) -> None:
    if output.is_directory:
        from ketch.cli.cp_local import Whole, extract
        from ketch.cli.layout_folder import Joined

        os.makedirs(output.dest, exist_ok=True)
        joined = Joined(output.dest) if output.layout else None
        pieces = iter(pieces)
        extract(pieces, Whole(output.dest, ""), keep_owner=False, plain=output.layout)
        for _ in pieces:  # an archive may end before its stream, whose end the engine waits for
            pass
        if joined is not None:
            reset = output.attributes.get("reset", "false").lower() in ("1", "t", "true")
            joined.finish(reset=reset)
        return
    if output.dest == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with open(output.dest, "wb") as file:
        for piece in pieces:
            file.write(piece)
