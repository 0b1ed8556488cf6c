"""Names, signals, filters, policies, health: rules without a kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.engine.containers import detach_keys, restart
from ketch.engine.containers import filters as container_filters
from ketch.engine.containers import names as container_names
from ketch.engine.containers import signals as container_signals
from ketch.engine.containers.health import judged
from ketch.engine.containers.health_values import Health, Healthcheck, HealthProbe
from ketch.engine.containers.record import ContainerRecord, ContainerState, Status
from ketch.engine.containers.spec import ContainerSpec, RestartPolicy
from ketch.engine.containers.top import select
from ketch.engine.events import filters as event_filters
from ketch.engine.events.values import Event
from ketch.errors import InvalidParameter, KetchError, NotFound


def _record(name: str = "a", **state: object) -> ContainerRecord:
    return ContainerRecord(
        id=name * 64,
        name=name,
        created_at=ord(name),
        image_id="sha256:1",
        layers=(),
        spec=ContainerSpec(image="x", labels={"k": "v"}, exposed_ports=("80/tcp",)),
        state=ContainerState(**state),
    )


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "", "ä1", "a/b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        container_names.check(name)


def test_generated_names_are_valid_and_free() -> None:
    taken = {container_names.generate(lambda _: False) for _ in range(50)}
    assert all(container_names.check(name) == name for name in taken)
    assert container_names.generate(taken.__contains__) not in taken


@pytest.mark.parametrize("text", ["USR1", "SIGUSR1", "sigusr1", "10"])
def test_signals(text: str) -> None:
    assert container_signals.parse(text) == 10


@given(st.text(max_size=12))
def test_signals_of_any_text_are_numbers_or_refused(text: str) -> None:
    try:
        assert 1 <= container_signals.parse(text) <= 64
    except InvalidParameter:
        pass


def test_detach_keys() -> None:
    assert detach_keys.parse("") == [16, 17]
    assert detach_keys.parse("a,ctrl-[") == [97, 27]
    with pytest.raises(InvalidParameter, match=r"Invalid escape keys \(zz-\) provided"):
        detach_keys.parse("zz-")


def _selected(record: ContainerRecord, **filters: tuple[str, ...]) -> bool:
    def missing(ref: str) -> ContainerRecord:
        raise NotFound(ref)

    return container_filters.matches(
        record, container_filters.prepare(filters, missing, lambda ref: ())
    )


def test_container_filters() -> None:
    record = _record(status=Status.EXITED, exit_code=3)
    assert _selected(record, status=("running", "exited"))
    assert not _selected(record, status=("running",))
    assert _selected(record, exited=("3",), label=("k",), name=("^/a$",), expose=("80",))
    assert not _selected(record, label=("k=w",))
    assert not _selected(record, ancestor=("nothing",))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"bogus": ("1",)}, "invalid filter 'bogus'"),
        ({"status": ("x",)}, "must be one of created, running"),
        ({"exited": ("x",)}, "not a number"),
    ],
)
def test_bad_container_filters(filters: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        _selected(_record(), **filters)


def test_event_filters() -> None:
    event = Event(
        type="container",
        action="exec_start: sh -c x",
        actor="abc",
        attributes={"name": "n", "image": "i:1", "k": "v"},
    )
    for filters in (
        {"type": ("container",)},
        {"event": ("exec_start",)},
        {"container": ("n",)},
        {"container": ("ab",)},
        {"image": ("i",)},
        {"label": ("k=v",)},
        {"bogus": ("x",)},
    ):
        assert event_filters.matches(event, filters)
    assert not event_filters.matches(event, {"type": ("image",)})
    assert not event_filters.matches(event, {"label": ("k=w",)})


def test_restart_policies() -> None:
    always, failure = RestartPolicy(name="always"), RestartPolicy(name="on-failure", max_retries=2)
    assert restart.wanted(always, exit_code=0, restart_count=9, stopped_by_user=False)
    assert not restart.wanted(always, exit_code=0, restart_count=0, stopped_by_user=True)
    assert restart.wanted(failure, exit_code=1, restart_count=1, stopped_by_user=False)
    assert not restart.wanted(failure, exit_code=1, restart_count=2, stopped_by_user=False)
    assert not restart.wanted(failure, exit_code=0, restart_count=0, stopped_by_user=False)


def test_restart_delay_doubles_to_a_minute_and_starts_anew() -> None:
    delays = [0.0]
    for _ in range(12):
        delays.append(restart.next_delay(delays[-1], 1.0))
    assert delays[1:4] == [0.1, 0.2, 0.4]
    assert delays[-1] == 60.0
    assert restart.next_delay(30.0, 11.0) == 0.1


def test_health_is_judged() -> None:
    check = Healthcheck(test=("CMD", "x"), retries=2)
    bad, good = (HealthProbe(start=1, end=2, exit_code=code) for code in (1, 0))
    health = judged(Health(), bad, check, within_start=True)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health = judged(health, bad, check, within_start=False)
    assert (health.status, health.failing_streak) == ("starting", 1)
    health = judged(health, bad, check, within_start=False)
    assert health.status == "unhealthy"
    health = judged(health, good, check, within_start=False)
    assert (health.status, health.failing_streak, len(health.log)) == ("healthy", 0, 4)


def test_top_keeps_the_rows_of_the_container() -> None:
    table = select("PID CMD\n 1 init\n 7 sh -c x\n", {7})
    assert table.processes == (("7", "sh -c x"),)
    with pytest.raises(KetchError, match="Couldn't find PID field"):
        select("X Y\n1 2\n", {1})


@pytest.mark.parametrize(
    ("policy", "exit_code", "count", "stopped", "wanted"),
    [
        ("no", 1, 0, False, False),
        ("always", 0, 9, True, True),
        ("unless-stopped", 0, 9, False, True),
        ("unless-stopped", 0, 0, True, False),
        ("on-failure", 1, 2, False, True),
        ("on-failure", 1, 3, False, False),  # it had its three
        ("on-failure", 0, 0, False, False),
        ("on-failure", 1, 0, True, False),
    ],
)
def test_who_is_started_with_the_engine(
    policy: str, exit_code: int, count: int, stopped: bool, wanted: bool
) -> None:
    asked = RestartPolicy(name=policy, max_retries=3 if policy == "on-failure" else 0)
    found = restart.wanted_at_boot(
        asked, exit_code=exit_code, restart_count=count, stopped_by_user=stopped
    )
    assert found is wanted
