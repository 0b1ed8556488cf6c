"""``ketch pull``."""

import sys

from ketch.cli import progress
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.cli.image_names import split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from ketch.client.api import Client

FLAGS = (
    Flag("all-tags", "a", "switch", "Download all tagged images in the repository"),
    Flag("disable-content-trust", "", "switch", "Skip image verification", True),
    Flag("platform", help="Set platform if server is multi-platform capable", default="",
         values="platforms"),
    Flag("quiet", "q", "switch", "Suppress verbose output"),
)  # fmt: skip
HELP = {"pull": ("[OPTIONS] NAME[:TAG|@DIGEST]", FLAGS)}


def pull(client: "Client", argv: "list[str]") -> int:
    """Download an image; the last line is its full name."""
    parsed = parse(FLAGS, argv)
    count(parsed, "pull", 1)
    if not parsed["disable-content-trust"]:
        raise Failure("--disable-content-trust=false is not supported: name the image by digest")
    name = parsed.words[0]
    if parsed["all-tags"] and ("@" in name or split_tag(name)[1]):
        raise Failure("tag can't be used with --all-tags/-a")
    if parsed["all-tags"]:
        query = {"fromImage": name, "platform": parsed["platform"] or None}
        _show(client, name, query, quiet=parsed["quiet"], output=sys.stdout)
        return 0
    if "@" not in name and not split_tag(name)[1] and not parsed["quiet"]:
        sys.stdout.write("Using default tag: latest\n")
        sys.stdout.flush()
    fetch(client, name, parsed["platform"], quiet=parsed["quiet"], output=sys.stdout)
    sys.stdout.write(f"{canonical(name)}\n")
    return 0


def fetch(client: "Client", name: str, platform: str, *, quiet: bool, output: "TextIO") -> None:
    """Pull one image and show the progress on ``output``."""
    if "@" in name:
        image, _, tag = name.partition("@")
    else:
        image, tag = split_tag(name)
    query = {"fromImage": image, "tag": tag or "latest", "platform": platform or None}
    _show(client, image, query, quiet=quiet, output=output)


def _show(
    client: "Client", image: str, query: "dict[str, Any]", *, quiet: bool, output: "TextIO"
) -> None:
    messages = client.json_lines("POST", "/images/create", query, headers=_credentials(image))
    progress.show(messages, output, quiet=quiet)


def canonical(name: str) -> str:
    """The name with its registry and tag, as Docker prints it last."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def _credentials(image: str) -> "dict[str, str]":
    """X-Registry-Auth from ~/.docker/config.json, when it has an entry for the registry."""
    from ketch.cli import credentials

    header = credentials.header_for(image)
    return {"X-Registry-Auth": header} if header else {}
