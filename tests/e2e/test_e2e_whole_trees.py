"""cp of a running container's whole tree, and onto what cannot be replaced."""

from __future__ import annotations

import io
import tarfile

import pytest

from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_root_of_a_running_container(ketchd: Ketchd, name: str) -> None:
    """/proc holds files that nobody may read, and no data of anybody: it comes empty, as /dev."""
    ketchd.docker(
        "run", "-d", "--name", name, "-v", "/proc:/host/proc", "--tmpfs", "/t",
        "busybox", "sh", "-c", "echo mine > /t/file; exec sleep 600",
    )  # fmt: skip
    ketchd.docker("exec", name, "sh", "-c", "until [ -s /t/file ]; do :; done")
    for copied in (
        ketchd.docker("cp", f"{name}:/", "-").stdout,
        ketch(ketchd, "cp", f"{name}:/", "-").stdout,
    ):
        found = names(copied)
        assert {"./proc", "./sys", "./dev", "./host/proc", "./t/file", "./bin/busybox"} <= set(
            found
        )
        kernels = ("./proc/", "./sys/", "./dev/", "./host/proc/")
        assert [path for path in found if path.startswith(kernels)] == []
    assert "dev/null" in names(ketchd.docker("cp", f"{name}:/dev", "-").stdout)
    assert names(ketchd.docker("cp", f"{name}:/proc", "-").stdout) == ["proc"]


def test_what_cannot_be_replaced_leaves_nothing(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    refused = ketchd.docker("cp", "/etc/passwd", f"{name}:/etc/hosts", code=1).stderr.decode()
    assert "'hosts': device or resource busy" in refused
    assert ketchd.out("exec", name, "ls", "-A", "/etc").split() == [
        "group", "hostname", "hosts", "mtab", "passwd", "resolv.conf",
    ]  # fmt: skip


def test_empty_paths(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox")
    for words in ((f"{name}:", "/nowhere"), ("/etc/passwd", f"{name}:")):
        refused = ketch(ketchd, "cp", *words, code=1).stderr.decode()
        assert refused == "bad parameter: path cannot be empty\n"
