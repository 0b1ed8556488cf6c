"""URLs of git repositories, as ADD, build contexts and named contexts take them.

``https://host/repo.git#ref:directory``, or with a query ``?branch=|tag=|ref=&subdir=&checksum=
&keep-git-dir=&submodules=`` (Dockerfile reference, "ADD"; docs.docker.com, "Build context").
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ketch.build.contexts.accounts import without_account
from ketch.build.dockerfile.source import did_you_mean
from ketch.errors import InvalidParameter

_GIT = re.compile(
    r"(?:[a-zA-Z0-9_.-]+@[a-zA-Z0-9_.-]+:|git://|ssh://|github\.com/)|"
    r"https?://[^#?]*\.git(?:[#?].*)?$",
    re.IGNORECASE,
)
_SCP = re.compile(r"([a-zA-Z0-9_.-]+)@([a-zA-Z0-9_.-]+):(?!//)(.+)", re.DOTALL)
_BAD_REF = re.compile(r"^[-+]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock$|[/.]$")
_CHECKSUM = re.compile(r"[0-9a-f]{1,64}")
_REFS = {"ref": "", "branch": "refs/heads/", "tag": "refs/tags/"}
_QUERY = (*_REFS, "subdir", "checksum", "commit", "keep-git-dir", "submodules")
_SWITCH = {"": True, "1": True, "true": True, "0": False, "false": False}


class GitRemote(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` is one, or ssh's ``user@host:path``, which begins at the user's home. ``ref`` is a
    branch, a tag, a full name or a commit; empty means the default branch.

    ``subdir`` is a directory of the repository; ``checksum`` a commit that must be what is there.
    ``known_hosts`` are keys of hosts as ssh has them; "" leaves them to the client's secret.
    """

    url: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    known_hosts: str = ""

    @property
    def is_ssh(self) -> bool:
        """Whether it is reached by ssh."""
        return self.url.startswith("ssh://") or _SCP.fullmatch(self.url) is not None

    @property
    def host(self) -> str:
        """The host's name."""
        match = _SCP.fullmatch(self.url)
        return match[2] if match else urlsplit(self.url).hostname or ""


def is_git(url: str) -> bool:
    """Whether a URL names a repository."""
    return bool(_GIT.match(url))


def parse_remote(text: str, *, checksum: str = "", keep_git_dir: bool = False) -> GitRemote:
    """Raises ``InvalidParameter`` for what git must never be told."""
    address, _, fragment = text.partition("#")
    ref, _, subdir = fragment.partition(":")
    asked: dict[str, str] = {}
    if "?" in address and not _SCP.fullmatch(address):
        address, _, query = address.partition("?")
        asked = _query(query)
    if asked and fragment:
        raise InvalidParameter(f"{without_account(text)}: give the ref by ?… or by #…, not by both")
    for key, prefix in _REFS.items():
        ref = prefix + asked[key] if asked.get(key) else ref
    remote = GitRemote(
        url=_address(address),
        ref=ref,
        subdir=asked.get("subdir", subdir),
        checksum=checksum or asked.get("checksum", "") or asked.get("commit", ""),
        keep_git_dir=keep_git_dir or _switch(asked, "keep-git-dir", default=False),
        submodules=_switch(asked, "submodules", default=True),
    )
    _check(remote)
    return remote


def _query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _QUERY:
            hint = did_you_mean(key, _QUERY)
            raise InvalidParameter(f"unexpected query {key!r} in a git URL{hint}")
        if key in found or (key in _REFS and found.keys() & _REFS.keys()):
            raise InvalidParameter(f"a git URL can have only one of {', '.join(_REFS)}")
        found[key] = value
    return found


def _switch(asked: dict[str, str], name: str, *, default: bool) -> bool:
    if name not in asked:
        return default
    value = _SWITCH.get(asked[name].lower())
    if value is None:
        raise InvalidParameter(f"{name}={asked[name]} in a git URL: write true or false")
    return value


def _address(address: str) -> str:
    if address.lower().startswith("github.com/"):
        return f"https://{address}"
    return address


def _check(remote: GitRemote) -> None:
    shown = without_account(remote.url)
    if match := _SCP.fullmatch(remote.url):
        user, host, port = match[1], match[2], None
    else:
        user, host, port = _parts(remote)
    if not host or host.startswith("-") or user.startswith("-") or port == 0:
        raise InvalidParameter(f"invalid git URL {shown!r}: its host can't be one")
    if any(c.isspace() or not c.isprintable() for c in remote.url):
        raise InvalidParameter(f"invalid git URL {shown!r}: it has blanks")
    if remote.ref and _BAD_REF.search(remote.ref):
        raise InvalidParameter(f"invalid git ref {remote.ref!r}")
    if "\0" in remote.subdir or ".." in remote.subdir.split("/"):
        raise InvalidParameter(f"invalid subdirectory {remote.subdir!r} of a git repository")
    if remote.checksum and not _CHECKSUM.fullmatch(remote.checksum):
        raise InvalidParameter(f"invalid git checksum {remote.checksum!r}: give the commit's hash")


def _parts(remote: GitRemote) -> tuple[str, str, int | None]:
    """User, host and port of a URL."""
    shown = without_account(remote.url)
    try:
        parts = urlsplit(remote.url)
        found = parts.username or "", parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidParameter(f"invalid git URL {shown!r}: {error}") from None
    if parts.scheme not in ("http", "https", "ssh", "git"):
        raise InvalidParameter(f"git URL {shown!r}: use https, http, ssh or git")
    return found
