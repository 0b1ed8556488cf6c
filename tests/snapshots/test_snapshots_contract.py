"""The snapshotter contract, run on every implementation."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import stat
import subprocess
import tarfile
import threading

import pytest

from ketch.errors import Conflict, DataCorrupt, InvalidParameter, NotFound, Unsupported
from ketch.layers.compression import compress
from ketch.linux import mountapi
from ketch.runtime.rootfs import mount_overlay
from ketch.snapshots import probe, tasks
from ketch.snapshots.directory import DirectorySnapshotter
from ketch.snapshots.erofs import ErofsSnapshotter

pytestmark = pytest.mark.root
KINDS = [ErofsSnapshotter, DirectorySnapshotter]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def store(request, tmp_path):
    if request.param is ErofsSnapshotter and not probe.can_mount_images(str(tmp_path / "probed")):
        pytest.skip("needs a kernel that mounts EROFS images from files (Linux 6.12)")
    return request.param(str(tmp_path / "data"))


@pytest.fixture
def mounted(tmp_path):
    """Mount a Rootfs detached; gives a path into it."""
    fds: list[int] = []

    def lower(mount) -> str:
        if mount.type == "bind":
            return mount.source
        fds.append(mountapi.new_filesystem("erofs", [("source", mount.source)], 1))
        return f"/proc/self/fd/{fds[-1]}"

    def mount(rootfs) -> str:
        lowers = [lower(each) for each in rootfs.lowers]
        if not rootfs.upper and len(lowers) == 1:
            (tmp_path / "empty").mkdir(exist_ok=True)  # overlayfs wants two layers
            lowers.append(str(tmp_path / "empty"))
        fds.append(mount_overlay(lowers, rootfs.upper, rootfs.work))
        return f"/proc/self/fd/{fds[-1]}"

    yield mount
    for fd in reversed(fds):
        os.close(fd)


def layer_tar(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size, info.mode = len(content), 0o640
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def everything(store) -> list[str]:
    """Names of all files under the data root, but for the trash."""
    return sorted(
        os.path.join(directory, name)
        for directory, _, names in os.walk(store._root)
        for name in names
        if "/trash" not in directory
    )


def test_life_of_a_layer(store):
    data = layer_tar(etc__hosts="hosts", big="x" * 5000)
    seen: list[int] = []
    info = store.add_layer(io.BytesIO(data), progress=seen.append)
    assert info.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (info.size, info.tar_size, info.entries) == (5005, len(data), 2)
    assert seen[-1] == len(data)
    assert store.has_layer(info.diff_id)
    assert store.layer(info.diff_id) == info
    assert list(store.layers()) == [info.diff_id]
    with store.open_tar(info.diff_id) as tar:
        assert tar.read() == data
    assert store.add_layer(io.BytesIO(data)) == info
    store.remove_layer(info.diff_id)
    store.remove_layer(info.diff_id)
    assert not store.has_layer(info.diff_id)
    for question in (store.layer, store.open_tar):
        with pytest.raises(NotFound):
            question(info.diff_id)


def test_life_of_a_snapshot(store, mounted):
    base = store.add_layer(io.BytesIO(layer_tar(a="base", d__x="x"))).diff_id
    top = store.add_layer(io.BytesIO(layer_tar(a="top", **{"d__.wh.x": ""}))).diff_id
    store.prepare("one", [base, top])
    with pytest.raises(Conflict):
        store.prepare("one", [base])
    root = mounted(store.rootfs("one"))
    with open(f"{root}/a") as file:
        assert file.read() == "top"
    assert not os.path.exists(f"{root}/d/x")
    with open(f"{root}/new", "w") as file:
        file.write("12345")
    assert os.listdir(store.upper("one")) == ["new"]
    assert (store.usage("one").size, store.usage("one").inodes) == (5, 1)
    assert list(store.snapshots()) == ["one"]
    assert [each.source for each in store.view([base, top]).lowers] == [
        each.source for each in store.rootfs("one").lowers
    ]
    store.remove("one")
    store.remove("one")
    with pytest.raises(NotFound):
        store.rootfs("one")


def test_opaque_directories_hide_what_is_below(store, mounted):
    layers = [
        store.add_layer(io.BytesIO(layer_tar(d__old="old", e__old="old"))).diff_id,
        store.add_layer(io.BytesIO(layer_tar(**{"d__.wh..wh..opq": "", "d__new": "n"}))).diff_id,
    ]
    root = mounted(store.view(layers))
    assert os.listdir(f"{root}/d") == ["new"]
    assert os.listdir(f"{root}/e") == ["old"]


def test_a_layer_that_is_in_a_stack_twice(store, mounted):
    """Builds make them (``RUN touch x``, ``RUN rm x`` and again), and overlayfs refuses them."""
    sets = store.add_layer(io.BytesIO(layer_tar(x="x", d__y="y"))).diff_id
    removes = store.add_layer(io.BytesIO(layer_tar(**{".wh.x": "", "d__.wh.y": ""}))).diff_id
    store.prepare("again", [sets, removes, sets])
    root = mounted(store.rootfs("again"))
    with open(f"{root}/x") as x, open(f"{root}/d/y") as y:
        assert (x.read(), y.read()) == ("x", "y")
    assert os.listdir(f"{mounted(store.view([sets, removes, sets, removes]))}/d") == []


def test_stacks_deeper_than_one_link(store):
    layers = [
        store.add_layer(io.BytesIO(layer_tar(**{f"f{number}": ""}))).diff_id for number in range(70)
    ]
    store.prepare("deep", layers)
    assert len(store.rootfs("deep").lowers) == 70
    assert layers[-1][7:] in store.rootfs("deep").lowers[0].source


@pytest.mark.parametrize("bad", ["", "../x", "a/b", ".", "x" * 200, "a\nb"])
def test_keys_and_digests_are_checked(store, bad):
    with pytest.raises(InvalidParameter):
        store.prepare(bad, [])
    with pytest.raises(InvalidParameter):
        store.has_layer(bad)
    with pytest.raises(NotFound):
        store.prepare("key", ["sha256:" + "0" * 64])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"garbage" * 200, DataCorrupt),
        (layer_tar(a="x" * 3000)[:1500], DataCorrupt),
        (layer_tar(**{"..__x": "1"}), InvalidParameter),
    ],
)
def test_a_refused_layer_leaves_nothing(store, data, error):
    with pytest.raises(error):
        store.add_layer(io.BytesIO(data))
    assert everything(store) == []
    with pytest.raises(DataCorrupt, match="not sha256:"):
        store.add_layer(io.BytesIO(layer_tar(a="a")), expected="sha256:" + "0" * 64)
    assert everything(store) == []


def test_full_disk_leaves_nothing(store, monkeypatch):
    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ketch.layers.scan.write_all", full)
    with pytest.raises(OSError, match="space"):
        store.add_layer(io.BytesIO(layer_tar(a="a")))
    assert everything(store) == []


def test_two_processes_store_one_layer(store):
    data = layer_tar(**{f"f{number}": "x" * number for number in range(50)})
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    results = context.Queue()

    def work() -> None:
        barrier.wait(10)
        results.put(store.add_layer(io.BytesIO(data)).diff_id)

    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    ids = {results.get(timeout=20) for _ in workers}
    for worker in workers:
        worker.join(20)
    assert len(ids) == 1
    with store.open_tar(ids.pop()) as tar:
        assert tar.read() == data


def test_leftovers_of_a_crash_are_swept(store):
    os.makedirs(f"{store._root}/tmp/layer-dead/fs/deep/er")
    os.makedirs(f"{store._root}/apart/snapshot-dead/upper")
    os.makedirs(f"{store._root}/tmp/somebody-elses")
    os.makedirs(f"{store._root}/nests/00/snapshot-dead/upper")
    os.makedirs(f"{store._root}/nests/00/bundle-dead")
    kept = store.add_layer(io.BytesIO(layer_tar(a="a"))).diff_id
    store.prepare("s", [kept])
    deep = os.open(store.upper("s"), os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    os.symlink("/etc", store.upper("s") + "/link")
    store.remove("s")
    store.sweep_tmp()
    assert os.listdir(f"{store._root}/tmp") == ["somebody-elses"]
    assert os.listdir(f"{store._root}/apart") == []
    assert os.listdir(f"{store._root}/nests/00") == []
    assert len(os.listdir(f"{store._root}/trash")) == 5
    store.sweep_trash(0)
    assert os.listdir(f"{store._root}/trash") == []
    assert store.has_layer(kept)


def test_what_a_killed_writer_left_is_found_wherever_it_was(store):
    os.makedirs(store.place("layer-x") + "/fs")
    for number in range(8):  # made meanwhile
        os.makedirs(f"{store._root}/nests/{number:02}", exist_ok=True)
    os.makedirs(store.place("layer-x") + "/fs")
    os.makedirs(store.place("layer-y"))
    assert len(store.unfinished("layer-x")) == 2
    store.abandon("x")
    assert store.unfinished("layer-") == [store.place("layer-y")]
    kept = store.add_layer(io.BytesIO(layer_tar(a="a")), scratch="z").diff_id
    assert store.has_layer(kept)
    assert store.unfinished("layer-z") == []


def test_apart_is_in_a_block_group_of_its_own(store):
    """Where the file system knows of them: chattr's T is on the directory that chooses."""
    store.prepare("near", ())
    store.prepare("far", (), apart=True)
    assert sorted(os.listdir(f"{store._root}/snapshots/far")) == ["upper", "work"]
    assert os.listdir(f"{store._root}/apart") == []
    assert os.stat(store.upper("far")).st_mode == os.stat(store.upper("near")).st_mode
    if told(["stat", "-f", "-c", "%T", store._root]).startswith("ext"):
        flags = told(["lsattr", "-d", f"{store._root}/tmp", f"{store._root}/apart"])
        assert ["T" in line.split()[0] for line in flags.splitlines()] == [False, True]


