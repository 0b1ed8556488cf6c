"""The life cycle of containers over fakes: states, waits, events, races."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from engine.fakes import FakeLauncher, FakeShim, open_engine
from ketch.engine.containers import exec_store
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_values import ExecSpec
from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.list import ListOptions
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.spec import ContainerSpec, RestartPolicy
from ketch.engine.containers.store import ContainerStore
from ketch.engine.containers.update_values import Changes, UpdateOptions
from ketch.engine.containers.wait import WaitCondition
from ketch.engine.engine import Engine
from ketch.errors import (
    Conflict,
    InvalidParameter,
    NotFound,
    NotModified,
    StartFailed,
)


async def _create(engine: Engine, name: str = "", **asked: Any) -> str:
    container_id, _ = await engine.containers.create(ContainerSpec(image="box", **asked), name)
    return container_id


async def _status(engine: Engine, ref: str) -> Status:
    return (await engine.containers.get(ref)).state.status


async def _actions(engine: Engine) -> list[str]:
    """Every action of containers so far, in order."""
    stream = engine.events.stream(1, time.time_ns(), {"type": ("container",)})
    return [event.action async for event in stream]


async def test_run_with_rm_in_the_order_of_the_docker_cli(
    engine: Engine, launcher: FakeLauncher
) -> None:
    launcher.script = lambda shim: shim.end(3)
    container = await _create(engine, "one", auto_remove=True)
    ours, theirs = socket.socketpair()
    await engine.containers.attach("one", AttachOptions(sock=theirs, stdout=True))
    waiter = await engine.containers.wait("one", WaitCondition.REMOVED)
    await engine.containers.start("one")
    result = await asyncio.wait_for(waiter.result(), 60)
    assert result.status == 3
    assert launcher.clients[0]["stdout"] is True
    assert theirs.fileno() == -1
    with pytest.raises(NotFound):
        await engine.containers.get(container)
    assert await _actions(engine) == ["create", "attach", "start", "die", "destroy"]
    ours.close()


async def test_states_and_what_each_verb_refuses(engine: Engine, launcher: FakeLauncher) -> None:
    await _create(engine, "one")
    assert await _status(engine, "one") is Status.CREATED
    with pytest.raises(NotModified):
        await engine.containers.stop("one")
    with pytest.raises(Conflict, match="is not running"):
        await engine.containers.kill("one")
    await engine.containers.start("one")
    with pytest.raises(NotModified):
        await engine.containers.start("one")
    with pytest.raises(Conflict, match="stop the container before removing or force remove"):
        await engine.containers.remove("one")
    await engine.containers.stop("one")
    record = await engine.containers.get("one")
    assert (record.state.status, record.state.exit_code) == (Status.EXITED, 143)
    await engine.containers.remove("one")
    with pytest.raises(NotFound, match="No such container: one"):
        await engine.containers.remove("one", force=True)
    assert await _actions(engine) == ["create", "start", "kill", "stop", "die", "destroy"]


async def test_stop_kills_what_ignores_its_signal(engine: Engine, launcher: FakeLauncher) -> None:
    launcher.script = lambda shim: shim.ignores.add(10)
    container = await _create(engine, stop_signal="USR1")
    await engine.containers.start(container)
    await engine.containers.stop(container, timeout=0)
    assert launcher.shims[container].signals == [10, 9]
    assert (await engine.containers.get(container)).state.exit_code == 137


async def test_kill_gets_through_while_stop_waits(engine: Engine, launcher: FakeLauncher) -> None:
    launcher.script = lambda shim: shim.ignores.add(15)
    container = await _create(engine)
    await engine.containers.start(container)
    stopping = asyncio.ensure_future(engine.containers.stop(container, timeout=-1))
    await asyncio.sleep(0)
    await engine.containers.kill(container)
    await asyncio.wait_for(stopping, 60)


async def test_waits(engine: Engine, launcher: FakeLauncher) -> None:
    container = await _create(engine)
    assert (await (await engine.containers.wait(container)).result()).status == 0
    nexts = [await engine.containers.wait(container, WaitCondition.NEXT_EXIT) for _ in range(2)]
    nexts[1].cancel()
    await engine.containers.start(container)
    launcher.shims[container].end(5)
    assert (await asyncio.wait_for(nexts[0].result(), 60)).status == 5
    assert (await (await engine.containers.wait(container)).result()).status == 5


async def test_names(engine: Engine) -> None:
    first = await _create(engine, "/one")
    with pytest.raises(Conflict, match=f'"/one" is already in use by container "{first}"'):
        await _create(engine, "one")
    second = await _create(engine)
    assert "_" in (await engine.containers.get(second)).name
    with pytest.raises(Conflict, match="Error when allocating new name: Conflict"):
        await engine.containers.rename(second, "one")
    with pytest.raises(InvalidParameter, match="same name as its current name"):
        await engine.containers.rename("one", "one")
    await engine.containers.rename("one", "two")
    assert (await engine.containers.get("two")).id == first
    assert (await engine.containers.get(first[:12])).id == first


async def test_missing_image(engine: Engine) -> None:
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        await engine.containers.create(ContainerSpec(image="nope"))


async def test_failed_start_is_remembered(engine: Engine, launcher: FakeLauncher) -> None:
    launcher.failure = StartFailed('exec: "x": executable file not found in $PATH', 127)
    container = await _create(engine)
    with pytest.raises(StartFailed, match="failed to create task for container") as caught:
        await engine.containers.start(container)
    assert str(caught.value).endswith("executable file not found in $PATH")
    state = (await engine.containers.get(container)).state
    assert (state.status, state.exit_code) == (Status.CREATED, 127)
    assert "not found" in state.error


async def test_failed_start_with_rm_resolves_the_wait(
    engine: Engine, launcher: FakeLauncher
) -> None:
    launcher.failure = StartFailed("is a directory: permission denied", 126)
    container = await _create(engine, auto_remove=True)
    waiter = await engine.containers.wait(container, WaitCondition.REMOVED)
    with pytest.raises(StartFailed):
        await engine.containers.start(container)
    assert (await asyncio.wait_for(waiter.result(), 60)).status == 126
    assert await engine.containers.list(ListOptions(all=True)) == []


async def test_restart_policy_starts_again_until_stopped(
    engine: Engine, launcher: FakeLauncher
) -> None:
    runs = 0

    def script(shim: FakeShim) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            shim.end(1)

    launcher.script = script
    container = await _create(engine, restart=RestartPolicy(name="always"))
    await engine.containers.start(container)
    while runs < 3 or await _status(engine, container) is not Status.RUNNING:
        await asyncio.sleep(0.01)
    record = await engine.containers.get(container)
    assert record.state.restart_count == 2
    await engine.containers.stop(container)
    assert await _status(engine, container) is Status.EXITED


async def test_stop_while_a_restart_is_pending(engine: Engine, launcher: FakeLauncher) -> None:
    launcher.script = lambda shim: shim.end(1)
    container = await _create(engine, restart=RestartPolicy(name="on-failure"))
    waiter = await engine.containers.wait(container, WaitCondition.NEXT_EXIT)
    await engine.containers.start(container)
    await waiter.result()
    assert await _status(engine, container) is Status.RESTARTING
    await engine.containers.stop(container)
    assert await _status(engine, container) is Status.EXITED


async def test_update(engine: Engine) -> None:
    container = await _create(engine, auto_remove=True)
    with pytest.raises(InvalidParameter, match="AutoRemove is enabled"):
        await engine.containers.update(
            container, UpdateOptions(restart=RestartPolicy(name="always"))
        )


async def test_an_update_and_its_event_are_kept_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is killed has both or neither: the event is there before the record is."""
    container = await _create(engine, "one")
    told: list[str] = []
    put = ContainerStore.put

    def noting(store: ContainerStore, record: ContainerRecord) -> ContainerRecord:
        told.extend(event.action for event in store._database.rider._pending)  # type: ignore[union-attr]
        return put(store, record)

    monkeypatch.setattr(ContainerStore, "put", noting)
    changes = Changes(labels_add={"a": "b"})
    await engine.containers.update(container, UpdateOptions(changes=changes))
    assert told == ["update"]
    assert (await _actions(engine))[-1] == "update"


