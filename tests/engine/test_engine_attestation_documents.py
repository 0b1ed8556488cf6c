"""The documents of attestations, by what others publish to check them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from ketch.build.request.attestations import Provenance
from ketch.engine.builder.outcome import documents
from ketch.engine.builder.outcome.documents import Invocation, Lent, Material
from ketch.engine.builder.outcome.invocation import without_password

CALL = Invocation(
    ref="abc",
    started="2024-01-01T00:00:00.123456789Z",
    finished="2024-01-01T00:00:01Z",
    filename="Dockerfile",
    target="final",
    platform="linux/amd64",
    arguments={"A": "b"},
    labels={"c": "d"},
    dockerfile=b"FROM scratch\n",
    materials=(Material("pkg:docker/busybox@latest?platform=linux%2Famd64", "sha256:" + "a" * 64),),
)


def package(kind: str, name: str, **more: str) -> dict[str, str]:
    plain = {"version": "1:1.2~3+b4", "license": "", "supplier": "", "arch": "", "epoch": ""}
    return {"type": kind, "name": name, **plain, **more}


@pytest.mark.parametrize("unread", [(), ("/var/lib/rpm/Packages",)])
def test_spdx_of_every_kind(unread: tuple[str, ...]) -> None:
    found = [
        package("deb", "zlib1g", supplier="Some One <a@b.c>", arch="amd64"),
        package("apk", "musl", license="MIT AND (BSD OR not a licence)", supplier="x\ny"),
        package("rpm", "bash", supplier="Fedora Project", arch="x86_64", epoch="1"),
        package("pypi", "My_Mod", supplier="\u00e9 <>"),
        package("npm", "@s/left", license="SEE LICENSE IN x"),
    ]
    created = "2024-01-01T00:00:00Z"
    for packages in ([], found):  # an image may have none
        document = documents.spdx(packages, "fedora", "sha256:" + "a" * 64, created, unread)
        parsed = JsonLikeDictParser().parse(json.loads(json.dumps(document)))
        assert [said.validation_message for said in validate_full_spdx_document(parsed)] == []
    (rpm,) = [p for p in document["packages"] if p["name"] == "bash"]
    locator = rpm["externalRefs"][0]["referenceLocator"]
    assert locator == "pkg:rpm/fedora/bash@1%3A1.2~3%2Bb4?arch=x86_64&epoch=1"


@pytest.mark.parametrize("everything", [False, True])
def test_slsa_v1(everything: bool) -> None:
    """Every member that we write is one of the specification's, but for BuildKit's own, which the
    specification allows under a name with a #."""
    wanted = Provenance(version="v1", everything=everything, builder="https://b")
    told: dict[str, Any] = json.loads(json.dumps(documents.provenance(wanted, CALL), default=str))
    metadata = told["runDetails"]["metadata"]
    for name in [name for name in metadata if name.startswith("buildkit_")]:
        del metadata[name]  # "Producers MAY add extension fields named <vendor>_<fieldname>"
    parsed = json_format.ParseDict(told, provenance_pb2.Provenance())
    assert parsed.build_definition.resolved_dependencies[0].digest["sha256"] == "a" * 64
    assert parsed.run_details.metadata.started_on.seconds == 1704067200


HERMETIC = "https://mobyproject.org/buildkit@v1#hermetic"


def test_what_a_build_was_lent_and_where_it_comes_from() -> None:
    """The members are BuildKit's, as its clients read them."""
    commit = Material("https://a/b.git#main", "sha1:" + "b" * 40)
    call = msgspec.structs.replace(
        CALL,
        secrets=(Lent("s", False),),
        agents=(Lent("default", True),),
        vcs={"revision": "b" * 40},
        origin=commit,
        materials=(*CALL.materials, commit),
        contexts={"x": "local:x"},
    )
    told = documents.provenance(Provenance(everything=True), call)
    request = told["invocation"]["parameters"]
    plain = {"target": "final", "context:x": "local:x"}
    assert request["args"] == {**plain, "build-arg:A": "b", "label:c": "d"}
    assert request["secrets"] == [{"id": "s", "optional": False}]
    assert request["ssh"] == [{"id": "default", "optional": True}]
    assert "locals" not in request
    source = {"uri": commit.uri, "digest": {"sha1": "b" * 40}}
    assert told["invocation"]["configSource"] == {**source, "entryPoint": "Dockerfile"}
    assert told["materials"][1] == source
    assert told["metadata"]["completeness"]["materials"]
    assert told["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["vcs"] == call.vcs
    least = documents.provenance(Provenance(version="v1"), call)
    assert least["buildDefinition"]["externalParameters"]["request"]["args"] == plain
    metadata = least["runDetails"]["metadata"]
    assert metadata["buildkit_completeness"] == {"request": False, "resolvedDependencies": True}
    assert metadata["buildkit_metadata"] == {"vcs": call.vcs}
    assert "buildkit_hermetic" not in metadata
    alone = msgspec.structs.replace(call, networked=False)
    assert documents.provenance(Provenance(), alone)["metadata"][HERMETIC] is True
    local = msgspec.structs.replace(alone, origin=None, directories=["x", "context", "dockerfile"])
    told = documents.provenance(Provenance(), local)
    names = [one["name"] for one in told["invocation"]["parameters"]["locals"]]
    assert names == ["context", "dockerfile", "x"]
    assert not told["metadata"]["completeness"]["materials"]
    assert HERMETIC not in told["metadata"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:1/x?y", "https://h:1/x?y"),
        ("https://token@h/x", "https://h/x"),
        ("ssh://git@h/x", "ssh://git@h/x"),
        ("ssh://git:p@h/x", "ssh://h/x"),
        ("git@h:x", "git@h:x"),
    ],
)
def test_no_password_is_told(url: str, shown: str) -> None:
    assert without_password(url) == shown
