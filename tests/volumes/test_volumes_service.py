"""The volume service over a real database and real directories."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.events.events import Events
from ketch.engine.volumes.volumes import Volumes
from ketch.errors import Conflict, InvalidParameter, NotFound, Unsupported
from ketch.state.database import Database


class World:
    """A data root; ``open`` is a start of the daemon on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = Database(str(root / "ketch.db"))
        self.events = Events(self.database)
        self.containers: list[ContainerRecord] = []

    def open(self) -> Volumes:
        return Volumes(str(self.root), self.database, self.events, lambda: self.containers)

    def use(self, volume: str, container: str) -> None:
        point = MountPoint(type="volume", source="", target="/x", name=volume)
        self.containers.append(
            ContainerRecord(
                id=container,
                name=container,
                created_at=1,
                image_id="",
                layers=(),
                spec=ContainerSpec(image="i"),
                mount_points=(point, point),
            )
        )

    def trash(self) -> list[str]:
        return os.listdir(self.root / "trash")


async def background() -> None:
    """Wait for everything that runs beside the test."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.gather(*others), 60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.database.close()


@pytest.fixture
def volumes(world: World) -> Volumes:
    return world.open()


async def test_repeated_create_returns_the_old_volume(volumes: Volumes) -> None:
    first = await volumes.create("data", labels={"a": "1"})
    again = await volumes.create("data", labels={"b": "2"}, options={"type": "tmpfs"})
    assert again == first == await volumes.get("data")
    assert os.path.isdir(first.mountpoint)


async def test_unnamed_volume_is_anonymous(volumes: Volumes) -> None:
    volume = await volumes.create("", labels={"a": "1"})
    assert re.fullmatch("[0-9a-f]{64}", volume.name)
    assert volume.anonymous
    assert volume.labels == {"a": "1", "com.docker.volume.anonymous": ""}


async def test_what_is_not_supported_is_refused_by_name(volumes: Volumes) -> None:
    with pytest.raises(Unsupported, match='"nfs" not found'):
        await volumes.create("data", driver="nfs")
    with pytest.raises(InvalidParameter, match='missing required option: "device"'):
        await volumes.create("data", options={"type": "nfs"})
    with pytest.raises(InvalidParameter, match='invalid option: "bogus"'):
        await volumes.create("data", options={"bogus": "nfs"})
    with pytest.raises(InvalidParameter, match='create a/b: "a/b" includes invalid'):
        await volumes.create("a/b")
    assert await volumes.list() == []


async def test_volumes_survive_a_restart(world: World, volumes: Volumes) -> None:
    volume = await volumes.create("data")
    Path(volume.mountpoint, "file").write_text("x")
    (world.root / "volumes" / "orphan" / "_data").mkdir(parents=True)
    assert await world.open().list() == [volume]
    assert Path(volume.mountpoint, "file").read_text() == "x"
    assert os.listdir(world.root / "volumes") == ["data"]
    assert len(world.trash()) == 1  # whoever empties the trash deletes it


async def test_remove_frees_the_name_at_once(world: World, volumes: Volumes) -> None:
    volume = await volumes.create("data")
    Path(volume.mountpoint, "file").write_text("x")
    await volumes.remove("data")
    assert os.listdir((await volumes.create("data")).mountpoint) == []
    await background()
    assert world.trash() == []


async def test_used_and_missing_volumes_are_not_removed(world: World, volumes: Volumes) -> None:
    await volumes.create("fv1")
    world.use("fv1", "c1")
    with pytest.raises(Conflict, match=re.escape("remove fv1: volume is in use - [c1]")):
        await volumes.remove("fv1", force=True)
    with pytest.raises(NotFound, match="get novol: no such volume"):
        await volumes.remove("novol")
    await volumes.remove("novol", force=True)
    with pytest.raises(NotFound, match="get novol: no such volume"):
        await volumes.get("novol")


async def test_list_filters(world: World, volumes: Volumes) -> None:
    await volumes.create("red-one", labels={"a": "1", "b": "2"})
    await volumes.create("blue-two", labels={"a": "1"})
    world.use("red-one", "c1")

    async def names(**filters: tuple[str, ...]) -> list[str]:
        return [volume.name for volume in await volumes.list(filters)]

    assert await names() == ["blue-two", "red-one"]
    assert await names(dangling=("true",)) == ["blue-two"]
    assert await names(dangling=("0",)) == ["red-one"]
    assert await names(name=("red", "two")) == ["blue-two", "red-one"]
    assert await names(label=("a=1", "b")) == ["red-one"]
    assert await names(driver=("nfs",)) == []
    with pytest.raises(InvalidParameter, match="dangling=maybe"):
        await names(dangling=("maybe",))
    with pytest.raises(InvalidParameter, match="'colour'"):
        await names(colour=("red",))


async def test_prune_takes_anonymous_ones_unless_told(world: World, volumes: Volumes) -> None:
    named, free, used = [await volumes.create(name) for name in ("named", "", "")]
    world.use(used.name, "c1")
    Path(free.mountpoint, "file").write_bytes(b"x" * 100)
    report = await volumes.prune()
    assert (report.deleted, report.reclaimed) == ((free.name,), 100)
    assert (await volumes.prune({"all": ("true",), "label": ("no",)})).deleted == ()
    assert (await volumes.prune({"all": ("true",)})).deleted == (named.name,)
    assert await volumes.list() == [used]


async def test_usage_counts_bytes_and_containers(world: World, volumes: Volumes) -> None:
    volume = await volumes.create("data")
    Path(volume.mountpoint, "file").write_bytes(b"x" * 7)
    world.use("data", "c1")
    assert await volumes.usage() == [(volume, 7, 1)]


async def test_events(world: World, volumes: Volumes) -> None:
    stream = world.events.stream(since=1, until=2**62)
    await volumes.create("data")
    await volumes.create("data")
    await volumes.remove("data")
    world.events.flush()
    found = [await anext(stream), await anext(stream)]
    assert [(e.type, e.action, e.actor, e.attributes) for e in found] == [
        ("volume", "create", "data", {"driver": "local"}),
        ("volume", "destroy", "data", {"driver": "local"}),
    ]


async def test_a_hostile_depth_is_deleted(world: World, volumes: Volumes) -> None:
    fd = os.open((await volumes.create("deep")).mountpoint, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert [size for _, size, _ in await volumes.usage()] == [0]
    await volumes.remove("deep")
    await background()
    assert world.trash() == []
