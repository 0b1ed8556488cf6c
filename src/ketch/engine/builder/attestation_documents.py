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
from ketch.build.attestations import Provenance

STATEMENT = "https://in-toto.io/Statement/v0.1"
SPDX = "https://spdx.dev/Document"
SLSA = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}
BUILD_TYPE = "urn:ketch:build:v1"
_PURL = {"deb": "deb", "apk": "apk", "rpm": "rpm", "pypi": "pypi", "npm": "npm"}
_SPACES = {"deb": "debian", "apk": "alpine", "rpm": "redhat"}


class Material(msgspec.Struct, frozen=True):
    """Something that went into a build: its URI (a package URL for images), its sha256 in hex."""

    uri: str
    sha256: str


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """How a build was called; times in RFC 3339. ``dockerfile`` is the file's text."""

    ref: str
    started: str
    finished: str
    filename: str
    target: str
    platform: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    dockerfile: bytes
    materials: Sequence[Material]


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
    request: dict[str, Any] = {
        "frontend": "dockerfile.v0",
        "args": {**({"target": call.target} if call.target else {})},
        "locals": [{"name": "context"}, {"name": "dockerfile"}],
    }
    if wanted.everything:
        request["args"] |= {**arguments, **labels}
    if not request["args"]:
        del request["args"]
    materials = [{"uri": m.uri, "digest": {"sha256": m.sha256}} for m in call.materials]
    version = _v1 if wanted.version == "v1" else _v02
    found = version(wanted, call, request, materials)
    if wanted.everything:
        source = {"filename": call.filename, "data": call.dockerfile}
        place = found["runDetails"]["metadata"] if wanted.version == "v1" else found["metadata"]
        place[f"{BUILD_TYPE}#metadata"] = {"source": {"infos": [source]}}
    return found


def _v02(
    wanted: Provenance, call: Invocation, request: dict[str, Any], materials: list[Any]
) -> dict[str, Any]:
    return {
        "builder": {"id": wanted.builder},
        "buildType": BUILD_TYPE,
        "materials": materials,
        "invocation": {
            "configSource": {"entryPoint": call.filename},
            "parameters": request,
            "environment": {"platform": call.platform},
        },
        "metadata": {
            "buildInvocationID": call.ref,
            "buildStartedOn": call.started,
            "buildFinishedOn": call.finished,
            "completeness": {
                "parameters": wanted.everything,
                "environment": True,
                "materials": False,
            },
            "reproducible": wanted.reproducible,
        },
    }


def _v1(
    wanted: Provenance, call: Invocation, request: dict[str, Any], materials: list[Any]
) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": {"path": call.filename},
                "request": request,
            },
            "internalParameters": {"builderPlatform": call.platform},
            "resolvedDependencies": materials,
        },
        "runDetails": {
            "builder": {"id": wanted.builder},
            "metadata": {
                "invocationId": call.ref,
                "startedOn": call.started,
                "finishedOn": call.finished,
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
                "relatedSpdxElement": package["SPDXID"],
            }
            for package in described
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
