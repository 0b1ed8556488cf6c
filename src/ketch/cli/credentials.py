"""Registry credentials as ``docker login`` keeps them in ``~/.docker/config.json``.

Entries under ``auths`` are base64 of ``user:password``. Credential helpers (``credsStore``,
``credHelpers``) are programs on PATH that speak one JSON object on stdout.
"""

import os

from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DOCKER_HUB = "https://index.docker.io/v1/"


def registry_of(image: str) -> str:
    """The key of the image's registry in ``auths``."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB if first in ("docker.io", "index.docker.io") else first
    return DOCKER_HUB


def header_for(image: str) -> str:
    """The value of X-Registry-Auth for an image name, or empty without credentials."""
    config = _config()
    registry = registry_of(image)
    entry = _from_helper(config, registry) or _from_file(config, registry)
    if not entry:
        return ""
    import base64

    return base64.urlsafe_b64encode(fastjson.dumps(entry)).decode()


def _config() -> "dict[str, Any]":
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), "rb") as file:
            config = fastjson.loads(file.read())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _from_file(config: "dict[str, Any]", registry: str) -> "dict[str, str]":
    entry = (config.get("auths") or {}).get(registry) or {}
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"], "serveraddress": registry}
    if not entry.get("auth"):
        return {}
    import base64

    user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return {"username": user, "password": password, "serveraddress": registry}


def _from_helper(config: "dict[str, Any]", registry: str) -> "dict[str, str]":
    helper = (config.get("credHelpers") or {}).get(registry) or config.get("credsStore")
    if not helper:
        return {}
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=registry.encode(),
            capture_output=True,
            timeout=30,
            check=True,
        )
        answer: Any = fastjson.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    if answer.get("Username") == "<token>":
        return {"identitytoken": answer["Secret"], "serveraddress": registry}
    return {
        "username": answer["Username"],
        "password": answer["Secret"],
        "serveraddress": registry,
    }
