"""``ketch commit``."""

import sys

from ketch.cli.flags import Flag, count, parse
from ketch.cli.image_names import split_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

FLAGS = (
    Flag("author", "a", "text", "Author", ""),
    Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    Flag("message", "m", "text", "Commit message", ""),
    Flag("pause", "p", "switch", "Pause container during commit", True),
)
HELP = {"commit": ("[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", FLAGS)}


def commit(client: "Client", argv: "list[str]") -> int:
    """Make an image of a container's present state; prints its ID."""
    parsed = parse(FLAGS, argv)
    count(parsed, "commit", 1, 2)
    repository, tag = split_tag(parsed.words[1]) if len(parsed.words) == 2 else ("", "")
    query = {
        "container": parsed.words[0],
        "repo": repository or None,
        "tag": tag or None,
        "author": parsed["author"] or None,
        "comment": parsed["message"] or None,
        "changes": parsed["change"],
        "pause": "1" if parsed["pause"] else "0",
    }
    sys.stdout.write(client.call("POST", "/commit", query, body={})["Id"] + "\n")
    return 0
