"""Members of a bundle that are not what the specification says are refused by their name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ketch.errors import InvalidParameter
from ketch.runtime import oci_bundle, oci_shapes

CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs", "readonly": True},
    "hostname": None,
    "process": {
        "user": {"uid": 0, "gid": 0, "additionalGids": [1]},
        "args": ["sh"],
        "env": ["A=b"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": (1 << 64) - 1, "soft": 1024}],
    },
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]}],
    "annotations": {"a": "b"},
    "linux": {
        "namespaces": [{"type": "mount"}],
        "resources": {"memory": {"limit": -1}, "unified": {"memory.high": "max"}},
        "maskedPaths": ["/proc/kcore"],
    },
    "anotherOnes": {"x": [1, None]},
}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("hostname", True, "hostname must be a string, not True"),
        ("process.user", 7, "process.user must be an object, not 7"),
        ("process.user.gid", "x", "process.user.gid must be an integer, not 'x'"),
        ("process.user.uid", True, "process.user.uid must be an integer"),
        ("process.user.uid", 1.0, "process.user.uid must be an integer"),
        ("process.user.uid", 1 << 64, "process.user.uid is out of range"),
        ("process.args", "sh", "process.args must be a list"),
        ("process.args", [None], r"process.args\[0\] must be a value"),
        ("process.args", ["a\0"], r"process.args\[0\] has a NUL character"),
        ("process.capabilities", {"bounding": "x"}, "process.capabilities.bounding must be"),
        ("linux.namespaces", ["mount"], r"linux.namespaces\[0\] must be an object"),
        ("linux.resources", 1.5, "linux.resources must be an object"),
        ("linux.resources.memory", {"limit": "1g"}, "linux.resources.memory.limit must be"),
        ("linux.maskedPaths", [["x"]], r"linux.maskedPaths\[0\] must be a string, not a list"),
        ("mounts", [{"destination": {}}], r"mounts\[0\].destination must be a string"),
        ("annotations", {"a": 1}, "annotations.a must be a string"),
        ("root.readonly", "yes", "root.readonly must be true or false"),
        ("hooks", {"prestart": [{"path": 1}]}, r"hooks.prestart\[0\].path must be a string"),
    ],
)
def test_refused(tmp_path: Path, place: str, value: object, said: str) -> None:
    config = copy.deepcopy(CONFIG)
    *outer, last = place.split(".")
    inner = config
    for name in outer:
        inner = inner[name]
    inner[last] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidParameter, match=said):
        oci_bundle.load(str(tmp_path))


def test_fine(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert oci_bundle.load(str(tmp_path))["linux"]["maskedPaths"] == ["/proc/kcore"]
    oci_shapes.check({"pids": {"limit": 5}, "cpu": None}, oci_shapes.RESOURCES, "resources")