async def test_exec(engine: Engine, launcher: FakeLauncher) -> None:
    container = await _create(engine, "one", env=("A=1",))
    with pytest.raises(Conflict, match="is not running"):
        await engine.execs.create("one", ExecSpec(cmd=("true",)))
    await engine.containers.start("one")
    with pytest.raises(InvalidParameter, match="No exec command specified"):
        await engine.execs.create("one", ExecSpec(cmd=()))
    exec_id = await engine.execs.create("one", ExecSpec(cmd=("sh", "-c", "x"), env=("B=2",)))
    await engine.execs.start(exec_id)
    assert launcher.execs[0]["process"]["env"][-2:] == ["A=1", "B=2"]
    assert engine.execs.running_in(container) == (exec_id,)
    with pytest.raises(Conflict, match="is already running"):
        await engine.execs.start(exec_id)
    launcher.shims[exec_id].end(4)
    while (await engine.execs.inspect(exec_id)).exit_code is None:
        await asyncio.sleep(0)
    assert (await engine.execs.inspect(exec_id)).exit_code == 4
    assert engine.execs.running_in(container) == ()
    assert (await _actions(engine))[-3:] == [
        "exec_create: sh -c x",
        "exec_start: sh -c x",
        "exec_die",
    ]


async def test_execs_that_nobody_starts_are_bounded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stayed, of containers that are gone too, as long as the daemon ran."""
    monkeypatch.setattr(exec_store, "_MOST_WAITING", 3)
    first = await _create(engine, "one")
    other = await _create(engine, "two")
    for container in (first, other):
        await engine.containers.start(container)
        for _ in range(5):
            await engine.execs.create(container, ExecSpec(cmd=("true",)))
    assert len(await engine.execs.list(first)) == len(await engine.execs.list(other)) == 4
    await engine.containers.remove(first, force=True)
    await engine.execs.create(other, ExecSpec(cmd=("true",)))
    assert len(list(engine.execs._store)) == 4


async def test_failed_exec_is_told_as_output(engine: Engine, launcher: FakeLauncher) -> None:
    container = await _create(engine)
    await engine.containers.start(container)
    launcher.failure = StartFailed('exec: "x": executable file not found in $PATH', 127)
    exec_id = await engine.execs.create(container, ExecSpec(cmd=("x",)))
    ours, theirs = socket.socketpair()
    with ours:
        await engine.execs.start(exec_id, AttachOptions(sock=theirs, stdout=True))
        said = ours.recv(4096)
        assert said[:8] == b"\x01\0\0\0" + (len(said) - 8).to_bytes(4, "big")
        assert b"OCI runtime exec failed" in said
        assert ours.recv(1) == b""
    assert (await engine.execs.inspect(exec_id)).exit_code == 127


async def test_storm_on_one_name_is_some_linear_history(
    engine: Engine, launcher: FakeLauncher
) -> None:
    chance = random.Random(1)

    async def client() -> None:
        for _ in range(30):
            verb = chance.choice(("create", "start", "stop", "kill", "restart", "rm"))
            try:
                if verb == "create":
                    await _create(engine, "storm")
                elif verb == "rm":
                    await engine.containers.remove("storm", force=chance.random() < 0.5)
                else:
                    await getattr(engine.containers, verb)("storm")
            except (NotFound, Conflict, NotModified):
                pass

    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(8))), 60)
    records = await engine.containers.list(ListOptions(all=True))
    assert len(records) <= 1
    for record in records:
        await engine.containers.remove(record.id, force=True)


async def test_a_new_daemon_knows_everything_that_was_acknowledged(
    tmp_path: Path, launcher: FakeLauncher, networks: Any
) -> None:
    first = open_engine(tmp_path, launcher, networks)
    await first.start()
    created = await _create(first, "created")
    running = await _create(first, "running")
    await first.containers.start("running")
    # no close: the daemon is killed; no shim answers, so the process counts as lost
    second = open_engine(tmp_path, launcher, networks)
    second._parts.snapshots.keys = {created, running, "nobody"}  # type: ignore[attr-defined]
    await second.start()
    assert await _status(second, "created") is Status.CREATED
    state = (await second.containers.get("running")).state
    assert (state.status, state.exit_code) == (Status.EXITED, 137)
    assert second._parts.snapshots.keys == {created, running}  # type: ignore[attr-defined]
    assert (await _actions(second))[-2:] == ["start", "die"]
    await second.close()
    await first.close()


async def test_events_stream_live_and_filtered(engine: Engine) -> None:
    stream = engine.events.stream(filters={"event": ("rename",)})
    await _create(engine, "one")
    await engine.containers.rename("one", "two")
    event = await asyncio.wait_for(anext(stream), 60)
    assert (event.action, event.attributes["oldName"]) == ("rename", "/one")


async def test_prune(engine: Engine) -> None:
    kept = await _create(engine)
    await engine.containers.start(kept)
    gone = await _create(engine, labels={"a": "1"})
    spared = await _create(engine, labels={"a": "2"})
    report = await engine.containers.prune({"label": ("a=1",)})
    assert (report.deleted, report.reclaimed) == ((gone,), 7)
    assert {r.id for r in await engine.containers.list(ListOptions(all=True))} == {kept, spared}


async def test_health_probes(engine: Engine, launcher: FakeLauncher) -> None:
    check = Healthcheck(test=("CMD-SHELL", "test -f /ok"), interval=1_000_000, retries=2)
    container = await _create(engine, healthcheck=check)
    await engine.containers.start(container)
    codes = iter((0, 1, 1))
    launcher.script = lambda shim: shim.end(next(codes, 1))
    stream = engine.events.stream(since=1, filters={"event": ("health_status",)})
    actions = [(await asyncio.wait_for(anext(stream), 60)).action for _ in range(2)]
    assert actions == ["health_status: healthy", "health_status: unhealthy"]
    health = (await engine.containers.get(container)).state.health
    assert health is not None
    assert [probe.exit_code for probe in health.log[:3]] == [0, 1, 1]
    assert launcher.execs[0]["process"]["args"] == ["/bin/sh", "-c", "test -f /ok"]
    await engine.containers.stop(container)
