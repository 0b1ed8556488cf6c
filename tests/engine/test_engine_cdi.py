"""CDI files: read, refused, resolved and turned into an OCI configuration."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.engine.containers.limits import DeviceRequest
from ketch.engine.spec import cdi, device_requests
from ketch.engine.spec.cdi_registry import Registry
from ketch.errors import InvalidParameter

SPEC: dict[str, Any] = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/net",
    "containerEdits": {"env": ["ALL=1"]},
    "devices": [
        {"name": "one", "containerEdits": {
            "env": ["ONE=1"],
            "deviceNodes": [{"path": "/dev/one", "hostPath": "/dev/null", "permissions": "rw"}],
            "mounts": [{"hostPath": "/etc", "containerPath": "/mnt/etc", "options": ["ro"]}],
            "hooks": [{"hookName": "createRuntime", "path": "/bin/true", "args": ["true"]}],
            "additionalGids": [77],
        }},
        {"name": "two", "containerEdits": {"deviceNodes": [
            {"path": "/dev/two", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "gid": 5}
        ]}},
    ],
}  # fmt: skip
YAML = """
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits: {env: [GPU=0]}
- name: "1"
  containerEdits: {env: [GPU=1]}
- name: all
  containerEdits: {env: [GPU=all]}
"""


def write(folder: Path, name: str, content: object) -> str:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return str(folder)


def request(*ids: str) -> DeviceRequest:
    return DeviceRequest(driver="cdi", ids=ids)


def test_edits_of_several_devices(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "net.json", SPEC)
    found = device_requests.edits(
        [request("vendor.com/net=two", "vendor.com/net=one")], ["/nothing", folder]
    )
    assert found.env == ("ALL=1", "ONE=1")
    assert [node.path for node in found.device_nodes] == ["/dev/two", "/dev/one"]
    devices, rules = device_requests.nodes(found)
    assert devices[0] == {
        "path": "/dev/two", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 0,
        "gid": 5,
    }  # fmt: skip
    assert (devices[1]["major"], devices[1]["minor"]) == (1, 3)
    assert [rule["access"] for rule in rules] == ["rwm", "rw"]


def test_injected(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "net.json", SPEC)
    found = device_requests.edits([request("vendor.com/net=one")], [folder])
    config = {
        "process": {"env": ["PATH=/bin", "ONE=0"]},
        "mounts": [],
        "linux": {"devices": [], "resources": {"devices": []}},
    }
    made = device_requests.injected(config, found, external=False)
    assert set(made["process"]["env"]) == {"PATH=/bin", "ONE=1", "ALL=1"}
    assert made["mounts"] == [
        {"destination": "/mnt/etc", "type": "bind", "source": "/etc", "options": ["rbind", "ro"]}
    ]
    assert made["hooks"] == {"createRuntime": [{"path": "/bin/true", "args": ["true"]}]}
    assert config["linux"] == {"devices": [], "resources": {"devices": []}}


def test_a_later_directory_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "x.json", SPEC)
    other = {**SPEC, "containerEdits": {}, "devices": [
        {"name": "one", "containerEdits": {"env": ["LATER=1"]}}]}  # fmt: skip
    second = write(tmp_path / "b", "x.json", other)
    assert Registry([first, second]).edits(["vendor.com/net=one"]).env == ("LATER=1",)
    write(tmp_path / "b", "y.json", other)
    with pytest.raises(InvalidParameter, match=r"x\.json and .*y\.json have"):
        Registry([first, second]).edits(["vendor.com/net=one"])


@pytest.mark.parametrize(
    ("asked", "env"),
    [
        (DeviceRequest(count=-1, capabilities=(("gpu",),)), ("GPU=all",)),
        (DeviceRequest(count=1, capabilities=(("gpu",),)), ("GPU=0",)),
        (DeviceRequest(count=2, capabilities=(("gpu",),)), ("GPU=0", "GPU=1")),
        (DeviceRequest(driver="nvidia", ids=("1",), capabilities=(("gpu", "x"),)), ("GPU=1",)),
    ],
)
def test_gpus(tmp_path: Path, asked: DeviceRequest, env: tuple[str, ...]) -> None:
    folder = write(tmp_path / "a", "gpu.yaml", YAML)
    assert device_requests.edits([asked], [folder]).env == env


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (DeviceRequest(count=-1, capabilities=(("gpu",),)),
         r'could not select device driver "" with capabilities: \[\[gpu\]\]'),
        (DeviceRequest(driver="x", capabilities=(("a", "b"), ("c",))),
         r'could not select device driver "x" with capabilities: \[\[a b\] \[c\]\]'),
        (request("vendor.com/net=three"), "unresolvable CDI devices vendor.com/net=three"),
        (request("nonsense"), "unresolvable CDI devices nonsense"),
        (DeviceRequest(driver="cdi", count=1), "neither Count nor Options"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, asked: DeviceRequest, message: str) -> None:
    folder = write(tmp_path / "a", "net.json", SPEC)
    with pytest.raises(InvalidParameter, match=message):
        device_requests.edits([asked], [folder])


@pytest.mark.parametrize(
    "change",
    [
        {"cdiVersion": "9.0.0"}, {"kind": "nothing"}, {"kind": "a/../b"}, {"devices": []},
        {"devices": [{"name": "a b", "containerEdits": {}}]}, {"unknown": 1},
        {"devices": SPEC["devices"] * 2}, {"containerEdits": {"env": ["=x"]}},
        {"containerEdits": {"deviceNodes": [{"path": "rel"}]}},
        {"containerEdits": {"deviceNodes": [{"path": "/x", "permissions": "z"}]}},
        {"containerEdits": {"hooks": [{"hookName": "bogus", "path": "/x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "prestart", "path": "x"}]}},
        {"containerEdits": {"mounts": [{"hostPath": "/x", "containerPath": "y"}]}},
    ],
)  # fmt: skip
def test_files_that_break_the_rules_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write(tmp_path / "a", "net.json", {**SPEC, **change})
    with pytest.raises(InvalidParameter, match=r"unresolvable .*net\.json"):
        Registry([folder]).edits(["vendor.com/net=nowhere"])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_hostile_files(data: bytes) -> None:
    for path in ("/x.json", "/x.yaml"):
        with contextlib.suppress(InvalidParameter):
            cdi.parse(data, path)


def test_edits_that_cannot_be_made() -> None:
    hook = cdi.Hook(hook_name="createContainer", path="/x")
    with pytest.raises(InvalidParameter, match="createContainer hook /x"):
        device_requests.check_supported(cdi.Edits(hooks=(hook,)), external=False)
    device_requests.check_supported(cdi.Edits(hooks=(hook,)), external=True)
    with pytest.raises(InvalidParameter, match="netDevices"):
        device_requests.check_supported(cdi.Edits(net_devices=({"name": "x"},)), external=True)
    assert os.path.exists("/dev/null")
    with pytest.raises(InvalidParameter, match="CDI device node /dev/nothing"):
        device_requests.nodes(cdi.Edits(device_nodes=(cdi.Node(path="/dev/nothing"),)))
