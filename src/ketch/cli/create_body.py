"""From the flags of ``run`` to the body of POST /containers/create."""

import os

from ketch.cli import mount_flag, ports
from ketch.cli.flags import UsageError
from ketch.cli.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed


def build(parsed: "Parsed", image: str, command: "list[str]") -> "dict[str, Any]":
    """The whole body; raises ``UsageError`` for values that make no sense."""
    exposed, bindings = ports.of_flags(parsed["publish"], parsed["expose"])
    binds, volumes = _volumes(parsed)
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Hostname": parsed["hostname"],
        "Domainname": parsed["domainname"],
        "User": parsed["user"],
        "Env": environment(parsed["env"], parsed["env-file"]),
        "Labels": _labels(parsed["label"], parsed["label-file"]),
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
    body["HostConfig"] = _host_config(parsed, bindings, binds)
    networking = _networking(parsed)
    if networking:
        body["NetworkingConfig"] = {"EndpointsConfig": networking}
    return body


def _attached(parsed: "Parsed") -> "dict[str, bool]":
    """Which streams the client attaches (docker run's rules for -a, -d and -i)."""
    wanted = {word.lower() for word in parsed["attach"]}
    if wanted - {"stdin", "stdout", "stderr"}:
        raise UsageError(
            "invalid argument for -a, --attach: valid streams are STDIN, STDOUT and STDERR"
        )
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


def _host_config(
    parsed: "Parsed", bindings: "dict[str, Any]", binds: "list[str]"
) -> "dict[str, Any]":
    name, _, retries = parsed["restart"].partition(":")
    networks = [word.partition(",")[0] for word in parsed["network"]]
    host: dict[str, Any] = {
        "Binds": binds,
        "PortBindings": bindings,
        "PublishAllPorts": parsed["publish-all"],
        "NetworkMode": networks[0] if networks else "default",
        "RestartPolicy": {"Name": name, "MaximumRetryCount": _number(retries or "0", "restart")},
        "AutoRemove": parsed["rm"],
        "Privileged": parsed["privileged"],
        "ReadonlyRootfs": parsed["read-only"],
        "CapAdd": parsed["cap-add"],
        "CapDrop": parsed["cap-drop"],
        "SecurityOpt": parsed["security-opt"],
        "GroupAdd": parsed["group-add"],
        "Dns": parsed["dns"],
        "DnsOptions": parsed["dns-option"],
        "DnsSearch": parsed["dns-search"],
        "ExtraHosts": parsed["add-host"],
        "VolumesFrom": parsed["volumes-from"],
        "PidMode": parsed["pid"],
        "IpcMode": parsed["ipc"],
        "UTSMode": parsed["uts"],
        "UsernsMode": parsed["userns"],
        "CgroupnsMode": parsed["cgroupns"],
        "CgroupParent": parsed["cgroup-parent"],
        "Runtime": parsed["runtime"],
        "Isolation": parsed["isolation"],
        "OomScoreAdj": parsed["oom-score-adj"],
        "Mounts": [mount_flag.parse(text) for text in parsed["mount"]],
        "Tmpfs": dict(_pair(text, ":") for text in parsed["tmpfs"]),
        "Sysctls": dict(_pair(text, "=") for text in parsed["sysctl"]),
        "Ulimits": [_ulimit(text) for text in parsed["ulimit"]],
        "Devices": [_device(text) for text in parsed["device"]],
        "LogConfig": {
            "Type": parsed["log-driver"],
            "Config": dict(_pair(text, "=") for text in parsed["log-opt"]),
        },
    }
    if parsed["init"]:
        host["Init"] = True
    if parsed["shm-size"]:
        host["ShmSize"] = parse_size(parsed["shm-size"], "shm-size")
    host.update(_limits(parsed))
    return host