def told(words) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


# worker functions


def wire(store) -> dict[str, object]:
    return {"root": store._root, "snapshotter": store.name}


def test_ingest_compressed_by_pipe(store):
    data = layer_tar(a="x" * 100_000)
    packed = io.BytesIO()
    compress(io.BytesIO(data), packed)
    read_fd, write_fd = os.pipe()

    def feed() -> None:
        with os.fdopen(write_fd, "wb") as out:
            out.write(packed.getvalue())

    thread = threading.Thread(target=feed)
    thread.start()
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    info = tasks.ingest({**wire(store), "diff_id": diff_id}, [read_fd])
    thread.join(10)
    os.close(read_fd)
    assert info["diff_id"] == diff_id
    assert store.has_layer(diff_id)


def test_ingest_stops_at_the_limit(store, tmp_path):
    with open(tmp_path / "bomb", "wb") as out:
        compress(io.BytesIO(layer_tar(a="x" * 5_000_000)), out)
    fd = os.open(tmp_path / "bomb", os.O_RDONLY)
    with pytest.raises(InvalidParameter, match="limit"):
        tasks.ingest({**wire(store), "limit": 1_000_000}, [fd])
    os.close(fd)
    assert everything(store) == []


def test_commit_and_run_again(store, mounted):
    base = store.add_layer(io.BytesIO(layer_tar(a="base", gone="g", d__x="x"))).diff_id
    store.prepare("build", [base])
    root = mounted(store.rootfs("build"))
    os.unlink(f"{root}/gone")
    os.unlink(f"{root}/d/x")
    with open(f"{root}/added", "w") as file:
        file.write("added")
    top = tasks.ingest_diff({**wire(store), "key": "build"}, [])["diff_id"]
    again = mounted(store.view([base, top]))
    assert sorted(os.listdir(again)) == ["a", "added", "d"]
    assert os.listdir(f"{again}/d") == []


