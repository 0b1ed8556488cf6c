"""The documents of attestations: in-toto statements, SLSA provenance, SPDX.

Sources: in-toto Statement v0.1; SLSA provenance v0.2 and v1; SPDX 2.3 (JSON); package-url;
BuildKit's docs/attestations (how they hang on an index).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ketch import __version__
from ketch.build.request.attestations import Provenance

STATEMENT = "https://in-toto.io/Statement/v0.1"
SPDX = "https://spdx.dev/Document"
SLSA = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}
BUILD_TYPE = "urn:ketch:build:v1"
_METADATA = "https://mobyproject.org/buildkit@v1#metadata"  # by which clients know it
_HERMETIC = "https://mobyproject.org/buildkit@v1#hermetic"
_PURL = {"deb": "deb", "apk": "apk", "rpm": "rpm", "pypi": "pypi", "npm": "npm"}
_SPACES = {"deb": "debian", "apk": "alpine", "rpm": "redhat"}


class Material(msgspec.Struct, frozen=True):
    """Something that went into a build: its URI (a package URL for images), its digest
    (``sha1:…`` of a commit)."""

    uri: str
    digest: str


class Lent(msgspec.Struct, frozen=True):
    """A secret or an agent of the client's."""

    id: str
    optional: bool


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """How a build was called; times in RFC 3339. ``dockerfile`` is the file's text, ``origin`` the
    repository or archive that it came with, ``vcs`` what the client says of the repository it is
    in. ``contexts`` are values of named contexts, ``directories`` the names of those of the
    client's that were used: without any the materials are all there is. ``networked``: a step had
    a network. Without a ``frontend`` the client gave the build's graph itself."""

    ref: str
    started: str
    finished: str
    filename: str
    target: str
    platform: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    secrets: Sequence[Lent] = ()
    agents: Sequence[Lent] = ()
    vcs: Mapping[str, str] = {}
    dockerfile: bytes
    materials: Sequence[Material]
    origin: Material | None = None
    contexts: Mapping[str, str] = {}
    directories: Sequence[str] = ()
    networked: bool = True
    frontend: str = "dockerfile.v0"

    @property
    def whole(self) -> bool:
        """Whether the materials are all there is."""
        return not self.directories

    @property
    def hermetic(self) -> bool:
        """Whether nothing else can have gone into it."""
        return self.whole and not self.networked


class Predicate(msgspec.Struct, frozen=True):
    """What an attestation says: its type, the document, the name of its file beside a tree."""

    kind: str
    document: dict[str, Any]
    file: str


def statement(subjects: Sequence[tuple[str, str]], predicate: Predicate) -> bytes:
    """An in-toto statement about subjects: names (package URLs, paths) and sha256 digests."""
    named = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects]
    return msgspec.json.encode(
        {
            "_type": STATEMENT,
            "predicateType": predicate.kind,
            "subject": named,
            "predicate": predicate.document,
        }
    )


def image_url(name: str, tag: str, platform: str) -> str:
    """``pkg:docker/name@tag?platform=…``"""
    return f"pkg:docker/{name}@{tag}?platform={quote(platform, safe='')}"


def layout_url(name: str, digest: str, platform: str) -> str:
    """``pkg:oci/name@digest?platform=…``: an image that was in a directory of the client's."""
    return f"pkg:oci/{name}@{quote(digest, safe='')}?platform={quote(platform, safe='')}"


def provenance(wanted: Provenance, call: Invocation) -> dict[str, Any]:
    """The predicate of SLSA in the version asked for."""
    arguments = {f"build-arg:{key}": value for key, value in call.arguments.items()}
    labels = {f"label:{key}": value for key, value in call.labels.items()}
    more: dict[str, Any] = {
        "args": {**arguments, **labels},
        "secrets": [msgspec.to_builtins(each) for each in call.secrets],
        "ssh": [msgspec.to_builtins(each) for each in call.agents],
    }
    plain = {f"context:{key}": value for key, value in call.contexts.items()}
    if call.target:
        plain["target"] = call.target
    request: dict[str, Any] = {
        "frontend": call.frontend,
        **(more if wanted.everything else {}),
        "args": {**plain, **(more["args"] if wanted.everything else {})},
        "locals": [{"name": name} for name in sorted(call.directories)],
    }
    told = wanted.everything or not any(more.values())
    request = {key: value for key, value in request.items() if value}
    version = _v1 if wanted.version == "v1" else _v02
    return version(wanted, call, request, told)


