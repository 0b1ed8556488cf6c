"""Which OCI runtime a container gets: ketch's own, or an external one by its name.

Names are those of ``runtimes`` in ``daemon.json``, and besides ``runc`` and ``crun`` where these
programs are installed. What Docker calls ``io.containerd.runc.v2`` is runc.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Container

import msgspec

from ketch.errors import InvalidParameter
from ketch.runtime.messages import Runtime as RuntimeWire

OWN = "ketch"
_KNOWN = ("runc", "crun")
_ALIASES = {"io.containerd.runc.v2": "runc"}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_PATIENCE = 30  # seconds of one delete


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """An external runtime: a path, or a name that is looked up in PATH, and its first arguments."""

    path: str
    args: tuple[str, ...] = ()


class Runtimes:
    """``folder`` holds a directory for each external runtime (docs/contracts.md)."""

    def __init__(self, folder: str, configured: dict[str, Program], default: str) -> None:
        self._folder = folder
        self._configured = configured
        self.default = default or OWN

    def all(self) -> dict[str, Program]:
        """Everything that can be asked for now, by name, ours first."""
        known = {name: Program(path=name) for name in _KNOWN if shutil.which(name)}
        return {OWN: Program(path="ketch-runtime"), **known, **self._configured}

    def chosen(self, name: str) -> str:
        """What a container is to run with, "" for ours, when its creator asks for ``name``.

        Raises ``InvalidParameter`` in Docker's words when there is no such runtime.
        """
        asked = name or self.default
        if asked == OWN:
            return ""
        self._program(asked)
        return asked

    def _program(self, name: str) -> tuple[str, Program, str]:
        """(the name of its directory, the runtime, its program's path)."""
        real = name if name in self._configured else _ALIASES.get(name, name)
        program = self._configured.get(real)
        if program is None and real in _KNOWN:
            program = Program(path=real)
        if program is None:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        path = shutil.which(program.path)
        if path is None:
            raise InvalidParameter(
                f"unknown or invalid runtime name: {name}: its program {program.path} is not "
                "installed or not executable"
            )
        return real, program, path

    def wire(self, name: str) -> RuntimeWire | None:
        """The object of the launcher protocol; None for our own.

        Raises ``InvalidParameter`` when the runtime has gone since the container was created.
        """
        if not name:
            return None
        real, program, path = self._program(name)
        return {"path": path, "args": list(program.args), "root": f"{self._folder}/{real}"}

    def forget(self, container_id: str, name: str) -> None:
        """Take away what a runtime still knows of a container whose shim was killed. Blocks."""
        if not name:
            return
        try:
            real, program, path = self._program(name)
        except InvalidParameter:
            return  # without its program nobody can; the directory goes with the machine's /run
        root = f"{self._folder}/{real}"
        if os.path.lexists(f"{root}/state/{container_id}"):
            command = [path, *program.args, "--root", f"{root}/state", "delete", "--force"]
            subprocess.run(
                [*command, container_id],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        shutil.rmtree(f"{root}/bundles/{container_id}", ignore_errors=True)

    def sweep(self, running: Container[str]) -> None:
        """``forget`` every container that does not run. Blocks."""
        for name in _entries(self._folder):
            for kind in ("state", "bundles"):
                for entry in _entries(f"{self._folder}/{name}/{kind}"):
                    if entry not in running and not entry.startswith("."):  # theirs alone
                        self.forget(entry, name)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def check(configured: dict[str, Program], default: str) -> None:
    """Raise ``InvalidParameter`` for a configuration that makes no sense."""
    for name, program in configured.items():
        if name == OWN:
            raise InvalidParameter(f"runtimes: the name {OWN!r} is that of ketch's own runtime")
        if not _NAME.fullmatch(name):
            raise InvalidParameter(f"runtimes: {name!r} is no name of a runtime")
        if not program.path:
            raise InvalidParameter(f"runtimes: {name!r} needs a path")
    if default and default not in {OWN, *_KNOWN, *_ALIASES, *configured}:
        raise InvalidParameter(
            f"default-runtime: specified default runtime '{default}' does not exist"
        )
