"""Where a sweep of the docker CLI over dockerd and ketchd found a difference that surprises."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, busybox_tar

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "words",
    [
        ("--network", "container:nope-x"),
        ("--pid", "container:nope-x"),
        ("--ipc", "container:nope-x"),
        ("--volumes-from", "nope-x"),
    ],
)
def test_a_missing_container_is_no_missing_image(ketchd: Ketchd, words: tuple[str, str]) -> None:
    """404 makes the client pull the image, which is there."""
    done = ketchd.docker("run", "--rm", *words, "busybox", "true", code=125)
    assert b"No such container: nope-x" in done.stderr
    assert b"Unable to find image" not in done.stderr


def test_a_dockerfile_outside_of_the_context(ketchd: Ketchd, tmp_path: Path) -> None:
    """The client ends the archive in the middle of a block."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("found\n")
    (tmp_path / "Dockerfile.x").write_text("FROM busybox\nCOPY file /\nRUN cat /file\n")
    command = ("build", "--no-cache", "-f", str(tmp_path / "Dockerfile.x"), str(context))
    assert "found" in ketchd.out(*command)


def test_an_image_whose_archive_ends_in_a_block(ketchd: Ketchd, name: str) -> None:
    out = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=out, mode="a") as tar:
        info = tarfile.TarInfo("last")
        info.size = 700
        tar.addfile(info, io.BytesIO(b"x" * 700))
        end = tar.offset - (-700 % 512)
    image = f"{name.lower()}:1"
    ketchd.docker("import", "-", image, input=out.getvalue()[:end])
    found = ketchd.out("run", "--rm", image, "/bin/sh", "-c", "/bin/wc -c </last; /bin/ls /bin/sh")
    assert found.split() == ["700", "/bin/sh"]
    ketchd.docker("rmi", image)


def test_mounts_are_named(ketchd: Ketchd) -> None:
    """The first column of mount(8), which some programs read."""
    lines = ketchd.out(
        "run", "--rm", "--tmpfs", "/t", "busybox", "cat", "/proc/mounts"
    ).splitlines()
    sources = {line.split()[1]: line.split()[0] for line in lines}
    wanted = {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/t": "tmpfs",
    }
    assert {where: sources[where] for where in wanted} == wanted
    assert "none" not in sources.values()


def test_names_are_regular_expressions(ketchd: Ketchd, name: str) -> None:
    for kind in ("network", "volume"):
        ketchd.docker(kind, "create", name)
        for pattern, found in ((f"^{name}$", True), (name[1:-1], True), (f"^{name[1:]}", False)):
            listed = ketchd.out(kind, "ls", "-q", "--filter", f"name={pattern}")
            assert bool(listed) == found, (kind, pattern)
        assert ketchd.out(kind, "ls", "-q", "--filter", "name=((") == ""
        ketchd.docker(kind, "rm", name)


def test_ports_of_a_filter_are_numbers(ketchd: Ketchd) -> None:
    done = ketchd.docker("ps", "--filter", "publish=abc", code=1)
    assert b"invalid filter: port abc" in done.stderr