def test_a_diff_that_cannot_be_is_not_stored(store):
    store.prepare("bad", [])
    for number in range(50):
        with open(f"{store.upper('bad')}/{number}", "w"):
            pass
    with open(f"{store.upper('bad')}/z.d", "w"), open(f"{store.upper('bad')}/.wh.x", "w"):
        pass
    with pytest.raises(InvalidParameter, match=r"\.wh\."):
        tasks.ingest_diff({**wire(store), "key": "bad"}, [])
    assert list(store.layers()) == []


def test_hostile_xattrs_and_devices(store, mounted):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("d")
        info.type = tarfile.DIRTYPE
        info.pax_headers = {
            "SCHILY.xattr.trusted.overlay.redirect": "/etc",
            "SCHILY.xattr.trusted.overlay.opaque": "y",
            "SCHILY.xattr.user.fine": "1",
        }
        tar.addfile(info)
    layer = store.add_layer(io.BytesIO(buffer.getvalue())).diff_id
    root = mounted(store.view([layer]))
    assert os.listxattr(f"{root}/d") == ["user.fine"]
    assert stat.S_ISDIR(os.stat(f"{root}/d").st_mode)


def test_choice_of_snapshotter(tmp_path):
    root = str(tmp_path / "probe")
    assert probe.open_snapshotter(root, "directory").name == "directory"
    with pytest.raises(InvalidParameter, match="zfs"):
        probe.open_snapshotter(root, "zfs")
    best = probe.open_snapshotter(root)
    with open(f"{root}/erofs-probe") as file:
        assert file.read().split() == [
            os.uname().release,
            "yes" if best.name == "erofs" else "no",
        ]
    assert not [name for name in os.listdir(root) if name.startswith("ketch-probe")]
    with open(f"{root}/erofs-probe", "w") as file:
        file.write(f"{os.uname().release} no\n")
    assert probe.open_snapshotter(root).name == "directory"
    with pytest.raises(Unsupported, match="directory snapshotter"):
        probe.open_snapshotter(root, "erofs")


def test_deep_and_long_paths(store, mounted):
    names = {"/".join(["d" * 15] * 200) + "/file": "deep", "x/" * 199 + "y": "deeper"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    root = mounted(store.view([store.add_layer(io.BytesIO(buffer.getvalue())).diff_id]))
    for name, content in names.items():
        with open(f"{root}/{name}") as file:
            assert file.read() == content
