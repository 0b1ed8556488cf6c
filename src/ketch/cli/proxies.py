"""``proxies`` of config.json: variables that docker gives to containers and builds.

The entry of the engine's address counts, else ``default``. What a user says himself wins.
"""

from ketch.client import config_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def variables(client: "Client") -> "dict[str, str]":
    """The variables, in upper and lower case; {} without an entry."""
    entries = config_file.mapping(config_file.load(), "proxies")
    entry = config_file.mapping(entries, client.address.text)
    entry = entry or config_file.mapping(entries, "default")
    found: dict[str, str] = {}
    for key, name in VARIABLES.items():
        if value := str(entry.get(key) or ""):
            found |= {name: value, name.lower(): value}
    return found


def add_to_container(body: "dict[str, Any]", client: "Client") -> None:
    """Into ``Env`` of POST /containers/create."""
    given = {word.partition("=")[0] for word in body["Env"]}
    body["Env"] += [
        f"{key}={value}" for key, value in variables(client).items() if key not in given
    ]


def add_to_build(query: "dict[str, Any]", client: "Client") -> None:
    """Into ``buildargs`` of POST /build."""
    arguments = {**variables(client), **query.get("buildargs", {})}
    if arguments:
        query["buildargs"] = arguments
