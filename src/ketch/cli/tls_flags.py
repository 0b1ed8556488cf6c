"""``--tls``, ``--tlsverify``, ``--tlscacert``, ``--tlscert``, ``--tlskey``."""

from ketch.client.address import Tls
from ketch.client.endpoint import tls_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.cli.flags import Parsed


def of(parsed: "Parsed") -> "Tls | None":
    """What the flags ask for over the files of the configuration; None for no TLS."""
    tls = tls_files(verify=parsed["tlsverify"], use=parsed["tls"])
    if tls is None:
        return None
    tls.ca = parsed["tlscacert"] or tls.ca
    tls.cert = parsed["tlscert"] or tls.cert
    tls.key = parsed["tlskey"] or tls.key
    return tls
