"""``ketch build``: send a context, show the steps."""

import os
import sys

from ketch.cli import build_context
from ketch.cli.build_flags import FLAGS, is_remote, progress, query
from ketch.cli.flags import count, parse
from ketch.errors import KetchError
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ketch.cli.build_context import Directories
    from ketch.cli.build_outputs import Fetching
    from ketch.cli.context_demands import Bringing
    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

HELP = {
    "build": ("[OPTIONS] PATH | URL | -", FLAGS),
}


def build(client: "Client", argv: "list[str]") -> int:
    """Build an image; the exit code of a step that fails, as docker's classic builder has it."""
    parsed = parse(FLAGS, argv)
    count(parsed, "build", 1)
    return build_parsed(client, parsed)[0]


def build_parsed(client: "Client", parsed: "Parsed", *, silent: bool = False) -> "tuple[int, str]":
    """The exit code and the image's ID; ``silent`` writes nothing of it on stdout."""
    if parsed["check"] or parsed["call"] != "build":
        from ketch.cli.build_call import ask

        return ask(client, parsed), ""
    shown_as = progress(parsed)
    large = None
    if is_remote(parsed.words[0]):
        pieces, dockerfile = build_context.remote_of(parsed)
        asked = {**query(parsed, dockerfile), "remote": parsed.words[0]}
        if parsed["file"] and not dockerfile:
            asked["dockerfilebody"] = "1"
    else:
        pieces, dockerfile, large = build_context.sent(parsed)
        asked = query(parsed, dockerfile)
    client.connect_ahead()
    quiet = parsed["quiet"] or shown_as == "quiet"
    asked["progress"] = "events"
    from ketch.cli import credentials, proxies

    proxies.add_to_build(asked, client)
    fetching = _outputs(client, parsed, asked, needed=large is not None)
    bringing = _brings(client, asked, large)
    messages = client.json_lines(
        "POST",
        "/build",
        asked,
        body=pieces,
        headers={
            "Content-Type": "application/x-tar",
            "X-Registry-Config": credentials.all_headers() or "e30=",
        },
    )
    outcome = _show(messages, shown_as, quiet=quiet)
    if bringing is not None and outcome["type"] == "failed":
        bringing.check()
    if fetching is not None:
        fetching.finish(patience=2.0 if outcome["type"] == "failed" else None)
    if outcome["type"] == "failed":
        from ketch.cli.visible import visible

        place = f"{outcome['excerpt']}\n" if "excerpt" in outcome else ""
        sys.stderr.write(visible(f"{place}ERROR: {outcome['error']}\n"))
        if parsed["shell-on-failure"]:
            from ketch.cli.build_failure import stand_there

            stand_there(client, parsed, outcome)
        return outcome.get("code") or 1, ""
    told = "nothing" if silent else "identity" if quiet else shown_as
    return 0, _told(parsed, outcome, told)


def _brings(
    client: "Client", asked: "dict[str, Any]", large: "Directories | None"
) -> "Bringing | None":
    """Begin to wait for what the engine wants of a large context."""
    if large is None:
        return None
    from ketch.cli.context_demands import Bringing

    asked["contextondemand"] = "1"
    return Bringing(client, asked["offers"], large)


def _outputs(
    client: "Client", parsed: "Parsed", asked: "dict[str, Any]", *, needed: bool
) -> "Fetching | None":
    """Ask for the outputs of the flags, and begin to wait for those that come here. An exchange
    beside the build's is ``needed`` anyway, or only for what the flags say."""
    from ketch.cli import build_lend

    found = []
    if parsed["output"] or parsed["push"] or parsed["load"] or parsed["annotation"]:
        from ketch.cli import build_outputs

        found = build_outputs.outputs(parsed)
        asked["outputs"] = fastjson.dumps(build_outputs.query(found)).decode()
    caches = None
    if parsed["cache-from"] or parsed["cache-to"]:
        from ketch.cli import build_caches, build_outputs

        caches = build_caches.Caches(parsed)
        asked.update(caches.query())
        found = build_outputs.with_caches(found, caches.targets)
    coming = any(output.comes_here for output in found)
    layouts = any("=oci-layout://" in word for word in parsed["build-context"])
    needed = needed or coming or layouts or (caches is not None and caches.sends())
    token = build_lend.lend(client, parsed, needed=needed)
    if token:
        asked["offers"] = token
        if caches is not None:
            caches.send(client, token)
        if layouts:
            from ketch.cli import build_layouts

            build_layouts.send(client, token, parsed["build-context"])
    return build_outputs.Fetching(client, token, found) if token and coming else None


