"""Names, removal by Docker's rules, filters, history, collection."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from images.image_rig import Rig, gather, pieces, tar
from ketch.engine.containers.record import ContainerState, Status
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.images.values import CommitOptions, ImageRecord, ImportOptions, NewImage, Removed
from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.oci import image as images

BASE = tar({"base": b"1" * 1000})
TOP = tar({"top": b"2" * 500})
RUNNING = ContainerState(status=Status.RUNNING)
STOPPED = ContainerState(status=Status.EXITED)


async def test_refs(rig: Rig) -> None:
    image = await rig.make(BASE, tags=("app", "me/app:2"))
    digits = image.id[7:]
    for ref in ("app", "app:latest", "docker.io/library/app", "me/app:2", image.id, digits,
                digits[:12], digits[:4], f"sha256:{digits[:9]}"):  # fmt: skip
        assert rig.images.resolve(ref).id == image.id
    for ref, message in (
        ("nothing", "No such image: nothing:latest"),
        ("app:3", "No such image: app:3"),
        (f"app@{image.id}", f"No such image: app@{image.id}"),
        ("f" * 64, "No such image: " + "f" * 64),
    ):
        with pytest.raises(NotFound) as caught:
            rig.images.resolve(ref)
        assert str(caught.value) == message
    with pytest.raises(InvalidParameter, match="must be lowercase"):
        rig.images.resolve("App")


async def test_a_tag_moves(rig: Rig) -> None:
    first = await rig.make(BASE, tags=("app:1",))
    second = await rig.make(TOP, tags=("app:1",))
    assert rig.images.resolve("app:1").id == second.id
    assert rig.images.resolve(first.id).tags == ()
    await rig.images.tag(first.id, "app:1")
    assert rig.images.resolve("app:1").id == first.id
    with pytest.raises(InvalidParameter, match="digest reference"):
        await rig.images.tag(first.id, f"x@{first.id}")
    with pytest.raises(NotFound):
        await rig.images.tag("nothing", "x")


async def test_only_what_is_new_is_waited_for_on_the_disk(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is made again, as a build from the cache does, is only tagged later."""
    asked: list[bool] = []
    whole = rig.database.transaction

    def transaction(*, durable: bool = True) -> AbstractContextManager[None]:
        asked.append(durable)
        return whole(durable=durable)

    monkeypatch.setattr(rig.database, "transaction", transaction)
    first = await rig.make(BASE, tags=("app:1",))
    assert any(asked)
    asked.clear()
    again = await rig.make(BASE, tags=("app:1",))
    assert again.id == first.id
    assert asked
    assert not any(asked)
    for layer, tag in ((BASE, "app:2"), (TOP, "app:1"), (BASE, "app:1")):
        asked.clear()
        await rig.make(layer, tags=(tag,))
        assert any(asked), tag


async def test_removal_of_names_and_then_of_the_image(rig: Rig) -> None:
    image = await rig.make(BASE, TOP, tags=("app:1", "app:2"))
    assert await rig.images.remove("app:1") == (Removed(untagged="app:1"),)
    assert await rig.images.remove("app:2") == (
        Removed(untagged="app:2"),
        Removed(deleted=image.id),
    )
    assert rig.stored() == set()
    with pytest.raises(NotFound, match="No such image: app:2"):
        await rig.images.remove("app:2")


