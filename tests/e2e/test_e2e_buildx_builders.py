"""The builders of buildx, and its tools for images in registries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry

pytestmark = pytest.mark.root


def test_a_builder_at_the_socket(ketchd: Ketchd, each_buildx: Buildx, tmp_path: Path) -> None:
    """The driver ``remote`` speaks gRPC from the first byte on; ``docker`` by an upgrade."""
    shown = each_buildx.docker("buildx", "inspect").stdout
    assert "Driver:" in shown.replace("Driver Options", "")
    assert "linux/amd64" in shown
    assert "GC Policy rule#1:" in shown
    assert "type==source.local" in shown
    assert "Keep Duration: 1440h0m0s" in shown.replace(" Keep Duration:  ", " Keep Duration: ")
    address = f"unix://{ketchd.socket}"
    each_buildx.docker("buildx", "create", "--name", "far", "--driver", "remote", address)
    try:
        assert "running" in each_buildx.docker("buildx", "inspect", "far", "--bootstrap").stdout
        (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo far >/far\n")
        each_buildx.build("--builder", "far", "-o", f"{tmp_path}/out", str(tmp_path))
        assert (tmp_path / "out/far").read_text() == "far\n"
        each_buildx.build("--builder", "far", "--load", "-t", "far:1", str(tmp_path))
        assert ketchd.out("run", "--rm", "far:1", "cat", "/far") == "far"
        assert "Total:" in each_buildx.docker("buildx", "du", "--builder", "far").stdout
        ketchd.docker("rmi", "far:1")
    finally:
        each_buildx.docker("buildx", "rm", "far")


def test_images_of_several_targets_in_a_registry(
    ketchd: Ketchd, buildx: Buildx, tmp_path: Path
) -> None:
    """``bake --push``, and ``imagetools`` on what it left."""
    with Registry(tmp_path / "registry") as registry:
        # One repository: buildx, copying to another, may send a manifest before its blobs.
        names = {word: f"{registry.address}/images:{word}" for word in ("one", "two", "joined")}
        inline = "FROM scratch\nCOPY file /\nLABEL of={}"
        targets = {
            word: {"dockerfile-inline": inline.format(word), "tags": [names[word]]}
            for word in ("one", "two")
        }
        targets["two"]["platforms"] = ["linux/386"]
        groups = {"default": {"targets": list(targets)}}
        (tmp_path / "bake.json").write_text(json.dumps({"group": groups, "target": targets}))
        (tmp_path / "file").write_text("a file")
        buildx.docker("buildx", "bake", "--push", "-f", "bake.json", cwd=tmp_path)

        def tool(verb: str, *words: str) -> str:
            return buildx.docker("buildx", "imagetools", verb, *words).stdout

        platform = json.loads(tool("inspect", names["two"], "--raw"))["manifests"][0]["platform"]
        assert platform == {"architecture": "386", "os": "linux"}
        told = json.loads(tool("inspect", names["one"], "--format", "{{json .Provenance}}"))
        assert told["SLSA"]["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
        tool("create", "-t", names["joined"], "--annotation", "index:a=b", names["one"])
        tool("create", "--append", "-t", names["joined"], names["two"])
        joined = json.loads(tool("inspect", names["joined"], "--raw"))
        kinds = [each["platform"]["architecture"] for each in joined["manifests"]]
        assert sorted(kinds) == ["386", "amd64", "unknown", "unknown"]
        ketchd.docker("pull", "-q", "--platform", "linux/386", names["joined"])
        label = "{{.Config.Labels.of}}"
        shown = ketchd.out(
            "image", "inspect", "--platform", "linux/386", "-f", label, names["joined"]
        )
        assert shown == "two"
        ketchd.docker("rmi", names["joined"])
