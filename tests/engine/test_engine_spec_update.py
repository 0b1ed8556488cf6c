"""Changing a specification: what is set, replaced, removed, refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.engine.containers.spec import ContainerSpec, MountSpec, PortSpec
from ketch.engine.containers.update_values import Changes
from ketch.engine.spec.update import with_live, with_next
from ketch.errors import InvalidParameter

PORTS = (
    PortSpec(container_port=80, host_port="8080"),
    PortSpec(container_port=80, host_port="8081", host_ip="127.0.0.1"),
    PortSpec(container_port=53, protocol="udp", host_port="53"),
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("80", [2]),
        ("8080:80", [1, 2]),
        ("127.0.0.1:8081:80/tcp", [0, 2]),
        ("0.0.0.0:8080:80", [1, 2]),
        ("53/udp", [0, 1]),
    ],
)
def test_ports_are_removed_by_as_much_as_is_said(text: str, left: list[int]) -> None:
    spec = ContainerSpec(image="x", ports=PORTS)
    changed = with_live(spec, Changes(ports_remove=(text,)))
    assert changed.ports == tuple(PORTS[index] for index in left)


@given(st.text(max_size=30))
def test_no_text_breaks_the_removal_of_ports(text: str) -> None:
    spec = ContainerSpec(image="x", ports=PORTS)
    try:
        changed = with_live(spec, Changes(ports_remove=(text,)))
    except InvalidParameter:
        return
    assert len(changed.ports) < len(PORTS)


def test_a_port_that_is_published_again_is_not_doubled() -> None:
    spec = ContainerSpec(image="x", ports=PORTS)
    assert with_live(spec, Changes(ports_add=PORTS[:1])).ports == PORTS
    new = PortSpec(container_port=81, host_port="1")
    changed = with_live(spec, Changes(ports_add=(new,)))
    assert changed.ports == (*PORTS, new)
    assert changed.exposed_ports == ("81/tcp",)


def test_variables_keep_their_places() -> None:
    spec = ContainerSpec(image="x", env=("A=1", "B=2", "C=3"))
    changed = with_next(spec, Changes(env_add=("B=x", "D=4"), env_remove=("A",)))
    assert changed.env == ("B=x", "C=3", "D=4")
    with pytest.raises(InvalidParameter, match="NAME=VALUE"):
        with_next(spec, Changes(env_add=("A",)))


def test_mounts_are_replaced_by_target_and_binds_follow() -> None:
    bind = MountSpec(type="bind", source="/a", target="/one/")
    other = MountSpec(type="bind", source="/b", target="/two")
    typed = MountSpec(type="tmpfs", target="/three")
    spec = ContainerSpec(
        image="x", mounts=(bind, other, typed), binds=("/a:/one/", "/b:/two"),
        anonymous_volumes=("/four", "/five"),
    )  # fmt: skip
    new = MountSpec(type="tmpfs", target="/one")
    changed = with_next(spec, Changes(mounts_add=(new,), mounts_remove=("/three", "/four/")))
    assert changed.mounts == (other, new)
    assert changed.binds == ("/b:/two",)
    assert changed.anonymous_volumes == ("/five",)
