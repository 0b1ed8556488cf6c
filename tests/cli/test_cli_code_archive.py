"""The archive of the command line's byte code: what it serves, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ketch.cli import code_archive

START = """
import marshal, posix, sys
archive = posix.open(sys.argv[1], posix.O_RDONLY)
exec(marshal.loads(posix.read(archive, int.from_bytes(posix.read(archive, 8), "little"))))
install(archive)
sys.path.append(sys.argv[2])
import harbour.pier
print(type(harbour.pier.__loader__).__name__, harbour.pier.BOATS, harbour.__path__[0])
print(harbour.pier.__file__, harbour.pier.__spec__.parent)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "harbour"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A package."""\n')
    (folder / "pier.py").write_text("BOATS = 2\n")
    sources = {
        "harbour": str(folder / "__init__.py"),
        "harbour.pier": str(folder / "pier.py"),
        "ketch.cli.code_archive": code_archive.__file__,
    }
    (tmp_path / "archive").write_bytes(code_archive.pack(sources))
    return folder


def start(package: Path) -> list[str]:
    root = package.parent
    words = [sys.executable, "-ISc", START, str(root / "archive"), str(root)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_modules_come_from_the_archive(package: Path) -> None:
    assert start(package) == [
        f"CodeArchive 2 {package}",
        f"{package / 'pier.py'} harbour",
    ]


def test_a_changed_module_comes_from_its_file(package: Path) -> None:
    (package / "pier.py").write_text("BOATS = 3\n")  # of the same size
    assert start(package)[0] == f"SourceFileLoader 3 {package}"


def test_a_module_whose_source_is_gone_is_not_there(package: Path) -> None:
    (package / "pier.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        start(package)
    assert "No module named 'harbour.pier'" in caught.value.stderr


def test_the_program_runs_with_and_without_its_archive(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "ketch"
    if not program.exists():
        pytest.skip("the programs are not made")
    copy = tmp_path / "ketch"
    text = program.read_text()
    assert "cli.cpython" in text
    copy.write_text(text.replace("cli.cpython", "absent"))
    copy.chmod(0o755)
    for path in (program, copy):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("ketch version ")