def _told(parsed: "Parsed", outcome: "dict[str, Any]", told: str) -> str:
    """The image's ID, written to where it is wanted."""
    image: str = outcome["image"]
    if parsed["metadata-file"]:
        with open(parsed["metadata-file"], "wb") as metadata:
            metadata.write(_metadata(outcome))
    if parsed["iidfile"]:
        _write_identity(parsed["iidfile"], outcome)
    if not image:
        return ""
    if told == "identity":
        sys.stdout.write(f"{image}\n")
    elif told not in ("rawjson", "none", "nothing"):
        names = "".join(f"Successfully tagged {name}\n" for name in outcome["tags"])
        sys.stdout.write(f"Successfully built {image[7:19]}\n{names}")
    return image


def _write_identity(path: str, outcome: "dict[str, Any]") -> None:
    """``--iidfile``: the image's ID; of an image that only went out, its configuration's digest, of
    several platforms their index's, as buildx has it. Of none nothing is written."""
    told = outcome.get("response", {})
    identity = outcome["image"] or told.get("containerimage.config.digest")
    identity = identity or told.get("containerimage.digest")
    if identity:
        with open(path, "w") as file:
            file.write(identity)


def _metadata(outcome: "dict[str, Any]") -> bytes:
    """``--metadata-file`` as buildx writes it: what is base64 of JSON becomes JSON."""
    from binascii import a2b_base64

    found: dict[str, Any] = {"ketch.build.ref": outcome.get("ref", "")}
    for key, text in outcome.get("response", {}).items():
        packed = key == "containerimage.descriptor" or key.startswith("buildx.build.provenance")
        found[key] = fastjson.loads(a2b_base64(text)) if packed else text
    return fastjson.dumps(found) + b"\n"


def _show(messages: "Iterable[dict[str, Any]]", mode: str, *, quiet: bool) -> "dict[str, Any]":
    """Show the events as they come; the last one, which is the outcome."""
    outcome: dict[str, Any] = {"type": "failed", "error": "the engine said nothing of the outcome"}
    with display(mode, quiet=quiet) as shown:
        try:
            for message in messages:
                shown.feed(message)
                if message["type"] in ("built", "failed"):
                    outcome = message
        except KetchError as error:
            outcome = {"type": "failed", "error": str(error)}
    return outcome


class display:
    """The display for ``--progress``; on a terminal it is drawn again by a timer too."""

    def __init__(self, mode: str, *, quiet: bool) -> None:
        self._live = False
        self.shown = self._choose(mode, quiet)

    def _choose(self, mode: str, quiet: bool) -> "Any":
        if quiet or mode == "none":
            return _Silent()
        if mode == "rawjson":
            from ketch.cli.build_rawjson import RawJson

            return RawJson(sys.stderr)
        if mode == "tty" or (mode == "auto" and _is_capable()):
            from ketch.cli.build_tty import Live

            self._live = True
            return Live(sys.stderr)
        from ketch.cli.build_plain import Plain

        return Plain(sys.stderr)

    def __enter__(self) -> "Any":
        if self._live:
            import signal

            signal.signal(signal.SIGALRM, lambda *_: self.shown.draw())
            signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        return self.shown

    def __exit__(self, kind: "type[BaseException] | None", *_: object) -> None:
        if self._live:
            import signal

            signal.setitimer(signal.ITIMER_REAL, 0)
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            self.shown.cancel()
        self.shown.finish()
        if interrupted:
            sys.stderr.write("ERROR: the build was canceled\n")


def _is_capable() -> bool:
    """Whether there is a terminal on which lines can be drawn over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class _Silent:
    """Shows nothing."""

    def feed(self, event: "dict[str, Any]") -> None:
        """Nothing."""

    def cancel(self) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""
