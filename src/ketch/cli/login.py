"""``ketch login`` and ``ketch logout``: credentials are checked by the engine and kept here."""

import os
import sys

from ketch.cli import credentials
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import KetchError, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

LOGIN_FLAGS = (
    Flag("password", "p", "text", "Password or Personal Access Token (PAT)", ""),
    Flag("password-stdin", "", "switch", "Take the password from stdin"),
    Flag("username", "u", "text", "Username", ""),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "login": ("[OPTIONS] [SERVER]", LOGIN_FLAGS),
    "logout": ("[SERVER]", ()),
}


def login(client: "Client", argv: "list[str]") -> int:
    """Check credentials against a registry and keep them."""
    parsed = parse(LOGIN_FLAGS, argv)
    if len(parsed.words) > 1:
        raise UsageError("'ketch login' accepts at most 1 argument")
    registry = credentials.key_of(parsed.words[0] if parsed.words else "")
    user, password = parsed["username"], parsed["password"]
    if "password" in parsed.given:
        sys.stderr.write(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
        )
    if parsed["password-stdin"]:
        password = _from_stdin(parsed["username"], "password" in parsed.given)
    if not user and not password and _known(client, registry):
        return 0
    user = user or _asked("Username: ", registry)
    if not password:
        from getpass import getpass

        _needs_terminal()
        password = getpass("Password: ")
    if not password:
        raise UsageError("password is empty")
    entry = {"username": user, "password": password, "serveraddress": registry}
    answer = client.call("POST", "/auth", body=entry)
    if token := answer.get("IdentityToken"):
        entry = {"username": user, "identitytoken": token, "serveraddress": registry}
    _keep(registry, entry)
    sys.stdout.write(f"{answer.get('Status', 'Login Succeeded')}\n")
    return 0


def _from_stdin(user: str, password_given: bool) -> str:
    if password_given:
        raise UsageError("--password and --password-stdin are mutually exclusive")
    if not user:
        raise UsageError("Must provide --username with --password-stdin")
    return sys.stdin.read().rstrip("\r\n")


def _known(client: "Client", registry: str) -> bool:
    """Try what is kept already; whether it is still good."""
    entry = credentials.find(registry)
    if not entry:
        return False
    sys.stdout.write("Authenticating with existing credentials...\n")
    sys.stdout.flush()
    try:
        answer = client.call("POST", "/auth", body=entry)
    except Unauthorized as error:
        sys.stderr.write(f"Stored credentials invalid or expired: {error}\n")
        return False
    sys.stdout.write(f"{answer.get('Status', 'Login Succeeded')}\n")
    return True


def _asked(prompt: str, registry: str) -> str:
    _needs_terminal()
    sys.stderr.write(f"Log in to {registry}.\n")
    user = input(prompt).strip()
    if not user:
        raise UsageError("username is empty")
    return user


def _needs_terminal() -> None:
    if not os.isatty(0):
        raise KetchError("cannot perform an interactive login from a non TTY device")


def _keep(registry: str, entry: "dict[str, str]") -> None:
    path = credentials.store(registry, entry)
    if path:
        sys.stderr.write(
            f"\nWARNING! Your credentials are stored unencrypted in '{path}'.\n"
            "Configure a credential helper (credsStore) to remove this warning.\n\n"
        )


def logout(client: "Client", argv: "list[str]") -> int:
    """Forget the credentials of a registry."""
    words = parse((), argv).words
    if len(words) > 1:
        raise UsageError("'ketch logout' accepts at most 1 argument")
    registry = credentials.key_of(words[0] if words else "")
    name = words[0] if words else registry
    sys.stdout.write(f"Removing login credentials for {name}\n")
    credentials.erase(registry)
    return 0
