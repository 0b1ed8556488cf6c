"""``--secret`` and ``--ssh``: what is lent to a build, over connections of its own.

Secrets travel in a request before the build's; SSH agents are reached through connections that are
opened ahead, one conversation each (docs/beyond.md). Nothing of either is kept by the engine.
"""

import os
from binascii import b2a_base64

from ketch.cli.build_agents import agent, converse
from ketch.cli.flags import Failure
from ketch.client.api import encode_query, quote
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

_LARGEST = 500_000
_SECRET_KEYS = {"id", "src", "source", "env", "type"}


def lend(client: "Client", parsed: "Parsed", *, needed: bool = False) -> "str | None":
    """Leave what the flags name with the engine; the token for the build, None without flags
    unless it is ``needed``."""
    if not parsed["secret"] and not parsed["ssh"] and not needed:
        return None
    values = dict(_secret(text) for text in parsed["secret"])
    agents = dict(agent(text) for text in parsed["ssh"])
    body = {
        "Secrets": {name: b2a_base64(v, newline=False).decode() for name, v in values.items()},
        "Agents": list(agents),
    }
    token: str = client.call("POST", "/ketch/builds/offers", None, body)["Id"]
    for name, path in agents.items():
        _serve(client, token, name, path)
    return token


def _secret(text: str) -> "tuple[str, bytes]":
    """``id=NAME[,src=FILE|env=VARIABLE]``; without a source a file or variable of that name."""
    fields: dict[str, str] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if not equals or key not in _SECRET_KEYS:
            raise Failure(
                f"invalid secret {text!r}: write id=NAME,src=FILE or id=NAME,env=VARIABLE"
            )
        fields["src" if key == "source" else key] = value
    name = fields.get("id", "")
    if not name:
        raise Failure(f"invalid secret {text!r}: the id is missing")
    if fields.get("type", "file") not in ("file", "env"):
        raise Failure(f"invalid secret {text!r}: the type is file or env")
    variable = fields.get("env") or (name if "src" not in fields and name in os.environ else "")
    if fields.get("type") == "env" and not variable:
        variable = fields.get("src", name)
    if variable:
        if variable not in os.environ:
            raise Failure(f"secret {name}: the variable {variable} is not set")
        return name, os.environb[os.fsencode(variable)]
    return name, _read(name, os.path.expanduser(fields.get("src", name)))


def _read(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise Failure(f"secret {name}: cannot read {path}: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise Failure(f"secret {name}: {path} is larger than {_LARGEST} bytes")
    return data


def _serve(client: "Client", token: str, name: str, path: str) -> None:
    """Keep a connection ready; when it is taken into use, the next is opened."""
    import threading

    route = f"/ketch/builds/offers/{quote(token)}/agent" + encode_query({"name": name})
    sock, early, _ = client.hijack(route)  # a failure is told at once

    def run(sock: "_socket.socket", data: bytes) -> None:
        try:
            # What a step says at once comes with the head of the answer.
            while data := data or sock.recv(1 << 16):
                threading.Thread(target=converse, args=(sock, data, path), daemon=True).start()
                sock, data, _ = client.hijack(route)
        except (KetchError, OSError):
            return  # the build is over

    threading.Thread(target=run, args=(sock, early), daemon=True).start()