async def test_removal_by_id(rig: Rig) -> None:
    image = await rig.make(BASE, tags=("app:1", "app:2"))
    short = image.id[7:19]
    with pytest.raises(Conflict) as caught:
        await rig.images.remove(short)
    assert str(caught.value) == (
        f"conflict: unable to delete {short} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    removed = await rig.images.remove(short, force=True)
    assert removed[-1] == Removed(deleted=image.id)
    assert rig.images.records() == []


async def test_shared_layers_stay(rig: Rig) -> None:
    await rig.make(BASE, tags=("base",))
    await rig.make(BASE, TOP, tags=("app",))
    assert {item.shared_size for item in await rig.images.list({}, shared_size=True)} == {1000}
    assert rig.images.layers_size() == 1500
    await rig.images.remove("base")
    assert [rig.snapshots.layer(layer).size for layer in rig.snapshots.layers()]
    assert len(list(rig.snapshots.layers())) == 2
    await rig.images.remove("app")
    assert rig.stored() == set()


async def test_images_in_use(rig: Rig) -> None:
    image = await rig.make(BASE, tags=("app:1",))
    short = image.id[7:19]
    rig.container(image, state=STOPPED)
    with pytest.raises(Conflict) as caught:
        await rig.images.remove("app:1")
    assert str(caught.value) == (
        "conflict: unable to delete app:1 (must be forced) - container cccccccccccc "
        f"is using its referenced image {short}"
    )
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped"):
        await rig.images.remove(short)
    rig.containers.clear()
    rig.container(image, state=RUNNING)
    with pytest.raises(Conflict) as caught:
        await rig.images.remove(short, force=True)
    assert str(caught.value) == (
        f"conflict: unable to delete {short} (cannot be forced) - "
        "image is being used by running container cccccccccccc"
    )
    assert await rig.images.remove("app:1", force=True) == (Removed(untagged="app:1"),)
    assert rig.snapshots.has_layer(image.layers[0])
    rig.containers.clear()
    assert (await rig.images.prune({})).removed == (Removed(deleted=image.id),)
    assert rig.stored() == set()


async def test_a_forced_removal_keeps_the_layers_of_a_stopped_container(rig: Rig) -> None:
    image = await rig.make(BASE, tags=("app:1",))
    rig.container(image, state=STOPPED)
    removed = await rig.images.remove(image.id, force=True)
    assert removed[-1] == Removed(deleted=image.id)
    assert rig.snapshots.has_layer(image.layers[0])
    rig.containers.clear()
    await rig.images.collect_garbage()
    assert rig.stored() == set()


async def test_prune(rig: Rig) -> None:
    await rig.make(BASE, tags=())
    await rig.make(TOP, tags=("kept:1",), labels={"keep": "me"})
    report = await rig.images.prune({})
    assert [line.untagged for line in report.removed] == [""]
    assert report.reclaimed == 1000
    assert (await rig.images.prune({"dangling": ("false",), "label!": ("keep",)})).removed == ()
    assert len((await rig.images.prune({"dangling": ("false",)})).removed) == 2
    with pytest.raises(InvalidParameter, match="invalid filter 'colour'"):
        await rig.images.prune({"colour": ("red",)})


async def test_children_hold_their_parent(rig: Rig) -> None:
    parent = await rig.make(BASE, tags=())
    config = images.decode(rig.images.config_blob(parent.id))
    blob = images.encode(config).replace(b"layer 0", b"layer x")
    await rig.images.create(
        NewImage(config=blob, layers=parent.layers, tags=("child",), parent=parent.id)
    )
    with pytest.raises(Conflict, match=r"cannot be forced\) - image has dependent child images"):
        await rig.images.remove(parent.id, force=True)
    assert [item.record.tags for item in await rig.images.list({})] == [("child:latest",)]
    assert len(await rig.images.list({}, all=True)) == 2
    removed = await rig.images.remove("child")
    assert removed[-1] == Removed(deleted=parent.id)
    assert rig.images.records() == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["new:1", "me/old:2"]),
        ({"reference": ("new",)}, ["new:1"]),
        ({"reference": ("*/o*",)}, ["me/old:2"]),
        ({"reference": ("*",)}, ["new:1"]),
        ({"reference": ("new:2", "me/old:*")}, ["me/old:2"]),
        ({"label": ("a=b",)}, ["me/old:2"]),
        ({"label": ("a=c",)}, []),
        ({"label!": ("a",)}, ["new:1"]),
        ({"before": ("new:1",)}, ["me/old:2"]),
        ({"since": ("me/old:2",)}, ["new:1"]),
        ({"until": (str(1_600_000_000 * 10**9),)}, ["me/old:2"]),
        ({"dangling": ("true",)}, []),
        ({"dangling": ("false",)}, ["new:1", "me/old:2"]),
    ],
)
async def test_filters(rig: Rig, filters: dict[str, tuple[str, ...]], found: list[str]) -> None:
    await rig.make(TOP, tags=("new:1",), created="2024-01-01T00:00:00Z")
    await rig.make(BASE, tags=("me/old:2",), created="2020-01-01T00:00:00Z", labels={"a": "b"})
    assert [item.record.tags[0] for item in await rig.images.list(filters)] == found


async def test_bad_filters(rig: Rig) -> None:
    for filters in ({"x": ("y",)}, {"dangling": ("maybe",)}, {"until": ("now",)}):
        with pytest.raises(InvalidParameter, match="invalid filter"):
            await rig.images.list(filters)
    with pytest.raises(NotFound):
        await rig.images.list({"before": ("nothing",)})


async def test_history(rig: Rig) -> None:
    image = await rig.make(BASE, TOP, tags=("app:1",))
    top, bottom = await rig.images.history("app:1")
    assert (top.id, top.created_by, top.size, top.tags) == (image.id, "layer 1", 500, ("app:1",))
    assert (bottom.id, bottom.created_by, bottom.size, bottom.tags) == ("", "layer 0", 1000, ())


