"""Many at once on one name: a linear history explains every answer (scorecard L7)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from e2e.contract_world import Answer, World
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

SLEEP = {"Image": "busybox", "Cmd": ["sleep", "600"], "Labels": {"contract": "1"}}


@pytest.fixture
def world(ketchd: Ketchd) -> Iterator[World]:
    made = World(ketchd)
    yield made
    made.clear()


def at_once(world: World, requests: list[tuple[str, str, Any]], lanes: int = 20) -> list[Answer]:
    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(lambda request: world.ask(*request), requests))


def test_a_hundred_creates_of_one_name(world: World, name: str) -> None:
    answers = at_once(world, [("POST", f"/containers/create?name={name}", SLEEP)] * 100)
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 99}
    made = next(answer.body["Id"] for answer in answers if answer.status == 201)
    for answer in answers:
        if answer.status == 409:
            assert f'"/{name}" is already in use by container "{made}"' in answer.body["message"]
    assert len(world.must("GET", f'/containers/json?all=1&filters={{"name":["^{name}$"]}}')) == 1


@pytest.mark.parametrize("kind", ["volumes", "networks"])
def test_a_hundred_creates_of_one_object(world: World, name: str, kind: str) -> None:
    body = {"Name": name, "Labels": {"contract": "1"}}
    answers = at_once(world, [("POST", f"/{kind}/create", body)] * 100)
    counts = Counter(answer.status for answer in answers)
    assert counts == ({201: 100} if kind == "volumes" else {201: 1, 409: 99})
    listed = world.must("GET", f'/{kind}?filters={{"name":["^{name}$"]}}')
    assert len(listed["Volumes"] if kind == "volumes" else listed) == 1


def test_twenty_starts_and_stops(world: World) -> None:
    """Of many starts one does it; of many stops one does it."""
    name = world.created(Cmd=["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"])
    starts = at_once(world, [("POST", f"/containers/{name}/start", None)] * 20)
    assert Counter(answer.status for answer in starts) == {204: 1, 304: 19}
    kills = at_once(world, [("POST", f"/containers/{name}/kill", None)] * 20)
    assert {answer.status for answer in kills} <= {204, 409}
    assert 204 in {answer.status for answer in kills}
    assert world.must("POST", f"/containers/{name}/wait") == {"StatusCode": 137}
    removals = at_once(world, [("DELETE", f"/containers/{name}", None)] * 20)
    counts = Counter(answer.status for answer in removals)
    assert counts[204] == 1
    assert set(counts) <= {204, 404, 409}


def test_a_storm_on_one_name(world: World, name: str) -> None:
    """Whatever the order, no answer is a fault of the server, and the end state is true."""
    dice = random.Random(7)
    verbs: list[tuple[str, str, Any]] = [
        ("POST", f"/containers/create?name={name}", SLEEP),
        ("POST", f"/containers/{name}/start", None),
        ("POST", f"/containers/{name}/stop?t=0", None),
        ("POST", f"/containers/{name}/kill", None),
        ("POST", f"/containers/{name}/restart?t=0", None),
        ("POST", f"/containers/{name}/pause", None),
        ("POST", f"/containers/{name}/unpause", None),
        ("POST", f"/containers/{name}/exec", {"Cmd": ["true"]}),
        ("POST", f"/containers/{name}/rename?name={name}", None),
        ("POST", f"/containers/{name}/update", {"PidsLimit": 100}),
        ("GET", f"/containers/{name}/json", None),
        ("GET", f"/containers/{name}/top", None),
        ("GET", f"/containers/{name}/archive?path=/etc/passwd", None),
        ("DELETE", f"/containers/{name}?force=1", None),
    ]
    answers = at_once(world, [dice.choice(verbs) for _ in range(400)], lanes=12)
    assert not [answer for answer in answers if answer.status >= 500]
    assert {201, 204} <= {answer.status for answer in answers}
    last = world.ask("DELETE", f"/containers/{name}?force=1")
    assert last.status in (204, 404)
    assert world.ask("GET", f"/containers/{name}/json").status == 404
    assert world.must("GET", f'/containers/json?all=1&filters={{"name":["^{name}$"]}}') == []
