"""``--device vendor/class=name`` and ``--gpus``: devices that CDI files describe."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, run

pytestmark = pytest.mark.root


@pytest.fixture
def devices(ketchd: Ketchd, tmp_path: Path) -> Iterator[Path]:
    """Files in the directory of CDI files that the session's daemon looks into."""
    folder = ketchd.folder / "cdi"
    folder.mkdir()
    said = tmp_path / "said"
    hooks = [
        {"hookName": name, "path": "/bin/sh", "args": ["sh", "-c", f"cat >> {said}"]}
        for name in ("prestart", "createRuntime")
    ]
    inside = {"hookName": "startContainer", "path": "/bin/sh",
              "args": ["sh", "-c", "echo inside > /tmp/hook"]}  # fmt: skip
    spec = {
        "cdiVersion": "0.7.0",
        "kind": "vendor.com/thing",
        "devices": [{"name": "one", "containerEdits": {
            "env": ["THING=one"],
            "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/loop0", "permissions": "r"}],
            "mounts": [{"hostPath": str(tmp_path), "containerPath": "/thing", "options": ["ro"]}],
            "hooks": [*hooks, inside],
            "additionalGids": [4242],
        }}],
    }  # fmt: skip
    (folder / "thing.json").write_text(json.dumps(spec))
    (folder / "gpu.yaml").write_text(
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n"
        "- {name: '0', containerEdits: {env: [GPU=zero]}}\n"
    )
    yield said
    shutil.rmtree(folder)


def test_a_device_with_everything(ketchd: Ketchd, devices: Path, name: str) -> None:
    script = (
        "echo $THING; id -G; stat -c %t:%T /dev/thing; head -c0 /dev/thing && echo readable; "
        "echo > /dev/thing; cat /tmp/hook; test -d /thing && ! touch /thing/x; cat /thing/said"
    )
    words = ("--name", name, "--device", "vendor.com/thing=one", "busybox", "sh", "-c", script)
    out = run(ketchd, *words)
    assert out.splitlines()[:4] == ["one", "0 4242", "7:0", "readable"]
    for text in ("Operation not permitted", "inside", "Read-only file system"):
        assert text in out
    states = devices.read_text()
    assert states.count('"status"') == 2
    assert '"creating"' in states


def test_it_is_shown_by_inspect(ketchd: Ketchd, devices: Path, name: str) -> None:
    ketchd.docker("create", "--name", name, "--device", "vendor.com/thing=one", "busybox")
    host = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig}}", name))
    assert host["DeviceRequests"] == [
        {"Driver": "cdi", "Count": 0, "DeviceIDs": ["vendor.com/thing=one"],
         "Capabilities": None, "Options": {}},
    ]  # fmt: skip


def test_gpus(ketchd: Ketchd, devices: Path) -> None:
    script = ("busybox", "sh", "-c", "echo $GPU")
    assert run(ketchd, "--gpus", "all", *script) == "zero"
    assert run(ketchd, "--gpus", "device=0", *script) == "zero"
    out = run(ketchd, "--gpus", "2", *script, code=125)
    assert "2 GPUs are asked for, and there are 1" in out
    os.unlink(ketchd.folder / "cdi" / "gpu.yaml")
    out = run(ketchd, "--gpus", "all", *script, code=125)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in out


def test_unknown_devices(ketchd: Ketchd, devices: Path) -> None:
    out = run(ketchd, "--device", "vendor.com/thing=two", "busybox", "true", code=125)
    assert "CDI device injection failed: unresolvable CDI devices vendor.com/thing=two" in out


def test_the_directories_are_told(ketchd: Ketchd) -> None:
    assert str(ketchd.folder / "cdi") in ketchd.out("info", "-f", "{{.CDISpecDirs}}")
