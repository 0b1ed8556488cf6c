"""What is to be told of a result beside it: provenance (SLSA) and a bill of materials (SPDX).

Options are BuildKit's ``attest:provenance`` and ``attest:sbom`` (docs.docker.com/build/metadata).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping

import msgspec

from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import reference as references

_PROVENANCE = {"type", "mode", "version", "builder-id", "inline-only", "reproducible", "disabled"}
_SBOM = {"type", "generator", "disabled"}
_PARAMETER = re.compile(r"[A-Za-z0-9_-]+")
_VERSIONS = ("v0.2", "v1")


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """``everything`` (mode=max) tells build arguments and the Dockerfile too; ``inline_only`` means
    only where it can be attached without changing what the result is."""

    everything: bool = False
    version: str = "v0.2"
    builder: str = ""
    inline_only: bool = False
    reproducible: bool = False


class Scanner(msgspec.Struct, frozen=True):
    """An image that makes the bill of materials, with the parameters for it."""

    image: str
    parameters: tuple[tuple[str, str], ...] = ()


class Attestations(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; the engine itself makes the bill of materials without a ``scanner``."""

    provenance: Provenance | None = None
    sbom: bool = False
    scanner: Scanner | None = None


def parse_attestations(wanted: Mapping[str, str]) -> Attestations:
    """``provenance`` and ``sbom`` with their options as ``key=value,…`` or a word; raises
    ``Unsupported`` or ``InvalidParameter``."""
    for kind in wanted:
        if kind not in ("provenance", "sbom"):
            raise Unsupported(f"attestations of type {kind!r} are not supported: provenance, sbom")
    provenance = _fields("provenance", wanted, _PROVENANCE)
    sbom = _fields("sbom", wanted, None)
    return Attestations(
        provenance=None if provenance is None else _provenance(provenance),
        sbom=sbom is not None,
        scanner=None if sbom is None else _scanner(sbom),
    )


def _scanner(options: Mapping[str, str]) -> Scanner | None:
    """What is no option of ours is a parameter of the scanner."""
    more = {key: value for key, value in options.items() if key not in _SBOM}
    if not options.get("generator"):
        for key in more:
            raise Unsupported(f"the option {key!r} of sbom attestations is not supported")
        return None
    for key in more:
        if not _PARAMETER.fullmatch(key):
            raise InvalidParameter(f"sbom: {key!r} is no name of a parameter")
    return Scanner(references.parse(options["generator"]).tagged().familiar, tuple(more.items()))


def _fields(kind: str, wanted: Mapping[str, str], known: set[str] | None) -> dict[str, str] | None:
    """The options, ``known`` ones or any; None when it is not wanted."""
    if kind not in wanted:
        return None
    text = wanted[kind]
    if text.lower() in ("", "1", "true"):
        return {}
    if text.lower() in ("0", "false"):
        return None
    found: dict[str, str] = {}
    for word in next(csv.reader([text])):
        key, equals, value = word.partition("=")
        named = known is None or key in known
        if not named or not (equals or key == "disabled"):
            raise Unsupported(f"the option {key!r} of {kind} attestations is not supported")
        found[key] = value
    return None if found.get("disabled", "false") not in ("false", "0") else found


def _provenance(options: Mapping[str, str]) -> Provenance:
    mode, version = options.get("mode", "min"), options.get("version", "v0.2")
    if mode not in ("min", "max"):
        raise InvalidParameter(f"provenance: mode={mode!r} is not min or max")
    if version not in _VERSIONS:
        raise InvalidParameter(f"provenance: version={version!r} is not one of v0.2, v1")
    return Provenance(
        everything=mode == "max",
        version=version,
        builder=options.get("builder-id", ""),
        inline_only=options.get("inline-only", "false") in ("true", "1"),
        reproducible=options.get("reproducible", "false") in ("true", "1"),
    )
