"""The endpoint of a context: what ``--docker`` says, what counts now, what another context has."""

import os

from ketch.cli.flags import UsageError
from ketch.client import config_file, endpoint
from ketch.client.contexts import Context, Store
from ketch.errors import InvalidParameter

ENDPOINT_KEYS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")


def copied(store: Store, source: str, name: str) -> "tuple[Context, dict[str, bytes]]":
    """A context like ``source``; without one, like what counts now."""
    if not source:
        source = endpoint.context_name(config_file.load())
    if source == endpoint.DEFAULT_CONTEXT:
        context = current()
        context.description, context.name = "", name
    else:
        context = store.get(source)
        context.name = name
    tls = {key: _contents(path) for key, path in context.tls.items()}
    return context, tls


def current() -> Context:
    """The context that is stored nowhere: what the environment says."""
    address = endpoint.default_address()
    files: dict[str, str] = {}
    if address.tls is not None:
        known = {"ca": address.tls.ca, "cert": address.tls.cert, "key": address.tls.key}
        files = {key: path for key, path in known.items() if path}
    skip = address.tls is not None and not address.tls.verify
    document = {
        "Name": endpoint.DEFAULT_CONTEXT,
        "Metadata": {"Description": "Current DOCKER_HOST based configuration"},
        "Endpoints": {"docker": {"Host": address.text, "SkipTLSVerify": skip}},
    }
    return Context(document, files)


def asked_endpoint(words: "list[str]") -> "dict[str, str]":
    """``host=…,ca=…`` as a mapping; raises ``UsageError`` for unknown keys."""
    asked = {}
    for word in ",".join(words).split(",") if words else ():
        key, equals, value = word.strip().partition("=")
        if not equals:
            raise UsageError(f'invalid argument "{word}" for "--docker" flag: use key=value')
        if key not in ENDPOINT_KEYS:
            raise UsageError(
                f"unrecognized config key {key!r} for --docker: use {', '.join(ENDPOINT_KEYS)}"
            )
        asked[key] = value
    return asked


def apply(context: Context, asked: "dict[str, str]") -> "dict[str, bytes]":
    """Give the context the endpoint of ``--docker``; the contents of its TLS files."""
    host = asked.get("host", "")
    if not host:
        raise UsageError("--docker needs a host, as host=tcp://myserver:2376")
    context.host = host
    skip = asked.get("skip-tls-verify", "false").lower()
    if skip not in ("true", "false", "1", "0"):
        raise UsageError(f"skip-tls-verify={skip} is neither true nor false")
    context.skip_verify = skip in ("true", "1")
    tls = {key: _contents(asked[key]) for key in ("ca", "cert", "key") if asked.get(key)}
    for key, data in tls.items():
        if b"-----BEGIN " not in data:
            raise InvalidParameter(f"{asked[key]} ({key}) holds no PEM certificate or key")
    if ("cert" in tls) != ("key" in tls):
        raise UsageError("--docker: cert and key belong together")
    context.tls = dict.fromkeys(tls, "")
    return tls


def _contents(path: str) -> bytes:
    with open(os.path.expanduser(path), "rb") as file:
        return file.read()
