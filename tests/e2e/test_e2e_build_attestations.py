"""Provenance and bills of materials, as another program finds them (scorecard I11)."""

from __future__ import annotations

import json
import shutil
import tarfile
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from build.test_build_packages import TABLE, header, sqlite
from buildkit.buildx import Buildx
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from e2e.test_e2e_build_outputs import build, copied, inspected
from ketch.oci import platform as platforms

pytestmark = pytest.mark.root
TEXT = "FROM busybox\nARG WHO=x\nCOPY root /\nRUN echo $WHO > /who\n"
DPKG = """Package: zlib1g
Status: install ok installed
Maintainer: Someone <a@b>
Architecture: amd64
Version: 1:1.2.13
Description: several
 lines: of text

Package: gone
Status: deinstall ok config-files
Version: 1

"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("attest") / "r") as registry:
        yield registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    files = {
        "Dockerfile": TEXT,
        "root/var/lib/dpkg/status": DPKG,
        "root/lib/apk/db/installed": "P:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\n",
        "root/usr/lib/python3/x/My_Mod-1.0.dist-info/METADATA": "Name: My_Mod\nVersion: 1.0\n\nx",
        "root/app/node_modules/@s/left/package.json": '{"name": "@s/left", "version": "2.0.0"}',
        "root/app/node_modules/bad/package.json": "{",
        "root/etc/os-release": 'ID="debian"\n',
    }
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "root/var/lib/rpm").mkdir()
    stored = sqlite(TABLE, "INSERT INTO Packages (blob) VALUES (?)", blob=header(epoch=2))
    (place / "root/var/lib/rpm/rpmdb.sqlite").write_bytes(stored)
    return place


def statements(place: Path, index: Any) -> dict[str, Any]:
    """Predicates by type, read as the image specification says, from a layout of skopeo's."""
    images = [m for m in index["manifests"] if m["platform"]["os"] != "unknown"]
    found = {}
    for entry in index["manifests"]:
        notes = entry.get("annotations", {})
        if notes.get("vnd.docker.reference.type") != "attestation-manifest":
            continue
        assert notes["vnd.docker.reference.digest"] in [m["digest"] for m in images]
        manifest = blob(place, entry["digest"])
        config = blob(place, manifest["config"]["digest"])
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        for layer in manifest["layers"]:
            assert layer["mediaType"] == "application/vnd.in-toto+json"
            statement = blob(place, layer["digest"])
            assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
            kind = statement["predicateType"]
            assert layer["annotations"]["in-toto.io/predicate-type"] == kind
            (subject, *_) = statement["subject"]
            assert f"sha256:{subject['digest']['sha256']}" == notes["vnd.docker.reference.digest"]
            found[kind] = statement["predicate"]
    return found


def blob(place: Path, digest: str) -> Any:
    return json.loads((place / "blobs/sha256" / digest.partition(":")[2]).read_bytes())


