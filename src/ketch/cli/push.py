"""``ketch push``."""

import sys

from ketch.cli import credentials, progress, routes
from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.image_names import platform_json, split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    progress.show(messages, sys.stdout, quiet=parsed["quiet"])
    if parsed["quiet"]:
        sys.stdout.write(f"{parsed.words[0] if tag else name}\n")
    return 0
