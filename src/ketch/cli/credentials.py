"""Registry credentials as ``docker login`` keeps them in ``config.json``.

Entries under ``auths`` are base64 of ``user:password``. Credential helpers (``credsStore``,
``credHelpers``) are programs ``docker-credential-NAME`` on PATH that take a verb, and speak JSON
on stdin and stdout.
"""

from ketch.client import config_file
from ketch.errors import KetchError
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = dict[str, str]

DOCKER_HUB = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"
_PATIENCE = 60  # seconds: a helper may ask its user


class HelperFailed(KetchError):
    """A credential helper is missing, failed or answered nonsense."""


def registry_of(image: str) -> str:
    """The key of the image's registry in ``auths``."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB if first in _HUB_NAMES else first
    return DOCKER_HUB


def key_of(server: str) -> str:
    """The key in ``auths`` of what a user calls a registry: a host, or a URL."""
    host = (server.partition("://")[2] or server).partition("/")[0]
    return DOCKER_HUB if not host or host in _HUB_NAMES else host


def header_for(image: str) -> str:
    """The value of X-Registry-Auth for an image name, or empty without credentials."""
    entry = find(registry_of(image))
    return encoded(entry) if entry else ""


def encoded(entry: "Entry") -> str:
    """An entry as a header's value."""
    import base64

    return base64.urlsafe_b64encode(fastjson.dumps(entry)).decode()


def find(registry: str) -> "Entry":
    """What is known for a registry: username and password or identitytoken, serveraddress; {}
    when nothing is. Raises ``HelperFailed``."""
    config = config_file.load()
    if helper := helper_of(config, registry):
        return _from_helper(helper, registry)
    return _from_file(config, registry)


def all_headers() -> str:
    """The value of X-Registry-Config: every registry's credentials, for builds. Empty if none."""
    found = every()
    return encoded(found) if found else ""  # type: ignore[arg-type]


def every() -> "dict[str, Entry]":
    """What is known for all registries; those whose helper fails are left out."""
    config = config_file.load()
    registries = {
        *config_file.mapping(config, "auths"),
        *config_file.mapping(config, "credHelpers"),
    }
    if store := str(config.get("credsStore") or ""):
        try:
            registries |= {str(name) for name in _ask(store, "list", b"")}
        except HelperFailed:
            pass  # a builder that needs none of them may go on
    found = {}
    for registry in sorted(registries):
        try:
            entry = find(registry)
        except HelperFailed:
            continue
        if entry:
            found[registry] = entry
    return found


def store(registry: str, entry: "Entry") -> str:
    """Keep credentials in the helper, or in the file; the path of the file if they went there."""
    config = config_file.load()
    helper = helper_of(config, registry)
    auths = config.setdefault("auths", {})
    if helper:
        user = _TOKEN_USER if entry.get("identitytoken") else entry.get("username", "")
        secret = entry.get("identitytoken") or entry.get("password", "")
        document = {"ServerURL": registry, "Username": user, "Secret": secret}
        _run(helper, "store", fastjson.dumps(document))
        auths[registry] = {}
    else:
        auths[registry] = file_entry(entry)
    config_file.save(config)
    return "" if helper else config_file.path()


def erase(registry: str) -> None:
    """Forget credentials."""
    config = config_file.load()
    auths = config_file.mapping(config, "auths")
    if helper := helper_of(config, registry):
        _run(helper, "erase", registry.encode())
    if auths.pop(registry, None) is not None:
        config_file.save(config)


def helper_of(config: "dict[str, Any]", registry: str) -> str:
    """The name of the helper for a registry; empty when the file itself holds the secrets."""
    helpers = config_file.mapping(config, "credHelpers")
    return str(helpers.get(registry) or config.get("credsStore") or "")


def file_entry(entry: "Entry") -> "dict[str, str]":
    """Credentials as ``auths`` holds them."""
    if token := entry.get("registrytoken"):
        return {"registrytoken": token}
    import base64

    pair = f"{entry.get('username', '')}:{entry.get('password', '')}"
    if token := entry.get("identitytoken"):
        user = base64.b64encode(f"{entry.get('username', '')}:".encode()).decode()
        return {"auth": user, "identitytoken": token}
    return {"auth": base64.b64encode(pair.encode()).decode()}


def _from_file(config: "dict[str, Any]", registry: str) -> "Entry":
    auths = config_file.mapping(config, "auths")
    entry = auths.get(registry) or _same_host(auths, registry)
    if not isinstance(entry, dict):
        return {}
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"], "serveraddress": registry}
    if entry.get("registrytoken"):
        return {"registrytoken": entry["registrytoken"], "serveraddress": registry}
    if not entry.get("auth"):
        return {}
    import base64

    try:
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except ValueError:
        raise KetchError(
            f"the credentials of {registry} in {config_file.path()} are malformed: log in again"
        ) from None
    return {"username": user, "password": password.rstrip("\0"), "serveraddress": registry}


def _same_host(auths: "dict[str, Any]", registry: str) -> "Any":
    """An entry whose key is a URL of the registry, as old versions wrote them."""
    return next((auths[key] for key in auths if key_of(key) == registry), None)


def _from_helper(helper: str, registry: str) -> "Entry":
    answer = _ask(helper, "get", registry.encode())
    user, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
    if not secret:
        return {}
    if user == _TOKEN_USER:
        return {"identitytoken": secret, "serveraddress": registry}
    return {"username": user, "password": secret, "serveraddress": registry}


def _ask(helper: str, verb: str, data: bytes) -> "dict[str, Any]":
    output = _run(helper, verb, data)
    try:
        answer = fastjson.loads(output or b"{}")
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise HelperFailed(f"docker-credential-{helper} {verb} answered nonsense")
    return answer


def _run(helper: str, verb: str, data: bytes) -> bytes:
    """The helper's output; {} when it has no credentials, which it says by failing."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=data, stdout=subprocess.PIPE, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HelperFailed(f"error getting credentials: {program}: {error}") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stdout.decode(errors="replace").strip()
    if "credentials not found" in said:
        return b"{}"
    raise HelperFailed(
        f"error getting credentials - err: exit status {done.returncode}, out: `{said}`"
    )
