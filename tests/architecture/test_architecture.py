"""The architecture, executable: import ladder, no cycles, sizes, import budgets."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "ketch"

LEVEL = {
    "errors": 0, "protobuf": 0, "sizes": 0, "mounts": 0, "links": 0, "linux": 0, "oci": 0,
    "content": 1, "state": 1,
    "runtime": 2, "snapshots": 2, "layers": 2, "network": 2, "volumes": 2, "logs": 2,
    "build": 3, "distribution": 3, "llb": 3,
    "engine": 4,
    "api": 5, "buildkit": 5, "client": 5,
    "cli": 6, "daemon": 6,
}  # fmt: skip
SIBLINGS = {("runtime", "logs"), ("snapshots", "layers")}
NARROW = {  # rooms that see less than everything below them
    "cli": {"client", "oci", "errors", "linux", "build"},
    "client": {"oci", "errors", "linux"},
    "api": {"engine", "oci", "errors", "build"},
    "buildkit": {"engine", "oci", "errors", "build", "llb", "protobuf"},
}
NARROW_MODULES = {  # of a room that is seen at all, only these
    ("cli", "linux"): {"ketch.linux.fastjson"},
    ("client", "linux"): {"ketch.linux.fastjson"},
    ("cli", "build"): {"ketch.build.contexts.ignore"},
}
DRAWERS = {"utils", "util", "common", "helpers", "misc", "core", "internal", "lib", "shared"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LONG_FUNCTION = 50
LONG_FUNCTIONS_ALLOWED = 0.01
MOST_PARAMETERS = 7

HEAVY = {
    "argparse", "asyncio", "concurrent.futures", "dataclasses", "email", "http", "inspect", "json",
    "logging", "pathlib", "random", "re", "shutil", "socket", "sqlite3", "ssl", "subprocess",
    "tarfile", "tempfile", "threading", "typing", "urllib", "msgspec", "aiohttp", "rich",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> Iterator[str]:
    """Every ketch module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ketch"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ketch"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (SOURCE / Path(*whole.split("."))).with_suffix(".py").exists()
                is_package = (SOURCE / Path(*whole.split("."))).is_dir()
                yield whole if is_module or is_package else node.module


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", node


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body
    if ast.get_docstring(node) and len(body) > 1:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_imports_go_strictly_downwards() -> None:
    wrong = []
    for path in modules():
        here = room_of(name_of(path))
        for target in imports_of(path):
            there = room_of(target)
            if not here or not there or here == there:
                continue
            allowed = LEVEL[here] > LEVEL[there] or (here, there) in SIBLINGS
            allowed = allowed or LEVEL[here] == LEVEL[there] == 0
            if here in NARROW:
                allowed = there in NARROW[here]
            only = NARROW_MODULES.get((here, there))
            if not allowed or (only and target not in only):
                wrong.append(f"{name_of(path)} imports {target}")
    assert not wrong


def test_every_room_is_on_the_ladder() -> None:
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert rooms - {"__init__", "__pycache__", "py"} <= set(LEVEL)


def test_no_import_cycles() -> None:
    graph = {name_of(path): set(imports_of(path)) - {name_of(path)} for path in modules()}
    state: dict[str, int] = {}
    cycles: list[str] = []

    def visit(module: str, trail: list[str]) -> None:
        state[module] = 1
        for target in graph.get(module, ()):
            if state.get(target) == 1:
                cycles.append(" → ".join([*trail, module, target]))
            elif target not in state:
                visit(target, [*trail, module])
        state[module] = 2

    for module in graph:
        if module not in state:
            visit(module, [])
    assert not cycles


def test_no_drawers() -> None:
    found = [str(path) for path in PACKAGE.rglob("*") if path.stem in DRAWERS]
    assert not found


def test_files_are_short() -> None:
    sizes = {
        str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in modules()
    }
    assert not {name: size for name, size in sizes.items() if size > LONGEST_FILE}
    assert statistics.median(sizes.values()) <= 140


def test_functions_are_short() -> None:
    lengths = {name: length_of(node) for name, node in functions()}
    assert not {name: size for name, size in lengths.items() if size > LONGEST_FUNCTION}
    long = [name for name, size in lengths.items() if size > LONG_FUNCTION]
    assert len(long) <= len(lengths) * LONG_FUNCTIONS_ALLOWED
    assert statistics.median(lengths.values()) <= 9


def test_few_parameters() -> None:
    crowded = []
    for name, node in functions():
        arguments = node.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        if count > MOST_PARAMETERS + 1:  # and self
            crowded.append(name)
    assert not crowded


def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_no_todo_left() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert not [str(path) for path in modules() if pattern.search(path.read_text())]


def loaded_by(module: str) -> set[str]:
    """Modules that a bare interpreter holds after importing ``module``, beyond its own."""
    code = (
        "import sys; before = set(sys.modules); sys.path.append(sys.argv[1]);"
        f"import {module}; print('\\n'.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(SOURCE)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "ketch.cli.main",
        "ketch.cli.attached_run",
        "ketch.cli.autostart",
        "ketch.cli.run",
        "ketch.cli.exec",
        "ketch.cli.build",
        "ketch.cli.build_plain",
        "ketch.cli.build_tty",
        "ketch.cli.ps",
        "ketch.runtime.launcher",
        "ketch.runtime.shim",
        "ketch.runtime.sandbox",
    ],
)
def test_start_path_imports_nothing_heavy(module: str) -> None:
    assert not loaded_by(module) & HEAVY
