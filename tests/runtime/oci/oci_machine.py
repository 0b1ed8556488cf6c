"""A busybox bundle and the real program ``ketch-runtime``, with root and cgroups of its own."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ketch.runtime.defaults import default_spec

SOURCE = Path(__file__).parents[3] / "src"
PROGRAM = f"""
import sys
sys.path.append({str(SOURCE)!r})
from ketch.runtime.oci_cli import main
sys.exit(main())
"""
APPLETS = ("sh", "cat", "echo", "sleep", "id", "tty", "ls", "kill", "mount", "grep", "true")


class Machine:
    """``spec`` is written to the bundle before each ``create`` and ``run``."""

    def __init__(self, folder: Path, cgroup: str) -> None:
        self.root, self.bundle, self.cgroup = folder / "run", folder / "bundle", cgroup
        rootfs = self.bundle / "rootfs"
        (rootfs / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "bin/busybox")
        for name in APPLETS:
            (rootfs / "bin" / name).symlink_to("busybox")
        self.spec: dict[str, Any] = default_spec()
        self.spec["process"]["terminal"] = False
        self.spec["root"]["readonly"] = False
        self.log = folder / "log.json"

    def command(self, *words: str) -> list[str]:
        """The command line of one call."""
        bare = [sys.executable, "-I", "-S", "-c", PROGRAM]
        log = ["--log", str(self.log), "--log-format", "json"]
        return [*bare, "--root", str(self.root), *log, *words]

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, whatever its status."""
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        options["stdout"] = options["stderr"] = subprocess.PIPE
        return subprocess.run(self.command(*words), check=False, text=True, timeout=30, **options)

    def ok(self, *words: str, **options: Any) -> str:
        """As ``call``, which must succeed; its output."""
        done = self.call(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, id: str, *args: str) -> tuple[str, str]:
        """Write the configuration of one container; the flags that name the bundle."""
        self.spec["process"]["args"] = list(args)
        self.spec["linux"]["cgroupsPath"] = f"{self.cgroup}/{id}"
        (self.bundle / "config.json").write_text(json.dumps(self.spec))
        return "--bundle", str(self.bundle)

    def create(self, id: str, *args: str, output: Path | None = None) -> None:
        """``create`` with stdio in a file, as the container keeps it."""
        flags = self.write(id, *args)
        with open(output or os.devnull, "wb") as file:
            command = self.command("create", *flags, id)
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True)

    def state(self, id: str) -> dict[str, Any]:
        """What ``state`` prints."""
        state: dict[str, Any] = json.loads(self.ok("state", id))
        return state

    def until(self, id: str, status: str) -> dict[str, Any]:
        """Wait for a status."""
        deadline = time.monotonic() + 10
        while (state := self.state(id))["status"] != status:
            assert time.monotonic() < deadline, state
        return state

    def last_error(self) -> str:
        """The message that a shim would read."""
        entry = json.loads(self.log.read_text().splitlines()[-1])
        assert entry["level"] == "error"
        return str(entry["msg"])

    def leftovers(self) -> list[str]:
        """Cgroups that are still there."""
        return glob.glob(f"/sys/fs/cgroup/*{self.cgroup}/*/")

    def clean_up(self) -> None:
        """Remove every container and cgroup."""
        for path in self.root.glob("[!.]*"):
            self.call("delete", "--force", path.name)
        for directory in glob.glob(f"/sys/fs/cgroup/*{self.cgroup}"):
            os.rmdir(directory)
