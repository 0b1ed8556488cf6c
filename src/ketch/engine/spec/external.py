"""An OCI configuration of ours as runtimes of others take it (pure)."""

from __future__ import annotations

from typing import Any

from ketch.runtime.seccomp.oci_format import write_seccomp
from ketch.runtime.seccomp.rules import Profile

# The release of the specification that runtimes of the last years know; nothing newer is used.
_VERSION = "1.0.2"


def external_config(config: dict[str, Any], profile: Profile | None) -> dict[str, Any]:
    """``config`` without what only newer runtimes know, and with its seccomp profile.

    Time namespaces came with OCI 1.1, as ``domainname`` did: it is set as Docker does it for them,
    by sysctl.
    """
    linux = dict(config["linux"])
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "time"]
    own_name = any(entry["type"] == "uts" for entry in linux["namespaces"])
    if config.get("domainname") and own_name:
        linux["sysctl"] = {**linux["sysctl"], "kernel.domainname": config["domainname"]}
    if profile is not None:
        linux["seccomp"] = write_seccomp(profile)
    dropped = ("domainname",) if own_name else ("domainname", "hostname")
    rest = {key: value for key, value in config.items() if key not in dropped}
    return {**rest, "ociVersion": _VERSION, "linux": linux}
