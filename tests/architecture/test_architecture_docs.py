"""What the documents say of the code, where that can be looked up."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "src/ketch"
DOCUMENTS = [*sorted((TOP / "docs").glob("*.md")), TOP / "README.md", TOP / "CONTRIBUTING.md"]
CONTRACTS = (TOP / "docs/contracts.md").read_text()
TASK = re.compile(r"\bketch\.([a-z_.]+):((?:[a-z_]+\|?)+)")


def documented_tasks() -> set[str]:
    return {
        f"ketch.{module}:{name}"
        for module, names in TASK.findall(CONTRACTS)
        for name in names.split("|")
    }


def used_tasks() -> set[str]:
    """Functions that workers are asked for, by a string or by a constant with their module's."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        modules = dict(re.findall(r'^(_[A-Z]+) = "(ketch\.[a-z_.]+)"$', text, re.MULTILINE))
        found |= set(re.findall(r'"(ketch\.[a-z_.]+:[a-z_]+)"', text))
        for constant, name in re.findall(r"\{(_[A-Z]+)\}:([a-z_]+)", text):
            found.add(f"{modules[constant]}:{name}")
    return found


def test_the_tasks_of_workers_are_documented() -> None:
    missing = used_tasks() - documented_tasks()
    assert not missing, f"docs/contracts.md does not name {sorted(missing)}"


@pytest.mark.parametrize("task", sorted(documented_tasks()))
def test_documented_tasks_are_there(task: str) -> None:
    module, _, name = task.partition(":")
    path = (TOP / "src" / Path(*module.split("."))).with_suffix(".py")
    assert any(
        isinstance(node, ast.FunctionDef) and node.name == name
        for node in ast.parse(path.read_text()).body
    ), f"there is no {task}"


def test_every_room_is_in_the_list_of_rooms() -> None:
    listed = (TOP / "docs/architecture.md").read_text().partition("## Rooms")[2]
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms = {name for name in names if not name.startswith("__")} - {"py"}  # py.typed
    missing = {room for room in rooms if f"`{room}/`" not in listed and f"`{room}`" not in listed}
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_files_that_documents_name_are_there(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = {name for name in named if not (document.parent / name).exists()}
    modules = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)", text))
    missing |= {
        name for name in modules if not any((top / name).exists() for top in (PACKAGE, TOP))
    }
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_tables_are_not_torn(document: Path) -> None:
    """A row behind a blank line is shown as text: a table begins with its head."""
    lines = document.read_text().split("\n")
    torn = [
        line
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False)
        if line.startswith("|") and not before.startswith("|") and not after.startswith("|--")
    ]
    assert not torn
