"""Checks before anything is made: refused in Docker's words, by the name of the option."""

import pytest

from ketch.engine.containers.limits import DeviceMap, Resources, Ulimit
from ketch.engine.containers.spec import (
    ContainerSpec,
    EndpointSpec,
    LogConfig,
    MountSpec,
    PortSpec,
    RestartPolicy,
)
from ketch.engine.spec.validate import Facts, validate
from ketch.errors import KetchError
from ketch.linux.capabilities import NAMES

FACTS = Facts(cpus=2, capabilities=frozenset(NAMES))


def _resources(**limits: object) -> dict[str, object]:
    return {"resources": Resources(**limits)}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (_resources(memory=1 << 20), "Minimum memory limit allowed is 6MB"),
        (_resources(nano_cpus=3 * 10**9), "range of CPUs is from 0.01 to 2.00"),
        (_resources(memory=1 << 30, memory_swap=1 << 20), "memoryswap limit should be larger"),
        (_resources(ulimits=(Ulimit(name="x", soft=1, hard=1),)), "invalid ulimit type: x"),
        (_resources(device_cgroup_rules=("nonsense",)), "invalid device cgroup rule format"),
        ({"restart": RestartPolicy(name="bogus")}, "unknown policy 'bogus'; use one of"),
        (
            {"restart": RestartPolicy(name="always"), "auto_remove": True},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"stop_signal": "SIGFOO"}, "invalid signal: SIGFOO"),
        ({"cap_add": ("bogus",)}, 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
        ({"shm_size": -1}, "SHM size can not be less than 0"),
        ({"pid_mode": "bogus"}, "invalid PID mode: bogus"),
        ({"userns_mode": "keep-id"}, "invalid user namespace mode"),
        ({"working_dir": "rel"}, "needs to be an absolute path"),
        ({"log": LogConfig(driver="bogus")}, "no log driver named 'bogus'"),
        ({"log": LogConfig(options={"bogus": "1"})}, "unknown log opt 'bogus'"),
        ({"security_options": ("apparmor=docker",)}, "apparmor=docker"),
        ({"sysctls": {"kernel.panic": "1"}}, "kernel.panic"),
        ({"sysctls": {"net.x": "1"}, "network_mode": "host"}, "host's network"),
        (
            {"network_mode": "container:x", "ports": (PortSpec(container_port=1),)},
            "port publishing",
        ),
        ({"ports": (PortSpec(container_port=99999),)}, "invalid port"),
        ({"extra_hosts": ("nonsense",)}, "bad format for add-host"),
        ({"mounts": (MountSpec(type="bind", source="/a\0", target="/x"),)}, "invalid mount"),
        ({"mounts": (MountSpec(type="volume", target="/a\0"),)}, "invalid mount path .* NUL"),
        ({"mounts": (MountSpec(type="volume", target="/a" * 2100),)}, "longer than 4095 bytes"),
        ({"cmd": ("/bin/a\0b",)}, "invalid command .* it has a NUL character"),
        ({"entrypoint": ("a", "\0")}, "invalid command"),
        ({"env": ("A=b\0C=d",)}, "invalid environment variable"),
        ({"masked_paths": ("\0",)}, "invalid masked path"),
        ({"readonly_paths": ("/" + "a" * 256,)}, "longer than 255 bytes"),
        ({"working_dir": "/a\0"}, "invalid working directory"),
        (_resources(devices=(DeviceMap(host_path="/x\0", container_path="/x"),)), "invalid device"),
        (_resources(devices=(DeviceMap(host_path="/x", container_path="x"),)), "absolute paths"),
        (_resources(ulimits=(Ulimit(name="nofile", soft=-5, hard=-5),)), "-1 is unlimited"),
        ({"mounts": (MountSpec(type="bind", source="/x", target="v"),)}, "must be absolute"),
        (
            {
                "mounts": (
                    MountSpec(type="tmpfs", target="/a"),
                    MountSpec(type="tmpfs", target="/a/"),
                )
            },
            "Duplicate mount point",
        ),
        ({"isolation": "hyperv"}, "invalid isolation"),
        ({"endpoints": (EndpointSpec(network="n", links=("a",)),)}, "--link"),
        ({"endpoints": (EndpointSpec(network="n", mac="01:00:00:00:00:01"),)}, "MAC"),
        ({"ports": (PortSpec(container_port=1, host_port="8000-7000"),)}, "range of ports"),
        ({"ports": (PortSpec(container_port=1, host_ip="localhost"),)}, "IP address"),
        ({"log": LogConfig(options={"mode": "maybe"})}, "logging mode"),
    ],
)
def test_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(KetchError, match=message):
        validate(ContainerSpec(image="x", **asked), FACTS)


def test_everything_by_default_is_taken() -> None:
    assert validate(ContainerSpec(image="x"), FACTS) == ()


def test_ports_with_the_hosts_network_are_warned_of() -> None:
    spec = ContainerSpec(image="x", network_mode="host", ports=(PortSpec(container_port=80),))
    assert validate(spec, FACTS) == ("Published ports are discarded when using host network mode",)
