"""``ketch system dial-stdio``: stdio as a connection to the engine, the far side of ``ssh://``."""

from ketch.cli.flags import Flag, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {"dial_stdio": ("", ())}


def dial_stdio(client: "Client", argv: "list[str]") -> int:
    """Proxy stdio to the engine until it closes the connection."""
    from ketch.client.connection import Connection
    from ketch.client.ssh import dial

    if parse((), argv).words:
        raise UsageError("'ketch system dial-stdio' accepts no arguments")
    client.call("GET", "/_ping")  # starts the daemon where that is wanted
    try:
        dial(Connection(client.address).sock)
    except (BrokenPipeError, ConnectionResetError):
        return 1
    return 0
