"""``ketch info``: what the engine says of itself, and this program of itself."""

import sys

from ketch.cli import units
from ketch.cli.flags import Flag, count, parse
from ketch.cli.version import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (Flag("format", "f", "text", "Format output using a template, or json", ""),)
HELP = {"info": ("[OPTIONS]", FLAGS)}
BEFORE = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
)
DRIVERS = (
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
)
MACHINE = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"),
    ("Debug Mode", "Debug"),
    ("HTTP Proxy", "HttpProxy"),
    ("HTTPS Proxy", "HttpsProxy"),
    ("No Proxy", "NoProxy"),
    ("Experimental", "ExperimentalBuild"),
    ("Live Restore Enabled", "LiveRestoreEnabled"),
)
LEFT_OUT_EMPTY = ("HttpProxy", "HttpsProxy", "NoProxy")


def info(client: "Client", argv: "list[str]") -> int:
    """What the engine says of itself."""
    parsed = parse(FLAGS, argv)
    count(parsed, "info", 0)
    mine = own()
    if parsed["format"]:
        return _formatted(client, parsed["format"], mine)
    sys.stdout.write(
        f"Client: ketch\n Version:    {mine['Version']}\n Context:    {mine['Context']}\n"
        " Debug Mode: false\n\nServer:\n"
    )
    sys.stdout.flush()
    answer = client.call("GET", "/info")
    sys.stdout.write("\n".join(f" {line}" for line in lines(answer)) + "\n\n")
    sys.stdout.flush()
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"{warning}\n")
    return 0


def _formatted(client: "Client", form: str, mine: "dict[str, Any]") -> int:
    from ketch.cli import template

    text = "{{json .}}" if form == "json" else form
    fill = template.compiled(text, code=template.BAD_TEMPLATE)
    whole = {**client.call("GET", "/info"), "ClientInfo": {"Debug": False, **mine, "Plugins": []}}
    sys.stdout.write(fill(whole) + "\n")
    return 0


def lines(answer: "dict[str, Any]") -> "list[str]":
    """The engine's part, in docker's order."""
    out = _rows(answer, BEFORE)
    out += [f" {name}: {text}" for name, text in answer.get("DriverStatus") or ()]
    out += _rows(answer, DRIVERS)
    plugins = answer.get("Plugins") or {}
    out.append("Plugins:")
    out += [
        f" {kind}: {' '.join(plugins.get(kind) or ())}" for kind in ("Volume", "Network", "Log")
    ]
    if answer.get("CDISpecDirs"):
        out += ["CDI spec directories:", *[f" {path}" for path in answer["CDISpecDirs"]]]
    out.append(f"Swarm: {(answer.get('Swarm') or {}).get('LocalNodeState', 'inactive')}")
    out.append(f"Runtimes: {' '.join(sorted(answer.get('Runtimes') or {}))}")
    out.append(f"Default Runtime: {answer.get('DefaultRuntime', '')}")
    if answer.get("InitBinary"):
        out.append(f"Init Binary: {answer['InitBinary']}")
    out += _security(answer.get("SecurityOptions") or [])
    out += _rows(answer, MACHINE)
    if answer.get("Labels"):
        out += ["Labels:", *[f" {label}" for label in answer["Labels"]]]
    return out + _registries(answer.get("RegistryConfig") or {})


def _rows(answer: "dict[str, Any]", rows: "tuple[tuple[str, str], ...]") -> "list[str]":
    out = []
    for label, key in rows:
        value = answer.get(key)
        if key in LEFT_OUT_EMPTY and not value:
            continue
        if key == "MemTotal":
            value = units.binary_size(value or 0)
        out.append(f"{label}: {str(value).lower() if isinstance(value, bool) else value}")
    return out


def _security(options: "list[str]") -> "list[str]":
    if not options:
        return []
    out = ["Security Options:"]
    for option in options:
        for word in option.split(","):
            key, _, value = word.partition("=")
            if key == "name":
                out.append(f" {value}")
            else:
                out.append(f"  {key.capitalize()}: {value}")
    return out


def _registries(config: "dict[str, Any]") -> "list[str]":
    insecure = [
        name for name, entry in (config.get("IndexConfigs") or {}).items() if not entry["Secure"]
    ] + list(config.get("InsecureRegistryCIDRs") or ())
    out = []
    if insecure:
        out += ["Insecure Registries:", *[f" {name}" for name in insecure]]
    if config.get("Mirrors"):
        out += ["Registry Mirrors:", *[f" {name}" for name in config["Mirrors"]]]
    return out
