"""From the flags of ``run`` to the body of POST /containers/create."""

import os

from ketch.cli import create_host, ports
from ketch.cli.environment import environment, labels
from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

REFUSED = {
    "cpu-count": "it is for Windows containers",
    "cpu-percent": "it is for Windows containers",
    "io-maxbandwidth": "it is for Windows containers",
    "io-maxiops": "it is for Windows containers",
    "link-local-ip": "networks give no further link-local addresses",
}


def build(parsed: "Parsed", image: str, command: "list[str]") -> "dict[str, Any]":
    """The whole body; raises ``UsageError`` for values that make no sense."""
    if not image:
        raise UsageError("invalid reference format")
    _refuse(parsed)
    exposed, bindings = ports.of_flags(parsed["publish"], parsed["expose"])
    binds, volumes = _volumes(parsed["volume"])
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Hostname": parsed["hostname"],
        "Domainname": parsed["domainname"],
        "User": parsed["user"],
        "Env": environment(parsed["env"], parsed["env-file"]),
        "Labels": labels(parsed["label"], parsed["label-file"]),
        "WorkingDir": parsed["workdir"],
        "Tty": parsed["tty"],
        "OpenStdin": parsed["interactive"],
        "StopSignal": parsed["stop-signal"],
        "ExposedPorts": exposed,
        "Volumes": volumes,
    }
    body.update(_attached(parsed))
    if parsed["entrypoint"] is not None:
        body["Entrypoint"] = [parsed["entrypoint"]] if parsed["entrypoint"] else [""]
    if parsed["stop-timeout"] is not None:
        body["StopTimeout"] = parsed["stop-timeout"]
    if any(name.startswith("health-") or name == "no-healthcheck" for name in parsed.given):
        from ketch.cli import health_flags

        health_flags.add(body, parsed)
    body["HostConfig"] = create_host.build(parsed, bindings, binds)
    networking = _networking(parsed)
    if networking:
        body["NetworkingConfig"] = {"EndpointsConfig": networking}
    return body


def _refuse(parsed: "Parsed") -> None:
    """Flags that docker has and we do not honour."""
    for name in parsed.given & REFUSED.keys():
        raise UsageError(f"--{name} is not supported: {REFUSED[name]}")
    if not parsed["disable-content-trust"]:
        raise UsageError(
            "--disable-content-trust=false is not supported: signatures are not checked;"
            " name the image by its digest instead"
        )


def _networking(parsed: "Parsed") -> "dict[str, Any]":
    flags = ("network", "network-alias", "ip", "ip6", "mac-address", "link")
    if parsed.given.isdisjoint(flags):
        return {}
    if parsed["mac-address"]:
        _check_mac(parsed["mac-address"])
    from ketch.cli import network_flag

    return network_flag.endpoints(parsed)


def _check_mac(text: str) -> None:
    words = text.replace("-", ":").split(":")
    good = len(words) == 6 and all(
        len(word) == 2 and set(word.lower()) <= set("0123456789abcdef") for word in words
    )
    if not good:
        raise UsageError(f"{text} is not a valid mac address")


def _attached(parsed: "Parsed") -> "dict[str, bool]":
    """Which streams the client attaches (docker run's rules for -a, -d and -i)."""
    wanted = set(parsed["attach"])
    if parsed.values.get("detach"):
        wanted = set()
    elif not wanted:
        wanted = {"stdout", "stderr"} | ({"stdin"} if parsed["interactive"] else set())
    return {
        "AttachStdin": "stdin" in wanted,
        "AttachStdout": "stdout" in wanted,
        "AttachStderr": "stderr" in wanted,
        "StdinOnce": "stdin" in wanted and parsed["interactive"],
    }


def _volumes(words: "list[str]") -> "tuple[list[str], dict[str, Any]]":
    """Binds (``-v`` with a source; relative paths made whole) and anonymous volumes."""
    binds: list[str] = []
    volumes: dict[str, Any] = {}
    for text in words:
        source, colon, rest = text.partition(":")
        if not text:
            raise UsageError("invalid empty volume spec")
        if not source:
            raise UsageError(f"invalid spec: {text}: empty section between colons")
        if not colon:
            volumes[text] = {}
        elif source.startswith((".", "~")):
            binds.append(os.path.abspath(os.path.expanduser(source)) + ":" + rest)
        else:
            binds.append(text)
    return binds, volumes
