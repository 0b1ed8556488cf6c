"""Plans are values: what is taken from the warm stage, what is refused."""

from __future__ import annotations

import marshal
from typing import Any

import pytest

from ketch.errors import InvalidParameter, Unsupported
from ketch.linux import mountapi as m
from ketch.runtime import defaults, mount_options
from ketch.runtime.namespace_plan import plan_namespaces
from ketch.runtime.plan import PREPARED, plan_launch


def test_defaults_are_taken_from_the_warm_stage() -> None:
    plan = plan_launch(defaults.default_spec())
    kinds = [(mount.type, mount.target) for mount in plan.mounts]
    assert kinds == [(PREPARED, "/proc"), (PREPARED, "/dev"), (PREPARED, "/sys")]
    assert plan.masked == []
    assert plan.readonly == []


def test_other_shm_size_mounts_dev_anew() -> None:
    spec = defaults.default_spec() | {"mounts": defaults.default_mounts(4096)}
    kinds = [(mount.type, mount.target) for mount in plan_launch(spec).mounts]
    assert (PREPARED, "/dev") not in kinds
    assert ("tmpfs", "/dev") in kinds
    assert ("devpts", "/dev/pts") in kinds
    assert (PREPARED, "/proc") in kinds


def test_unmasked_proc_is_mounted_anew() -> None:
    spec = defaults.default_spec()
    spec["linux"]["maskedPaths"].remove("/proc/kcore")
    plan = plan_launch(spec)
    assert ("proc", "/proc") in [(mount.type, mount.target) for mount in plan.mounts]
    assert "/proc/keys" in plan.masked
    assert "/proc/kcore" not in plan.masked
    assert "/proc/sys" in plan.readonly


def test_more_masks_are_added() -> None:
    spec = defaults.default_spec()
    spec["linux"]["maskedPaths"].append("/proc/uptime")
    plan = plan_launch(spec)
    assert plan.masked == ["/proc/uptime"]
    assert plan.mounts[0].type == PREPARED


def test_mount_left_out_is_not_there() -> None:
    spec = defaults.default_spec()
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "mqueue"]
    kinds = [(mount.type, mount.target) for mount in plan_launch(spec).mounts]
    assert (PREPARED, "/dev") not in kinds
    assert "mqueue" not in dict(kinds)


def test_binds_keep_their_order_on_top() -> None:
    spec = defaults.default_spec()
    for target in ("/a", "/dev/shm", "/a//b/"):
        spec["mounts"].append({"destination": target, "source": "/x", "options": ["rbind", "ro"]})
    plan = plan_launch(spec)
    assert [mount.target for mount in plan.bind_sources] == ["/a", "/dev/shm", "/a/b"]
    assert plan.mounts[-3:] == plan.bind_sources


def test_user_namespaces_bind_devices() -> None:
    plan = plan_launch(defaults.default_spec(), has_user_namespace=True, warm=False)
    assert "/dev/null" in [mount.target for mount in plan.bind_sources]
    assert all(mount.type != PREPARED for mount in plan.mounts)


def test_wire_is_made_of_builtins() -> None:
    assert marshal.loads(marshal.dumps(plan_launch(defaults.default_spec()).to_wire()))


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("linux", {"intelRdt": {"closID": "x"}}),
        ("linux", {"mountLabel": "x"}),
        ("linux", {"personality": {"domain": "LINUX32"}}),
        ("process", {"apparmorProfile": "docker-default"}),
        ("process", {"selinuxLabel": "x"}),
        ("process", {"scheduler": {"policy": "SCHED_FIFO"}}),
    ],
)
def test_what_is_not_done_is_refused(section: str, value: dict[str, Any]) -> None:
    spec = defaults.default_spec()
    spec[section] |= value
    with pytest.raises(Unsupported, match=next(iter(value))):
        plan_launch(spec)


def test_mount_options() -> None:
    found = mount_options.parse(["ro", "rw", "nosuid", "noatime", "rslave", "size=1m", "rbind"])
    assert found.set == m.ATTR_NOSUID | m.ATTR_NOATIME
    assert found.clear & m.ATTR_RDONLY
    assert (found.propagation, found.tree_propagation) == (m.MS_SLAVE, True)
    assert found.data == [("size", "1m")]
    assert found.recursive
    tree = mount_options.parse(["rro", "private"])
    assert (tree.tree_set, tree.propagation) == (m.ATTR_RDONLY, m.MS_PRIVATE)
    assert not tree.tree_propagation


def test_namespaces() -> None:
    plan = plan_namespaces([{"type": "mount"}, {"type": "network", "path": "/n"}, {"type": "pid"}])
    assert plan.joins_after_clone == [("network", 0x40000000, "/n")]
    assert plan.clone_flags == 0x20020000
    for bad in ([], [{"type": "pid"}], [{"type": "mount", "path": "/x"}]):
        with pytest.raises(Unsupported):
            plan_namespaces(bad)
    for bad in ([{"type": "x"}], [{"type": "mount"}, {"type": "mount"}]):
        with pytest.raises(InvalidParameter):
            plan_namespaces(bad)
