"""``ketch completion SHELL``: the script that makes a shell ask ``ketch __complete``."""

import sys

from ketch.cli.completion_scripts import SCRIPTS
from ketch.cli.flags import Failure, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

HELP: "dict[str, tuple[str, tuple[()]]]" = {"completion": ("bash|zsh|fish", ())}


def completion(client: "Client", argv: "list[str]") -> int:
    """Print the script of one shell."""
    parsed = parse((), argv)
    count(parsed, "completion", 1)
    script = SCRIPTS.get(parsed.words[0])
    if script is None:
        raise Failure(f"ketch completes for {', '.join(SCRIPTS)}, not for {parsed.words[0]}")
    sys.stdout.write(script)
    return 0
