"""Installing: which files are put in place, and what systemd says of the units."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
FILES = {
    "usr/local/bin/ketch",
    "usr/local/bin/ketchd",
    "usr/local/bin/ketch-runtime",
    "etc/systemd/system/ketch.service",
    "etc/systemd/system/ketch.socket",
}


def script(name: str, destination: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(TOP / "scripts" / name), *words],
        env={**os.environ, "DESTDIR": str(destination)},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    done = script("install.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_install_and_uninstall(installed: Path) -> None:
    assert files(installed) == FILES
    (installed / "etc/ketch").mkdir()
    (installed / "etc/ketch/daemon.json").write_text("{}")
    (installed / "usr/local/bin/other").write_text("somebody's")
    assert script("uninstall.sh", installed).returncode == 0
    assert files(installed) == {"etc/ketch/daemon.json", "usr/local/bin/other"}
    assert script("uninstall.sh", installed, "--purge").returncode == 0
    assert files(installed) == {"usr/local/bin/other"}


def test_a_foreign_program_is_not_removed(installed: Path) -> None:
    program = installed / "usr/local/bin/ketch"
    program.unlink()
    program.write_text("another ketch")
    assert script("uninstall.sh", installed).returncode == 0
    assert program.exists()
    assert script("uninstall.sh", installed, "--nonsense").returncode == 2


def test_systemd_accepts_the_units(installed: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    units = installed / "etc/systemd/system"
    service = units / "ketch.service"
    ketchd = installed / "usr/local/bin/ketchd"
    service.write_text(service.read_text().replace("/usr/local/bin/ketchd", str(ketchd)))
    done = subprocess.run(
        ["systemd-analyze", "verify", units / "ketch.socket", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
