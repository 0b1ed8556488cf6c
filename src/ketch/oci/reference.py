"""Image references by Docker's grammar: ``[domain[:port]/]path[:tag][@digest]``.

Source: the grammar of github.com/distribution/reference, and its normalisation of familiar names
(``busybox`` is ``docker.io/library/busybox``).
"""

from __future__ import annotations

import re

import msgspec

from ketch.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_LIBRARY = "library/"
_LONGEST_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_TAG_FORM = re.compile(_TAG)
_HEX_64 = re.compile(r"[a-f0-9]{64}")
_KNOWN_DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference(msgspec.Struct, frozen=True, order=True):
    """A normalised reference; ``tag`` and ``digest`` are empty when not given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``docker.io/library/busybox``: without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """``busybox``: the name as people write it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_LIBRARY)
        return self.path if "/" in rest else rest

    @property
    def familiar(self) -> str:
        """``busybox:1``: with what is given of tag and digest."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> Reference:
        """Itself, with ``latest`` when it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return self.with_tag(DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The name with this tag and no digest."""
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: str) -> Reference:
        """The name with this digest and no tag."""
        return Reference(self.domain, self.path, "", digest)


def parse(text: str) -> Reference:
    """Parse a familiar or a full reference.

    Raises ``InvalidParameter`` in Docker's words, such as ``invalid reference format: repository
    name (library/BAD) must be lowercase``.
    """
    if _HEX_64.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(text)
    path = rest.partition("@")[0].partition(":")[0]
    if path.lower() != path:
        raise InvalidParameter(
            f"invalid reference format: repository name ({path}) must be lowercase"
        )
    match = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if match is None:
        raise InvalidParameter("invalid reference format")
    if len(match["path"]) > _LONGEST_PATH:
        raise InvalidParameter(f"repository name must not be more than {_LONGEST_PATH} characters")
    digest = match["digest"] or ""
    _check_digest(digest)
    return Reference(match["domain"], match["path"], match["tag"] or "", digest)


def check_tag(tag: str) -> str:
    """``tag`` itself; raises ``InvalidParameter`` when it is none."""
    if not _TAG_FORM.fullmatch(tag):
        raise InvalidParameter("invalid tag format")
    return tag


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_domain = slash and (
        any(mark in first for mark in ".:") or first == "localhost" or first.lower() != first
    )
    if not is_domain:
        first, rest = DEFAULT_DOMAIN, text
    if first == _LEGACY_DOMAIN:
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _LIBRARY + rest
    return first, rest


def _check_digest(digest: str) -> None:
    if not digest:
        return
    algorithm, _, digits = digest.partition(":")
    if algorithm not in _KNOWN_DIGESTS:
        raise InvalidParameter("invalid reference format: unsupported digest algorithm")
    if len(digits) != _KNOWN_DIGESTS[algorithm] or digits.lower() != digits:
        raise InvalidParameter("invalid reference format: invalid checksum digest length")
