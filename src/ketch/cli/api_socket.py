"""``--use-api-socket``: a container that may command the engine, with its user's accounts.

The engine's socket is mounted where clients look for it, and the accounts that this client knows
are written into a ``config.json`` that ``DOCKER_CONFIG`` points to, so that the container can pull
and push what its user can. Source of the places: the docker command line 28.
"""

from ketch.cli import credentials, routes, tar_entries
from ketch.cli.flags import UsageError
from ketch.errors import KetchError
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

_SOCKET = "/var/run/docker.sock"
_CONFIG = "/run/secrets/docker"


def add(body: "dict[str, Any]", client: "Client") -> bool:
    """Mount the socket; whether the accounts are wanted too, which they are not where the user
    says himself where the configuration is. Raises ``UsageError`` for an engine elsewhere."""
    address = client.address
    if address.scheme != "unix":
        raise UsageError(
            "flag --use-api-socket can only be used with unix sockets:"
            f" docker endpoint {address.text} incompatible"
        )
    mounts = body["HostConfig"].setdefault("Mounts", [])
    mounts.append({"Type": "bind", "Source": address.path, "Target": _SOCKET})
    env = list(body["Env"] or ())
    if any(entry.partition("=")[0] == "DOCKER_CONFIG" for entry in env):
        return False
    body["Env"] = [*env, f"DOCKER_CONFIG={_CONFIG}"]
    return True


def give_accounts(client: "Client", container: str) -> None:
    """Write the accounts into a container that has just been made, readable by its root alone.

    Where that fails the container goes again, and the error is raised.
    """
    auths = {name: credentials.file_entry(entry) for name, entry in credentials.every().items()}
    content = fastjson.dumps({"auths": auths})
    name = f"{_CONFIG}/config.json".lstrip("/")
    archive = b"".join((*tar_entries.of_bytes(name, content, 0o600), tar_entries.END))
    try:
        path = routes.container(container, "/archive?path=/")
        headers = {"Content-Type": "application/x-tar"}
        client.stream("PUT", path, body=archive, headers=headers).body()
    except KetchError as error:
        client.call("DELETE", routes.container(container, "?v=1"))
        raise type(error)(f"copying config.json into the container failed: {error}") from None
