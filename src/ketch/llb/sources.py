"""Sources of build graphs: names and attributes to values (solver/pb/attr.go of BuildKit)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote, urlsplit

from ketch.errors import InvalidParameter, Unsupported
from ketch.llb.messages import SourceOp
from ketch.llb.vertices import (
    FailureSource,
    GitSource,
    HttpSource,
    ImageSource,
    LayoutSource,
    LocalSource,
    ResultSource,
    Source,
)
from ketch.oci.digest import is_digest

RESULT, FAILURE = "ketch-result", "ketch-failure"
CONFIG, LAYERS = "ketch.config", "ketch.layers"
_MODES = {"": False, "default": False, "local": False, "pull": True}
_HINTS = {
    "docker-image": ("image.recordtype",),
    "local": ("local.unique", "local.sharedkeyhint", "local.differ"),
}
"""Attributes that change nothing about what a source is."""

_GIT_NAMES = {"git.authtokensecret": "GIT_AUTH_TOKEN", "git.authheadersecret": "GIT_AUTH_HEADER"}
_SWITCHES = {"": False, "false": False, "0": False, "true": True, "1": True}
_LARGEST_ID = (1 << 32) - 2


def source(op: SourceOp) -> Source:
    """Raises ``InvalidParameter``, and ``Unsupported`` naming a kind of source or an attribute."""
    scheme, mark, rest = op.identifier.partition("://")
    if not mark or "\0" in op.identifier:
        raise InvalidParameter(f"invalid source {op.identifier!r:.200}")
    read = _READERS.get(scheme)
    if read is None:
        raise Unsupported(f"the source {op.identifier!r:.200} is of a kind that is not supported")
    return read(rest, _Attributes(op, scheme))


class _Attributes:
    """Those of one source; each is read once, what is left is refused by name."""

    def __init__(self, op: SourceOp, scheme: str) -> None:
        self.identifier = op.identifier
        self._left = {k: v for k, v in op.attrs.items() if k not in _HINTS.get(scheme, ())}

    def take(self, name: str) -> str:
        return self._left.pop(name, "")

    def words(self, name: str) -> tuple[str, ...]:
        """A list in JSON."""
        text = self.take(name)
        try:
            found = json.loads(text) if text else []
        except (ValueError, RecursionError):
            found = None
        if found is None and text == "null":
            return ()
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise self.wrong(name, text)
        return tuple(found)

    def switch(self, name: str) -> bool:
        text = self.take(name)
        if text not in _SWITCHES:
            raise self.wrong(name, text)
        return _SWITCHES[text]

    def number(self, name: str, base: int, default: int) -> int:
        text = self.take(name)
        if not text:
            return default
        try:
            found = int(text, base) if re.fullmatch("[0-9]+", text) else -1
        except ValueError:
            found = -1
        if not 0 <= found <= _LARGEST_ID:
            raise self.wrong(name, text)
        return found

    def only(self, name: str, known: Collection[str]) -> None:
        """It says what is done anyway."""
        text = self.take(name)
        if text and text not in known:
            raise Unsupported(f"{name}={text!r:.100} of the source {self.shown} is not supported")

    def wrong(self, name: str, text: str) -> InvalidParameter:
        return InvalidParameter(f"{name}={text!r:.100} of the source {self.shown} is malformed")

    @property
    def shown(self) -> str:
        return f"{self.identifier:.200}"

    def end(self) -> None:
        for name in self._left:
            raise Unsupported(f"{name!r:.100} of the source {self.shown} is not supported")


def _image(rest: str, attrs: _Attributes) -> Source:
    mode = attrs.take("image.resolvemode")
    if mode not in _MODES:
        raise attrs.wrong("image.resolvemode", mode)
    attrs.end()
    return ImageSource(reference=rest, pull=_MODES[mode])


def _local(rest: str, attrs: _Attributes) -> Source:
    found = LocalSource(
        name=rest,
        session=attrs.take("local.session"),
        includes=attrs.words("local.includepattern"),
        excludes=attrs.words("local.excludepatterns"),
        follow=attrs.words("local.followpaths"),
    )
    attrs.end()
    return found


def _git(rest: str, attrs: _Attributes) -> Source:
    for name, secret in _GIT_NAMES.items():
        attrs.only(name, {secret})
    attrs.only("git.mountsshsock", {"default"})
    fragment = rest.partition("#")[2]
    address = attrs.take("git.fullurl") or f"https://{rest.partition('#')[0]}"
    found = GitSource(
        url=f"{address}#{fragment}" if fragment else address,
        checksum=attrs.take("git.checksum"),
        keep_git_dir=attrs.switch("git.keepgitdir"),
        known_hosts=attrs.take("git.knownsshhosts"),
    )
    attrs.end()
    return found


def _http(rest: str, attrs: _Attributes) -> Source:
    name = attrs.take("http.filename")
    try:
        name = name or unquote(urlsplit(attrs.identifier).path).rstrip("/").rpartition("/")[2]
    except ValueError as error:
        raise InvalidParameter(f"invalid URL {attrs.shown}: {error}") from None
    name = name or "download"
    if "/" in name or "\0" in name or name in (".", ".."):
        raise attrs.wrong("http.filename", name)
    checksum = attrs.take("http.checksum")
    if checksum and not is_digest(checksum):
        raise attrs.wrong("http.checksum", checksum)
    found = HttpSource(
        url=attrs.identifier,
        filename=name,
        checksum=checksum,
        mode=attrs.number("http.perm", 8, 0o600) & 0o777,
        uid=attrs.number("http.uid", 10, 0),
        gid=attrs.number("http.gid", 10, 0),
    )
    attrs.end()
    return found


def _layout(rest: str, attrs: _Attributes) -> Source:
    name, mark, digest = rest.partition("@")
    store = attrs.take("oci.store") or name.rpartition("/")[2].partition(":")[0]
    attrs.take("oci.session")
    attrs.end()
    if not mark or not is_digest(digest):
        raise InvalidParameter(f"the source {attrs.shown} has no digest")
    return LayoutSource(value=f"oci-layout://{store}@{digest}")


def _result(rest: str, attrs: _Attributes) -> Source:
    layers = tuple(filter(None, attrs.take(LAYERS).split(",")))
    config = attrs.take(CONFIG).encode("utf-8", "surrogateescape")
    attrs.end()
    try:
        is_object = isinstance(json.loads(config), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object or not all(map(is_digest, layers)):
        raise InvalidParameter(f"{attrs.identifier!r:.200} is no result of a build")
    return ResultSource(config=config, layers=layers)


def _failure(rest: str, attrs: _Attributes) -> Source:
    attrs.end()
    return FailureSource(name=rest)


_READERS = {
    "docker-image": _image,
    "local": _local,
    "git": _git,
    "http": _http,
    "https": _http,
    "oci-layout": _layout,
    RESULT: _result,
    FAILURE: _failure,
}


def result_source(name: str, config: bytes, layers: Collection[str]) -> SourceOp:
    """The source that stands for what a build came to."""
    attrs: Mapping[str, str] = {CONFIG: config.decode(), LAYERS: ",".join(layers)}
    return SourceOp(identifier=f"{RESULT}://{name}", attrs=dict(attrs))
