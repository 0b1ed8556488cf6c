"""``ketch logs``."""

from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.streams import write_all, write_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

FLAGS = (
    Flag("details", "", "switch", "Show extra details provided to logs"),
    Flag("follow", "f", "switch", "Follow log output"),
    Flag("since", help="Show logs since timestamp or relative (42m for 42 minutes)", default=""),
    Flag("tail", "n", "text", "Number of lines to show from the end of the logs", "all"),
    Flag("timestamps", "t", "switch", "Show timestamps"),
    Flag("until", help="Show logs before timestamp or relative (42m for 42 minutes)", default=""),
)
HELP = {"logs": ("[OPTIONS] CONTAINER", FLAGS)}


def logs(client: "Client", argv: "list[str]") -> int:
    """Print what a container wrote."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch logs' requires 1 argument")
    path = f"/containers/{parsed.words[0]}"
    tty = client.call("GET", f"{path}/json")["Config"]["Tty"]
    query = {
        "stdout": True,
        "stderr": True,
        "follow": parsed["follow"],
        "timestamps": parsed["timestamps"],
        "details": parsed["details"],
        "tail": parsed["tail"],
        "since": instant(parsed["since"], "since"),
        "until": instant(parsed["until"], "until"),
    }
    rest = b""
    for piece in client.stream("GET", f"{path}/logs", query).pieces():
        if tty:
            write_all(1, piece)
        else:
            rest = write_frames(rest + piece)
    return 0


def instant(text: str, flag: str) -> "str | None":
    """Unix seconds of an RFC 3339 instant, a number, or a duration back from now."""
    if not text:
        return None
    if text.replace(".", "", 1).isdigit():
        return text
    if text[:4].isdigit() and text[4:5] == "-":
        from datetime import datetime

        return str(datetime.fromisoformat(text).timestamp())
    import time

    from ketch.cli.units import parse_duration

    return f"{time.time() - parse_duration(text, flag) / 1e9:.9f}"
