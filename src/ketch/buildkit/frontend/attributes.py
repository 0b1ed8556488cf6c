"""Attributes of the Dockerfile front end to build options.

Source: BuildKit's docs/reference "dockerfile.v0" options and what ``docker buildx`` sends.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence

from ketch.build.request.attestations import parse_attestations
from ketch.build.request.exports import Export, flag_of
from ketch.build.request.options import BuildLimits, BuildOptions
from ketch.errors import InvalidParameter, Unsupported

_PLAIN = {
    *("filename", "target", "platform", "image-resolve-mode", "no-cache", "add-hosts"),
    *("force-network-mode", "shm-size", "ulimit", "cgroup-parent", "context", "contextkey"),
    *("dockerfilekey", "requestid", "cmdline", "source", "frontend.caps", "build-arg"),
    *("multi-platform", "cache-imports"),
}
"""Attributes with a meaning here, or (``cmdline``, ``frontend.caps``) with none for a result."""

_PREFIXES = (
    *("build-arg:", "label:", "context:", "vcs:", "localdir:", "input-metadata:", "attest:"),
    "local-sessionid:",
)
_UNTOLD = ("attest:", "input-metadata:", "local-sessionid:", "frontend.caps", "cache-imports")
_PASSWORD = re.compile(r"://[^/@\s]*@")
_REFUSED = ("hostname", "contextsubdir", "override-copy-image")


def build_options(
    attrs: Mapping[str, str], *, exports: tuple[Export, ...] = (), allow: Sequence[str] = ()
) -> BuildOptions:
    """Raises ``InvalidParameter`` or ``Unsupported`` naming the attribute."""
    _check(attrs)
    no_cache, stages = _no_cache(attrs)
    return BuildOptions(
        buildkit=True,
        dockerfile=attrs.get("filename") or "Dockerfile",
        tags=tuple(name for export in exports for name in export.names),
        exports=exports,
        target=attrs.get("target", ""),
        build_args=dict(_of(attrs, "build-arg:")),
        labels=_of(attrs, "label:"),
        vcs=_of(attrs, "vcs:"),
        no_cache=no_cache,
        no_cache_stages=stages,
        pull=attrs.get("image-resolve-mode") == "pull",
        network_mode=attrs.get("force-network-mode", ""),
        platform=attrs.get("platform", ""),
        as_index=flag_of(attrs, "multi-platform", False),
        extra_hosts=tuple(_hosts(attrs.get("add-hosts", ""))),
        limits=_limits(attrs),
        contexts=_of(attrs, "context:"),
        input_metadata=_of(attrs, "input-metadata:"),
        allow=tuple(allow),
        attestations=parse_attestations(_of(attrs, "attest:")),
        attributes=kept_attributes(attrs),
    )


def kept_attributes(attrs: Mapping[str, str]) -> dict[str, str]:
    """What the history may tell: no values of build arguments, no passwords of URLs."""
    return {
        name: "" if name.startswith("build-arg:") else _PASSWORD.sub("://xxxxx@", text)
        for name, text in attrs.items()
        if not name.startswith(_UNTOLD)
    }


def _check(attrs: Mapping[str, str]) -> None:
    for name in attrs:
        if name in _REFUSED or not (name in _PLAIN or name.startswith(_PREFIXES)):
            raise Unsupported(f"the option {name!r} of the Dockerfile front end is not supported")


def _of(attrs: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: text for name, text in attrs.items() if name.startswith(prefix)}


def _no_cache(attrs: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    """Empty: nothing from the cache; else the stages for which that holds."""
    if "no-cache" not in attrs:
        return False, ()
    stages = tuple(word for word in attrs["no-cache"].split(",") if word)
    return not stages, stages


def _hosts(text: str) -> list[str]:
    """``name=address`` in CSV, to the builder's ``name:address``."""
    if not text:
        return []
    try:
        (words,) = csv.reader([text])
    except (csv.Error, ValueError):
        raise InvalidParameter(f"add-hosts: {text!r:.200} is no list of name=address") from None
    return [word.replace("=", ":", 1) for word in words]


def _limits(attrs: Mapping[str, str]) -> BuildLimits:
    return BuildLimits(
        shm_size=_number(attrs, "shm-size"),
        ulimits=tuple(_ulimits(attrs.get("ulimit", ""))),
        cgroup_parent=attrs.get("cgroup-parent", ""),
    )


def _number(attrs: Mapping[str, str], name: str) -> int:
    text = attrs.get(name, "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidParameter(f"{name}: {text!r} is not a number")
    return int(text)


def _ulimits(text: str) -> list[tuple[str, int, int]]:
    """``nofile=1024:2048,…``."""
    found = []
    for word in filter(None, text.split(",")):
        name, _, values = word.partition("=")
        soft, _, hard = values.partition(":")
        try:
            found.append((name, int(soft), int(hard or soft)))
        except ValueError:
            raise InvalidParameter(f"ulimit: {word!r} is not name=soft:hard") from None
    return found
