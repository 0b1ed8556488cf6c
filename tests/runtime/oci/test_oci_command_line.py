"""``ketch-runtime``: flags, refusals, and what it says about itself."""

from __future__ import annotations

import json
import subprocess

import pytest
from oci_machine import Machine

from ketch.errors import InvalidParameter
from ketch.runtime.oci_flags import Flags, parse
from ketch.runtime.oci_signals import number_of

FLAGS = Flags(
    values=("name",), switches=("force",), lists=("env",), short={"n": "name", "e": "env"}
)


def test_forms_of_flags() -> None:
    given = parse(FLAGS, ["--name=a", "x", "--force", "-e", "A=1", "--env=B=2", "--", "--force"])
    assert (given.values, given.on) == ({"name": "a"}, {"force"})
    assert given.lists == {"env": ["A=1", "B=2"]}
    assert given.words == ["x", "--force"]
    assert parse(FLAGS, ["--force=false"]).on == set()
    stops = Flags(switches=("force",), stops=True)
    assert parse(stops, ["id", "--force", "-x"]).words == ["id", "--force", "-x"]


@pytest.mark.parametrize("args", [["--nope"], ["--name"], ["--force=maybe"]])
def test_bad_flags(args: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        parse(FLAGS, args)


def test_signals() -> None:
    assert [number_of(word) for word in ("TERM", "SIGKILL", "15", "rtmin+3")] == [15, 9, 15, 37]
    for word in ("NOPE", "65", "RTMIN+99", "TERM+1", "-1", ""):
        with pytest.raises(InvalidParameter):
            number_of(word)


def test_version_features_spec(oci: Machine) -> None:
    lines = oci.ok("--version").splitlines()
    assert lines[0].startswith("ketch-runtime version ")
    assert lines[1] == "spec: 1.2.0"
    features = json.loads(oci.ok("features"))
    assert "rbind" in features["mountOptions"]
    assert features["linux"]["seccomp"]["enabled"] is True
    oci.ok("spec", "--bundle", str(oci.bundle))
    assert oci.call("spec", "--bundle", str(oci.bundle)).returncode == 1
    assert "exists" in oci.last_error()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--systemd-cgroup", "list"], "--systemd-cgroup"),
        (["--rootless", "true", "list"], "--rootless"),
        (["create", "--no-pivot", "a"], "--no-pivot"),
        (["create", "--detach", "a"], "--detach"),
        (["checkpoint", "a"], "checkpoint"),
        (["list", "--format", "xml"], "xml"),
    ],
)
def test_refusals_name_what_they_refuse(oci: Machine, words: list[str], named: str) -> None:
    assert oci.call(*words).returncode == 1
    assert named in oci.last_error()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "timeOffsets"),
        ({"hooks": {"createContainer": [{"path": "/x"}]}}, "createContainer"),
        ({"ociVersion": "2.0.0"}, "ociVersion"),
        ({"linux": {"intelRdt": {"closID": "x"}}}, "intelRdt"),
        ({"linux": {"cgroupsPath": "a.slice:b:c"}}, "systemd"),
        ({"process": None}, "process"),
    ],
)
def test_configurations_refused(oci: Machine, change: dict[str, object], named: str) -> None:
    (oci.bundle / "config.json").write_text(json.dumps({**oci.spec, **change}))
    assert oci.call("create", "-b", str(oci.bundle), "a").returncode == 1
    assert named in oci.last_error()
    assert not (oci.root / "a").exists()


def test_imports_are_light(oci: Machine) -> None:
    """The start path stays free of the packages that cost milliseconds."""
    heavy = ("re", "json", "typing", "argparse", "subprocess", "dataclasses", "enum", "logging")
    bare = oci.command("list", "-q")
    bare[4] = bare[4].replace(
        "sys.exit(main())",
        "import ketch.runtime.oci_create, ketch.runtime.oci_lifecycle, ketch.runtime.oci_exec\n"
        f"main(); print([name for name in {heavy!r} if name in sys.modules])",
    )
    done = subprocess.run(bare, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
