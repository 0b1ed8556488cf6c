"""Sysctls: what is of the whole machine, or no single value, is refused (scorecard R14)."""

from __future__ import annotations

import pytest

from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec.sysctls import check
from ketch.errors import InvalidParameter

HOSTILE = (
    ("kernel.panic", "1"), ("kernel.core_pattern", "|/x"), ("vm.swappiness", "1"),
    ("fs.file-max", "1"), ("fs.mqueue", "1"), ("kernel", "1"), ("net", "1"), ("", "1"),
    ("net.", "1"), ("net..x", "1"), ("net.ipv4/../../kernel.panic", "1"), ("net/../x", "1"),
    ("net.x/..", "1"), ("net.x\nkernel.panic", "1"), ("net.x y", "1"), ("net.x\0", "1"),
    (" net.x", "1"), ("net.ｘ", "1"), ("net.x", "1\n2"), ("net.x", "1\0"), ("net.x", ""),
    ("net.x", "1\r"), ("net.x", "x" * 2000), ("net.x", "é"), ("kernel.shmmax.", "1"),
    ("kernel.shmmax\n", "1"), ("/proc/sys/net.x", "1"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidParameter, match="sysctl"):
        check(ContainerSpec(image="x", sysctls={name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.eth0/100.forwarding", "1"),
     ("net.ipv4.ping_group_range", "0 100"), ("kernel.sem", "1\t2 3 4"), ("fs.mqueue.msg_max", "9"),
     ("net.ipv6.conf.br-0@x.disable_ipv6", "-1")],
)  # fmt: skip
def test_fine(name: str, value: str) -> None:
    check(ContainerSpec(image="x", sysctls={name: value}))


def test_namespaces_of_the_host_are_not_the_containers() -> None:
    for spec in (
        ContainerSpec(image="x", network_mode="host", sysctls={"net.x": "1"}),
        ContainerSpec(image="x", ipc_mode="host", sysctls={"kernel.sem": "1"}),
    ):
        with pytest.raises(InvalidParameter, match="host's"):
            check(spec)
