"""``ketch logs``."""

from ketch.cli import routes
from ketch.cli.flags import Flag, count, parse
from ketch.cli.instants import asked
from ketch.cli.streams import write_all, write_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

FLAGS = (
    Flag("details", "", "switch", "Show extra details provided to logs"),
    Flag("follow", "f", "switch", "Follow log output"),
    Flag("since", help="Show logs since timestamp (2013-01-02T13:23:37Z) or "
         "relative (42m for 42 minutes)", default=""),
    Flag("tail", "n", "text", "Number of lines to show from the end of the logs", "all"),
    Flag("timestamps", "t", "switch", "Show timestamps"),
    Flag("until", help="Show logs before timestamp (2013-01-02T13:23:37Z) or "
         "relative (42m for 42 minutes)", default=""),
)  # fmt: skip
HELP = {"logs": ("[OPTIONS] CONTAINER", FLAGS)}


def logs(client: "Client", argv: "list[str]") -> int:
    """Print what a container wrote."""
    parsed = parse(FLAGS, argv)
    count(parsed, "logs", 1)
    path = routes.container(parsed.words[0])
    tty = client.call("GET", f"{path}/json")["Config"]["Tty"]
    query = {
        "stdout": True,
        "stderr": True,
        "follow": parsed["follow"],
        "timestamps": parsed["timestamps"],
        "details": parsed["details"],
        "tail": parsed["tail"],
        "since": asked(parsed["since"], "since"),
        "until": asked(parsed["until"], "until"),
    }
    rest = b""
    for piece in client.stream("GET", f"{path}/logs", query).pieces():
        if tty:
            write_all(1, piece)
        else:
            rest = write_frames(rest + piece)
    return 0