def _limits(parsed: "Parsed") -> "dict[str, Any]":
    limits: dict[str, Any] = {
        "CpuShares": parsed["cpu-shares"],
        "CpuPeriod": parsed["cpu-period"],
        "CpuQuota": parsed["cpu-quota"],
        "CpusetCpus": parsed["cpuset-cpus"],
        "CpusetMems": parsed["cpuset-mems"],
    }
    if parsed["pids-limit"]:
        limits["PidsLimit"] = parsed["pids-limit"]
    if parsed["cpus"]:
        try:
            limits["NanoCpus"] = round(float(parsed["cpus"]) * 1e9)
        except ValueError:
            raise UsageError(f'invalid argument "{parsed["cpus"]}" for "--cpus" flag') from None
    for flag, key in (("memory", "Memory"), ("memory-reservation", "MemoryReservation")):
        if parsed[flag]:
            limits[key] = parse_size(parsed[flag], flag)
    if parsed["memory-swap"]:
        swap = parsed["memory-swap"]
        limits["MemorySwap"] = -1 if swap == "-1" else parse_size(swap, "memory-swap")
    return limits


def _volumes(parsed: "Parsed") -> "tuple[list[str], dict[str, Any]]":
    """Binds (``-v`` with a source; relative paths made whole) and anonymous volumes."""
    binds: list[str] = []
    volumes: dict[str, Any] = {}
    for text in parsed["volume"]:
        source, colon, rest = text.partition(":")
        if not colon:
            volumes[text] = {}
        elif source.startswith((".", "~")) or "/" in source:
            binds.append(os.path.abspath(os.path.expanduser(source)) + ":" + rest)
        else:
            binds.append(text)
    return binds, volumes


def _networking(parsed: "Parsed") -> "dict[str, Any]":
    """Endpoint settings per network: ``--ip``, ``--mac-address``, ``--network-alias``."""
    names = parsed["network"] or []
    for word in names:
        if "," in word or "=" in word:
            raise UsageError(f"--network {word}: only a network's name is supported here")
    settings: dict[str, Any] = {}
    if parsed["ip"]:
        settings["IPAMConfig"] = {"IPv4Address": parsed["ip"]}
    if parsed["mac-address"]:
        settings["MacAddress"] = parsed["mac-address"]
    if parsed["network-alias"]:
        settings["Aliases"] = parsed["network-alias"]
    if not settings and len(names) < 2:
        return {}
    first = names[0] if names else "bridge"
    return {first: settings, **{name: {} for name in names[1:]}}


def environment(given: "list[str]", files: "list[str]") -> "list[str]":
    """``-e`` over ``--env-file``; a bare name takes the caller's value, or nothing when unset."""
    words = [line for path in files for line in _lines(path, "env-file")] + given
    out = []
    for word in words:
        if "=" in word:
            out.append(word)
        elif word in os.environ:
            out.append(f"{word}={os.environ[word]}")
    return out


def _labels(given: "list[str]", files: "list[str]") -> "dict[str, str]":
    words = [line for path in files for line in _lines(path, "label-file")] + given
    return dict(_pair(word, "=") for word in words)


def _lines(path: str, flag: str) -> "list[str]":
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip("\r\n").lstrip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--{flag} {path}: {error}") from None
    return [line for line in lines if line and not line.startswith("#")]


def _pair(text: str, separator: str) -> "tuple[str, str]":
    key, _, value = text.partition(separator)
    return key, value


def _number(text: str, flag: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: not a number') from None


def _ulimit(text: str) -> "dict[str, Any]":
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    return {
        "Name": name,
        "Soft": _number(soft, "ulimit"),
        "Hard": _number(hard or soft, "ulimit"),
    }


def _device(text: str) -> "dict[str, str]":
    words = text.split(":")
    if len(words) == 1:
        source, target, mode = words[0], words[0], "rwm"
    elif len(words) == 2:
        is_mode = bool(words[1]) and set(words[1]) <= set("rwm")
        source, target, mode = (
            (words[0], words[0], words[1]) if is_mode else (words[0], words[1], "rwm")
        )
    elif len(words) == 3:
        source, target, mode = words
    else:
        raise UsageError(f"invalid device specification: {text}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}