async def test_commit(rig: Rig) -> None:
    base = await rig.make(BASE, tags=("base:1",), cmd=["sh"], env=["A=1", "B=2"])
    layer = rig.snapshots.add_layer(io.BytesIO(TOP))
    options = CommitOptions(
        reference="mine",
        comment="done",
        author="me",
        changes=('CMD ["x"]', "LABEL a=b", "EXPOSE 80"),
        overrides=ContainerSpec(image="", env=("B=3", "C=4"), user="nobody"),
    )
    made = await rig.images.commit(
        rig.images.config(base.id), (*base.layers, layer.diff_id), options
    )
    config = rig.images.config(made.id)
    assert made.tags == ("mine:latest",)
    assert made.size == 1500
    assert config.run.cmd == ["x"]
    assert config.run.env == ["A=1", "B=3", "C=4"]
    assert config.run.labels == {"a": "b"}
    assert config.run.exposed_ports == {"80/tcp": {}}
    assert (config.run.user, config.author) == ("nobody", "me")
    top = (await rig.images.history("mine"))[0]
    assert (top.comment, top.size) == ("done", 500)


async def test_create_checks_what_it_is_given(rig: Rig) -> None:
    image = await rig.make(BASE)
    blob = rig.images.config_blob(image.id)
    with pytest.raises(InvalidParameter, match="other layers"):
        await rig.images.create(NewImage(config=blob, layers=()))
    await rig.images.remove(image.id)
    with pytest.raises(NotFound, match="not stored"):
        await rig.images.create(NewImage(config=blob, layers=image.layers))
    assert rig.images.records() == []


async def test_nothing_is_collected_while_somebody_holds(rig: Rig) -> None:
    image = await rig.make(BASE, tags=("app",))
    async with rig.images.hold():
        await rig.images.remove("app")
        assert rig.snapshots.has_layer(image.layers[0])
    assert rig.stored() == set()


async def test_roots_and_snapshots_protect_layers(rig: Rig) -> None:
    image = await rig.make(BASE, TOP, tags=("app",))
    roots = [image.layers[1]]
    rig.images.keep_layers(lambda: roots)
    rig.snapshots.prepare("a-container-being-made", image.layers[:1])
    await rig.images.remove("app")
    assert set(rig.snapshots.layers()) == set(image.layers)
    roots.clear()
    rig.snapshots.remove("a-container-being-made")
    assert await rig.images.collect_garbage() == 1500
    assert rig.stored() == set()


async def test_images_outlive_the_daemon(rig: Rig, tmp_path: Path) -> None:
    image = await rig.make(BASE, TOP, tags=("app:1",), cmd=["sh"])
    again = Rig(tmp_path / "data")
    await again.images.start()
    assert again.images.resolve("app:1") == rig.images.resolve("app:1") == image
    assert again.images.defaults(image).cmd == ("sh",)


WRITER = """
import asyncio, os, sys
from pathlib import Path
from images.image_rig import Rig, gather, pieces, tar
from ketch.engine.images.values import ImportOptions

async def main():
    rig = Rig(Path(sys.argv[1]))
    await rig.images.start()
    while True:
        name = f"i{os.urandom(4).hex()}:1"
        data = tar({"x": os.urandom(100_000)})
        await gather(rig.images.import_(pieces(data), ImportOptions(reference=name)))
        print(name, flush=True)

asyncio.run(main())
"""


async def test_kill_9_in_imports_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(6):
        acknowledged += import_and_kill(tmp_path, 1 + 2 * round_)
    rig = Rig(tmp_path / "data")
    rig.snapshots.sweep_tmp()
    await rig.images.start()
    records: list[ImageRecord] = list(rig.images.records())
    assert {tag for record in records for tag in record.tags} >= set(acknowledged)
    expected = {record.id for record in records}
    expected |= {f"layer {layer}" for record in records for layer in record.layers}
    assert rig.stored() == expected
    for record in records:
        assert rig.content.verify(record.id)
        assert rig.snapshots.open_tar(record.layers[0]).read(512)


def import_and_kill(tmp_path: Path, count: int) -> list[str]:
    tests = Path(__file__).parents[1]
    path = f"{tests.parent / 'src'}:{tests}"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline().decode().strip() for _ in range(count)]
        writer.send_signal(signal.SIGKILL)
    return lines


async def test_import_needs_no_name(rig: Rig) -> None:
    await gather(rig.images.import_(pieces(BASE), ImportOptions()))
    (record,) = rig.images.records()
    assert record.tags == ()
