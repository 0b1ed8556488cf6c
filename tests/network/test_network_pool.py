"""Address pools and subnets."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import Conflict, Forbidden, InvalidParameter
from ketch.network import subnets
from ketch.network.files import Resolver, hosts, resolv_conf
from ketch.network.pool import AddressPool, mac_of


def test_addresses_come_in_turn_and_are_not_reused_at_once() -> None:
    pool = AddressPool("10.9.0.0/29")
    first, second = pool.allocate(), pool.allocate()
    assert (first, second) == ("10.9.0.2", "10.9.0.3")
    pool.release(first)
    assert pool.allocate() == "10.9.0.4"


def test_a_full_pool_says_so_and_takes_back() -> None:
    pool = AddressPool("10.9.0.0/29")
    given_out = [pool.allocate() for _ in range(5)]
    with pytest.raises(Forbidden, match="no available IPv4 addresses"):
        pool.allocate()
    pool.release(given_out[2])
    assert pool.allocate() == given_out[2]


def test_static_addresses() -> None:
    pool = AddressPool("10.9.0.0/24")
    pool.reserve("10.9.0.7")
    with pytest.raises(Conflict, match="already in use"):
        pool.reserve("10.9.0.7")
    with pytest.raises(InvalidParameter, match="no configured subnet"):
        pool.reserve("10.8.0.7")
    with pytest.raises(InvalidParameter, match="invalid IPv4"):
        pool.reserve("nonsense")
    with pytest.raises(Conflict):
        pool.reserve("10.9.0.1")


def test_addresses_of_a_range() -> None:
    """The gateway has its first address; static ones may be anywhere."""
    pool = AddressPool("10.9.0.0/24", "", "10.9.0.128/30", ("10.9.0.130", "10.9.0.9"))
    assert pool.gateway == "10.9.0.128"
    assert [pool.allocate(), pool.allocate()] == ["10.9.0.129", "10.9.0.131"]
    with pytest.raises(Forbidden, match="no available IPv4 addresses"):
        pool.allocate()
    pool.reserve("10.9.0.5")
    for taken in ("10.9.0.9", "10.9.0.130"):
        with pytest.raises(Conflict, match="already in use"):
            pool.reserve(taken)
        pool.release(taken)  # nobody's, so nobody gets it
    pool.release("10.9.0.129")
    assert pool.allocate() == "10.9.0.129"
    first = AddressPool("10.9.0.0/24", "", "10.9.0.0/30")
    assert (first.gateway, first.allocate(), first.allocate()) == (
        "10.9.0.1", "10.9.0.2", "10.9.0.3",
    )  # fmt: skip
    assert AddressPool("10.9.0.0/24", "10.9.0.9", "10.9.0.64/26").allocate() == "10.9.0.64"


@pytest.mark.parametrize(
    ("ip_range", "reserved", "error"),
    [
        ("10.8.0.0/25", (), InvalidParameter), ("x", (), InvalidParameter),
        ("10.0.0.0/8", (), InvalidParameter), ("fd00::/64", (), InvalidParameter),
        ("", ("10.9.0.1",), Conflict), ("", ("10.9.0.5", "10.9.0.5"), Conflict),
        ("", ("10.8.0.1",), InvalidParameter), ("", ("x",), InvalidParameter),
    ],
)  # fmt: skip
def test_ranges_refused(ip_range: str, reserved: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        AddressPool("10.9.0.0/24", "", ip_range, reserved)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_no_address_is_given_twice(steps: list[tuple[bool, int]]) -> None:
    pool = AddressPool("10.9.0.0/28")
    held: list[str] = []
    for allocate, index in steps:
        if allocate and len(held) < 13:
            address = pool.allocate()
            assert address not in held
            assert address not in ("10.9.0.0", "10.9.0.1", "10.9.0.15")
            held.append(address)
        elif held:
            pool.release(held.pop(index % len(held)))


@pytest.mark.parametrize("text", ["10.0.0.0/31", "x", "10.0.0.0/33", "fd00::/64"])
def test_subnets_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        AddressPool(text)


def test_mac_follows_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_a_subnet_that_is_free(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t0100A8C0\t3\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t1\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    taken = subnets.in_use(str(table))
    assert taken == [ipaddress.IPv4Network("172.17.0.0/16")]
    assert str(subnets.choose(taken)) == "172.18.0.0/16"
    assert subnets.in_use(str(table), without="docker0") == []
    with pytest.raises(Forbidden, match="fully subnetted"):
        subnets.choose([ipaddress.IPv4Network("10.0.0.0/8")], [("10.1.0.0/16", 24)])


def test_hosts_file() -> None:
    text = hosts(["web", "", "web"], ["10.0.0.2"], ["db:10.0.0.9", "gw:host-gateway"], "10.0.0.1")
    assert text.endswith("10.0.0.9\tdb\n10.0.0.1\tgw\n10.0.0.2\tweb\n")
    with pytest.raises(InvalidParameter, match="bad format for add-host"):
        hosts([], [], ["nonsense"])
    with pytest.raises(InvalidParameter, match="host-gateway"):
        hosts([], [], ["gw:host-gateway"])


def test_resolv_conf() -> None:
    host = "# c\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch corp.example\noptions edns0\n"
    own = resolv_conf(host, Resolver(), own_namespace=True)
    assert own == "nameserver 10.1.1.1\nsearch corp.example\noptions edns0\n"
    shared = resolv_conf(host, Resolver(), own_namespace=False)
    assert "127.0.0.53" in shared
    asked = resolv_conf(host, Resolver(("9.9.9.9",), (".",), ("ndots:2",)), own_namespace=True)
    assert asked == "nameserver 9.9.9.9\noptions ndots:2\n"
    assert "8.8.8.8" in resolv_conf("nameserver ::1\n", Resolver(), own_namespace=True)
