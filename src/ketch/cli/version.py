"""``ketch version``."""

import os
import sys

from ketch import __version__
from ketch.cli.exits import prefix
from ketch.cli.flags import Flag, count, parse
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (Flag("format", "f", "text", "Format output using a template, or json", ""),)
HELP = {"version": ("[OPTIONS]", FLAGS)}
API_VERSION = "1.51"


def version(client: "Client", argv: "list[str]") -> int:
    """Versions of this program and of the engine."""
    parsed = parse(FLAGS, argv)
    count(parsed, "version", 0)
    server: Any = None
    failure: KetchError | None = None
    try:
        server = client.call("GET", "/version")
    except KetchError as error:
        failure = error
    mine = own()
    if parsed["format"]:
        from ketch.cli import template

        form = "{{json .}}" if parsed["format"] == "json" else parsed["format"]
        sys.stdout.write(template.expand(form, {"Client": mine, "Server": server}) + "\n")
    else:
        sys.stdout.write(_client_text(mine) + (_server_text(server) if server else ""))
    if failure is None:
        return 0
    sys.stdout.flush()
    sys.stderr.write(f"{prefix(failure)}{failure}\n")
    return 1


def own() -> "dict[str, Any]":
    """What is true of this program."""
    from ketch.client import config_file, endpoint

    machine = os.uname().machine
    python = sys.version_info
    return {
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": f"python{python.major}.{python.minor}.{python.micro}",
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "BuildTime": "",
        "Context": endpoint.context_name(config_file.load()),
    }


def _client_text(mine: "dict[str, Any]") -> str:
    return (
        "Client: ketch\n"
        f" Version:           {mine['Version']}\n"
        f" API version:       {mine['ApiVersion']}\n"
        f" Python version:    {mine['GoVersion'].removeprefix('python')}\n"
        f" OS/Arch:           {mine['Os']}/{mine['Arch']}\n"
        f" Context:           {mine['Context']}\n"
    )


def _server_text(server: "dict[str, Any]") -> str:
    rows = [
        f"\nServer: {(server.get('Platform') or {}).get('Name', '')}\n Engine:",
        f"  Version:          {server['Version']}",
        f"  API version:      {server['ApiVersion']} (minimum version {server['MinAPIVersion']})",
        f"  Go version:       {server.get('GoVersion', '')}",
        f"  OS/Arch:          {server['Os']}/{server['Arch']}",
        f"  Kernel:           {server['KernelVersion']}",
        f"  Experimental:     {str(bool(server.get('Experimental'))).lower()}",
    ]
    for component in server.get("Components") or ():
        if component["Name"] != "Engine":
            rows.append(f" {component['Name']}:\n  Version:          {component['Version']}")
    return "\n".join(rows) + "\n"