def test_attached_kept_and_pushed(
    ketchd: Ketchd, folder: Path, registry: Registry, tmp_path: Path
) -> None:
    name = f"{registry.address}/attested:1"
    words = ("--attest", "type=provenance,mode=max", "--sbom=true", "--build-arg", "WHO=me")
    build(ketchd, *words, "-t", name, folder)
    assert ketchd.out("run", "--rm", name, "cat", "/who") == "me"
    ketchd.out("push", name)
    copied(f"docker://{name}", f"oci:{tmp_path}/layout:x")
    index = inspected(f"docker://{name}")
    found = statements(tmp_path / "layout", index)
    told = found["https://slsa.dev/provenance/v0.2"]
    assert told["invocation"]["parameters"]["args"] == {"build-arg:WHO": "me"}
    assert told["materials"][0]["uri"].startswith("pkg:docker/busybox@latest?platform=linux%2F")
    more = told["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
    (source,) = more["source"]["infos"]
    assert b64decode(source["data"]).decode().strip() == TEXT.strip()
    document = found["https://spdx.dev/Document"]
    assert (document["spdxVersion"], document["SPDXID"]) == ("SPDX-2.3", "SPDXRef-DOCUMENT")
    assert {p["externalRefs"][0]["referenceLocator"] for p in document["packages"]} == {
        "pkg:deb/debian/zlib1g@1%3A1.2.13?arch=amd64",
        "pkg:apk/debian/musl@1.2.4-r2?arch=x86_64",
        "pkg:rpm/debian/bash@5.2-1.fc40?arch=x86_64&epoch=2",
        "pkg:pypi/my-mod@1.0",
        "pkg:npm/%40s/left@2.0.0",
    }
    identities = {package["SPDXID"] for package in document["packages"]}
    assert {each["relatedSpdxElement"] for each in document["relationships"]} == identities
    ketchd.docker("rmi", name)


def test_beside_a_tree(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    """The names are BuildKit's, the subjects every file of the tree."""
    words = ("--provenance=true", "--sbom=true", "--target", "made")
    (folder / "Dockerfile").write_text("FROM scratch AS made\nCOPY root /\n")
    out, archive = tmp_path / "out", tmp_path / "out.tar"
    build(ketchd, *words, "-o", out, folder)
    prefixed = f"type=tar,dest={archive},attestation-prefix=x-"
    build(ketchd, *words, "-o", prefixed, folder)
    kinds = {
        "sbom.spdx.json": "https://spdx.dev/Document",
        "provenance.json": "https://slsa.dev/provenance/v0.2",
    }
    for name, kind in kinds.items():
        told = json.loads((out / name).read_text())
        assert told["predicateType"] == kind
        digests = {each["name"]: each["digest"]["sha256"] for each in told["subject"]}
        assert digests["etc/os-release"] == sha256(b'ID="debian"\n').hexdigest()
        assert len(digests) == 7
        with tarfile.open(archive) as tar:
            file = tar.extractfile(f"x-{name}")
            assert file is not None
            assert json.load(file)["subject"] == told["subject"]
    both = ("--platform", "linux/amd64,linux/arm64")
    build(ketchd, *words, *both, "-o", f"type=local,dest={out}2", folder)
    assert (tmp_path / "out2/linux_arm64/provenance.json").is_file()
    build(ketchd, *words, *both, "-o", f"type=local,dest={out}3,platform-split=false", folder)
    assert (tmp_path / "out3/sbom.spdx.linux_amd64.json").is_file()
    build(ketchd, "--target", "made", "-o", f"{out}4", folder)
    assert not (tmp_path / "out4/provenance.json").exists()


SCANNER = r"""FROM busybox
ENV WHO=scanner
WORKDIR /tmp
RUN printf '%s\n' '#!/bin/sh' 'set -e' \
  'test "$WHO-$BUILDKIT_SCAN_depth" = scanner-3' '! touch "$BUILDKIT_SCAN_SOURCE/x" || exit 3' \
  'id=$(cat "$BUILDKIT_SCAN_SOURCE/etc/os-release")' 'echo looking' \
  'out=$BUILDKIT_SCAN_DESTINATION$(basename $BUILDKIT_SCAN_SOURCE).spdx.json' \
  'printf "%s" "{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\
\"https://spdx.dev/Document\",\"predicate\":{\"name\":\"$(echo $id | tr -d \")\"}}" >$out' \
  'more=$BUILDKIT_SCAN_SOURCE_EXTRAS' 'test -z "$more" || sed "s/{.name.*}}/{\"name\": \
\"$(echo $(ls $more))\"}}/" <$out >${out%/*}/more.spdx.json' \
  > /scan && chmod +x /scan
ENTRYPOINT ["/scan"]
CMD ["more"]
"""


def test_a_scanner_of_ones_own(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "scanner"
    place.mkdir()
    (place / "Dockerfile").write_text(SCANNER)
    build(ketchd, "-t", "scanner:1", place)
    out = tmp_path / "out"
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    words = ("--attest", "type=sbom,generator=scanner:1,depth=3", "-o", out)
    shown = build(ketchd, *words, folder).stderr.decode()
    assert "generating sbom using scanner:1" in shown
    assert "looking" in shown
    told = json.loads((out / "sbom.spdx.json").read_text())
    assert told["predicate"] == {"name": "ID=debian"}
    assert told["predicateType"] == "https://spdx.dev/Document"
    failed = build(ketchd, "--sbom", "generator=scanner:1", "-o", out, folder, code=None)
    assert b"the SBOM generator scanner:1 ended with exit code 1" in failed.stderr
    (folder / "Dockerfile").write_text(MORE)
    archive = tmp_path / "scanned.tar"
    build(ketchd, *words, "-o", f"type=oci,dest={archive}", "--provenance=true", folder)
    told = json.loads((out / "more.spdx.json").read_text())
    assert told["predicate"] == {"name": "sbom-context sbom-one"}
    # What clients show is the first: that of the image.
    names = [one["predicate"].get("name") for one in attested_in(archive)]
    assert names == ["ID=debian", "sbom-context sbom-one", None]
    ketchd.docker("rmi", "scanner:1")


def attested_in(archive: Path) -> list[Any]:
    """The statements about each image of a layout, in their order."""
    with tarfile.open(archive) as opened:

        def read(name: str) -> Any:
            return json.load(opened.extractfile(name))  # type: ignore[arg-type]

        def blob(entry: Any) -> Any:
            return read(f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}")

        (root,) = read("index.json")["manifests"]
        beside = [
            blob(entry)
            for entry in blob(root).get("manifests", ())
            if "vnd.docker.reference.type" in entry.get("annotations", {})
        ]
        return [blob(layer) for manifest in beside for layer in manifest["layers"]]


MORE = """ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM busybox AS one
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY root /
FROM busybox AS other
RUN true
FROM scratch
COPY --from=one /etc /etc
COPY --from=other /etc /etc
"""


def test_stages_and_the_context_are_scanned_when_asked(
    ketchd: Ketchd, folder: Path, tmp_path: Path
) -> None:
    (folder / "Dockerfile").write_text(MORE)
    out = tmp_path / "out"
    assert scans(ketchd, folder, out) == {"sbom": 0, "sbom-one": 5, "sbom-context": 2}
    none = ("--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=false")
    context = ("--build-arg", "BUILDKIT_SBOM_SCAN_CONTEXT=nobody")
    assert set(scans(ketchd, folder, out, *none, *context)) == {"sbom"}
    some = ("--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=other,one")
    assert set(scans(ketchd, folder, out, *some, *context)) == {"sbom", "sbom-one"}


def scans(ketchd: Ketchd, folder: Path, out: Path, *words: str) -> dict[str, int]:
    """How many packages each bill of materials names."""
    shutil.rmtree(out, ignore_errors=True)
    build(ketchd, "--sbom=true", *words, "-o", out, folder)
    files = {path.name.removesuffix(".spdx.json"): path for path in out.glob("*.spdx.json")}
    told = {name: json.loads(path.read_text()) for name, path in files.items()}
    spaces = {one["predicate"]["documentNamespace"] for one in told.values()}
    assert len(spaces) == len(told)
    return {name: len(one["predicate"]["packages"]) for name, one in told.items()}


def test_in_a_layout(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "layout"
    words = ("--provenance", "version=v1,builder-id=https://b", "--build-arg", "WHO=hidden")
    build(ketchd, *words, "-o", f"type=oci,tar=false,dest={place}", folder)
    (top,) = json.loads((place / "index.json").read_text())["manifests"]
    (told,) = statements(place, blob(place, top["digest"])).values()
    assert told["runDetails"]["builder"]["id"] == "https://b"
    assert "hidden" not in json.dumps(told)  # mode=min


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sbom", "mode=fast"), "the option 'mode' of sbom attestations is not supported"),
        (("--provenance", "mode=most"), "mode='most' is not min or max"),
        (("--provenance", "a=b"), "the option 'a' of provenance attestations"),
        (("--attest", "type=vex"), "attestations of type 'vex' are not supported"),
        (("--sbom=true", "-o", "type=docker,dest=/dev/null"), "the docker output holds one image"),
    ],
)
def test_what_is_refused(ketchd: Ketchd, folder: Path, words: tuple[str, ...], said: str) -> None:
    done = build(ketchd, *words, folder, code=None)
    assert done.returncode
    assert said in done.stderr.decode()


async def test_as_buildx_asks(
    ketchd: Ketchd, folder: Path, registry: Registry, tmp_path: Path
) -> None:
    """By default what is pushed has a provenance, and archives that have an index anyway."""
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    attrs = {"attest:provenance": "mode=min,inline-only=true"}
    name = f"{registry.address}/bx:1"
    async with client.connected():
        kept = await client.build(attrs, {"name": "kept:1"})
        pushed = await client.build(attrs, {"name": name, "push": "true"})
        client.outputs = {0: tmp_path / "plain.tar"}
        await client.build(attrs, exporters=[("oci", {})])
        client.outputs = {0: tmp_path / "both.tar"}
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
        both = {**attrs, "platform": "linux/amd64,linux/arm64"}
        await client.build(both, exporters=[("oci", {})])
    assert attested_in(tmp_path / "plain.tar") == []
    told = [one["predicate"]["invocation"] for one in attested_in(tmp_path / "both.tar")]
    # Where it was built, whatever it is for.
    assert [one["environment"]["platform"] for one in told] == [str(platforms.host())] * 2
    assert "containerimage.descriptor" not in kept.response
    index = inspected(f"docker://{registry.address}/bx@{pushed.response['containerimage.digest']}")
    assert [entry["platform"]["os"] for entry in index["manifests"]] == ["linux", "unknown"]
    ketchd.docker("rmi", "kept:1", name)