def _metadata(wanted: Provenance, call: Invocation) -> dict[str, Any]:
    """What BuildKit tells beyond SLSA."""
    found: dict[str, Any] = {"vcs": dict(call.vcs)} if call.vcs else {}
    if wanted.everything and call.dockerfile:
        source = {"filename": call.filename, "language": "Dockerfile", "data": call.dockerfile}
        found["source"] = {"infos": [source]}
    return found


def _told(material: Material) -> dict[str, Any]:
    kind, _, digits = material.digest.partition(":")
    return {"uri": material.uri, "digest": {kind: digits}}


def _v02(
    wanted: Provenance, call: Invocation, request: dict[str, Any], told: bool
) -> dict[str, Any]:
    metadata = _metadata(wanted, call)
    return {
        "builder": {"id": wanted.builder},
        "buildType": BUILD_TYPE,
        "materials": [_told(material) for material in call.materials],
        "invocation": {
            "configSource": {
                **(_told(call.origin) if call.origin else {}),
                "entryPoint": call.filename,
            },
            "parameters": request,
            "environment": {"platform": call.platform},
        },
        "metadata": {
            "buildInvocationID": call.ref,
            "buildStartedOn": call.started,
            "buildFinishedOn": call.finished,
            "completeness": {
                "parameters": told,
                "environment": True,
                "materials": call.whole,
            },
            "reproducible": wanted.reproducible,
            _METADATA: metadata,
            **({_HERMETIC: True} if call.hermetic else {}),
        },
    }


def _v1(
    wanted: Provenance, call: Invocation, request: dict[str, Any], told: bool
) -> dict[str, Any]:
    metadata = _metadata(wanted, call)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": {
                    **(_told(call.origin) if call.origin else {}),
                    "path": call.filename,
                },
                "request": request,
            },
            "internalParameters": {"builderPlatform": call.platform},
            "resolvedDependencies": [_told(material) for material in call.materials],
        },
        "runDetails": {
            "builder": {"id": wanted.builder},
            "metadata": {
                "invocationId": call.ref,
                "startedOn": call.started,
                "finishedOn": call.finished,
                "buildkit_metadata": metadata,
                **({"buildkit_hermetic": True} if call.hermetic else {}),
                "buildkit_completeness": {"request": told, "resolvedDependencies": call.whole},
                **({"buildkit_reproducible": True} if wanted.reproducible else {}),
            },
        },
    }


def spdx(
    packages: Sequence[Mapping[str, str]],
    distribution: str,
    digest: str,
    created: str,
    unread: Sequence[str] = (),
) -> dict[str, Any]:
    """An SPDX 2.3 document of packages; the same packages of the same image give the same one.
    ``unread`` are databases of packages that it can't tell of."""
    described = [_spdx_package(number, p, distribution) for number, p in enumerate(packages, 1)]
    nothing = "NOASSERTION" if unread else "NONE"  # a document describes something, or says so
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "sbom",
        "documentNamespace": f"urn:ketch:sbom:{digest}",
        "creationInfo": {"created": created, "creators": [f"Tool: ketch-{__version__}"]},
        **({"comment": f"not read: {', '.join(unread)}"} if unread else {}),
        "packages": described,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": element,
            }
            for element in [package["SPDXID"] for package in described] or [nothing]
        ],
    }


def _spdx_package(number: int, package: Mapping[str, str], distribution: str) -> dict[str, Any]:
    supplier = package["supplier"].replace("\n", " ").strip()
    return {
        "SPDXID": f"SPDXRef-Package-{number}",
        "name": package["name"],
        "versionInfo": package["version"],
        "supplier": f"{_supplier(package)}: {supplier}" if supplier else "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        **({"licenseComments": package["license"]} if package["license"] else {}),
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": _purl(package, distribution),
            }
        ],
    }


def _supplier(package: Mapping[str, str]) -> str:
    return "Organization" if package["type"] == "rpm" else "Person"  # rpm tells the vendor


def _purl(package: Mapping[str, str], distribution: str) -> str:
    kind, name = _PURL[package["type"]], package["name"]
    version = quote(package["version"], safe="")
    if kind in _SPACES:
        told = {key: package[key] for key in ("arch", "epoch") if package[key]}
        more = "&".join(f"{key}={quote(value)}" for key, value in told.items())
        space = quote(distribution or _SPACES[kind])
        return f"pkg:{kind}/{space}/{quote(name, safe='')}@{version}{'?' if more else ''}{more}"
    if kind == "pypi":
        name = name.lower().replace("_", "-")
    return f"pkg:{kind}/{quote(name, safe='/')}@{version}"
