"""``ketch push``."""

import sys

from ketch.cli import credentials, progress, routes
from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.image_names import platform_json, split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    Flag("all-tags", "a", "switch", "Push all tags of an image to the repository"),
    Flag("disable-content-trust", "", "switch", "Skip image signing", True),
    Flag("platform", help="Push a platform-specific manifest (os[/arch[/variant]])", default=""),
    Flag("quiet", "q", "switch", "Suppress verbose output"),
)
HELP = {"push": ("[OPTIONS] NAME[:TAG]", FLAGS)}


def push(client: "Client", argv: "list[str]") -> int:
    """Upload an image to its registry."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch push' requires 1 argument")
    if not parsed["disable-content-trust"]:
        raise UsageError("--disable-content-trust=false is not supported: nothing is signed")
    name, tag = split_tag(parsed.words[0])
    if parsed["all-tags"] and tag:
        raise UsageError("tag can't be used with --all-tags/-a")
    if not parsed["all-tags"] and not tag:
        tag = "latest"
        if not parsed["quiet"]:
            sys.stdout.write("Using default tag: latest\n")
            sys.stdout.flush()
    query = {"tag": tag or None, "platform": platform_json(parsed["platform"])}
    header = credentials.header_for(name) or credentials.encoded({})
    messages = client.json_lines(
        "POST", routes.image(name, "/push"), query, headers={"X-Registry-Auth": header}
    )
    notes: list[str] = []
    progress.show(_noting(messages, notes), sys.stdout, quiet=parsed["quiet"])
    if notes and not parsed["quiet"]:
        sys.stdout.write("\n".join(["", *notes, ""]))
    if parsed["quiet"]:
        sys.stdout.write(f"{parsed.words[0] if tag else name}\n")
    return 0


def _noting(messages: "Iterable[dict[str, Any]]", notes: "list[str]") -> "Iterator[dict[str, Any]]":
    """The lines for people; what else is worth to be known at the end goes into ``notes``."""
    for message in messages:
        told = message.get("aux")
        if told and told.get("manifestPushedInsteadOfIndex"):
            notes.append(
                "Not all multiplatform-content is present and only the available single-platform"
                " image was pushed"
            )
            index, pushed = told["originalIndex"], told["selectedManifest"]
            notes.append(f"{index['digest']} -> {pushed['digest']}")
        if not told:
            yield message
