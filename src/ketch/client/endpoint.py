"""Which engine: flags, environment, contexts and ``config.json``, by the docker CLI's rules.

``-H`` wins, then ``-c``, then KETCH_HOST, DOCKER_HOST, DOCKER_CONTEXT, the current context of
``config.json``, the default socket. On the command line's start path: contexts and TLS are
imported when they are used.
"""

import os

from ketch.client import config_file
from ketch.client.address import DEFAULT, Address, Tls
from ketch.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_CONTEXT = "default"


def from_environment(host: str = "", context: str = "", tls: "Tls | None" = None) -> Address:
    """The address of ``-H`` and ``-c``, else of the environment.

    ``tls`` is what ``--tls…`` flags say; without them the environment counts (``tls_files``).
    Raises ``InvalidParameter`` for a malformed address or configuration and for both flags at
    once, ``NotFound`` for a context that is not there.
    """
    if host and context:
        raise InvalidParameter("conflicting options: cannot specify both --host and --context")
    config = config_file.load()
    name = context_name(config, host, context)
    if name != DEFAULT_CONTEXT:
        from ketch.client import contexts

        address = contexts.Store().get(name).address()
    else:
        address = default_address(host)
    if tls is not None:
        address.tls = tls
    address.headers = {
        str(key): _header(str(value))
        for key, value in config_file.mapping(config, "HttpHeaders").items()
    }
    return address


def context_name(config: "dict[str, Any]", host: str = "", context: str = "") -> str:
    """The name of the context that counts."""
    if context:
        return context
    if host or os.environ.get("KETCH_HOST") or os.environ.get("DOCKER_HOST"):
        return DEFAULT_CONTEXT
    return os.environ.get("DOCKER_CONTEXT") or config.get("currentContext") or DEFAULT_CONTEXT


def default_address(host: str = "") -> Address:
    """The address without contexts."""
    text = host or os.environ.get("KETCH_HOST") or os.environ.get("DOCKER_HOST") or DEFAULT
    address = Address(text)
    if address.scheme == "tcp":
        address.tls = tls_files(verify=bool(os.environ.get("DOCKER_TLS_VERIFY")))
        if address.tls is None and text.startswith("https://"):
            address.tls = Tls()
    return address


def tls_files(*, verify: bool, use: bool = False) -> "Tls | None":
    """The files of DOCKER_CERT_PATH or the configuration's folder (ca.pem, cert.pem, key.pem).

    None when neither ``verify`` (``--tlsverify``, DOCKER_TLS_VERIFY) nor ``use`` (``--tls``,
    DOCKER_TLS) asks for TLS. With ``use`` alone files that are not there are left out.
    """
    if not (verify or use or os.environ.get("DOCKER_TLS")):
        return None
    folder = os.environ.get("DOCKER_CERT_PATH") or config_file.folder()
    paths = [os.path.join(folder, name) for name in ("ca.pem", "cert.pem", "key.pem")]
    if not verify:
        paths = [path if os.path.exists(path) else "" for path in paths]
    return Tls(*paths, verify=verify)


def _header(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise InvalidParameter("HttpHeaders in config.json: a value has a line break")
    return value
