"""``make demo``: a daemon of its own, a base image, a build, a run; each step with its time.

Everything lives below one temporary directory and on a bridge of its own, and is removed at the end
whatever happens, so that the demo can run beside an installed ketch.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BIN = HERE / ".venv" / "bin"
PATIENCE = 20.0


class Demo:
    """One run of the demo."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "run" / "ketch.sock"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.steps: list[tuple[str, float]] = []

    def step(self, title: str, command: list[str]) -> None:
        """Run one command, show it, its output and its time."""
        print(f"\n\033[1m# {title}\033[0m\n$ {' '.join(command)}", flush=True)
        started = time.perf_counter()
        subprocess.run([str(BIN / command[0]), *command[1:]], check=True, env=self.environment())
        taken = time.perf_counter() - started
        self.steps.append((title, taken))
        print(f"  ({taken * 1000:.0f} ms)", flush=True)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "KETCH_HOST": f"unix://{self.socket}"}

    def command(self) -> list[str]:
        """ketchd on its own root, socket, bridge, rules and cgroup parent."""
        return [
            str(BIN / "ketchd"),
            *("--data-root", str(self.root / "data")),
            *("--exec-root", str(self.root / "run")),
            *("--host", f"unix://{self.socket}"),
            *("--bridge", "ketch-demo0"),
            *("--nft-table", "ketch-demo"),
            *("--cgroup-parent", "/ketch-demo"),
        ]

    def start_daemon(self) -> None:
        """Start it and wait until it answers."""
        print("\n\033[1m# Start the daemon\033[0m", flush=True)
        started = time.perf_counter()
        command = self.command()
        log = (self.root / "ketchd.log").open("wb")
        self.daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not self._answers():
            if self.daemon.poll() is not None or time.perf_counter() - started > PATIENCE:
                sys.exit("the daemon did not come up:\n" + (self.root / "ketchd.log").read_text())
            time.sleep(0.02)
        taken = time.perf_counter() - started
        self.steps.append(("Start the daemon", taken))
        print(f"$ {' '.join(command[:1])} …\n  ({taken * 1000:.0f} ms)", flush=True)

    def _answers(self) -> bool:
        command = [str(BIN / "ketch"), "version", "--format", "{{.Server.Version}}"]
        return (
            self.socket.exists()
            and subprocess.run(
                command, capture_output=True, env=self.environment(), check=False
            ).returncode
            == 0
        )

    def run(self) -> None:
        """The whole demo."""
        self.start_daemon()
        self.step("A base image, without any registry", ["ketch", "image", "bootstrap", "busybox"])
        self.step(
            "Build examples/hello/Dockerfile", ["ketch", "build", "-t", "hello", "examples/hello"]
        )
        self.step(
            "The same again: everything from the cache",
            ["ketch", "build", "-q", "-t", "hello", "examples/hello"],
        )
        self.step("Run it", ["ketch", "run", "--rm", "hello"])
        self.step(
            "Run it with another environment", ["ketch", "run", "--rm", "-e", "WHO=ketch", "hello"]
        )
        self.step(
            "One in the background",
            ["ketch", "run", "-d", "--name", "sleeper", "hello", "sleep", "600"],
        )
        self.step(
            "A further process in it", ["ketch", "exec", "sleeper", "cat", "/app/built-as.txt"]
        )
        self.step("What is there", ["ketch", "ps"])
        self.step("Images", ["ketch", "images"])
        self.step("Stop and remove", ["ketch", "rm", "-f", "sleeper"])
        print("\n\033[1mStep by step\033[0m")
        for title, taken in self.steps:
            print(f"  {taken * 1000:8.0f} ms  {title}")

    def clean_up(self) -> None:
        """Containers, daemon, launcher, bridge, cgroups, directory."""
        if self.daemon is not None and self.daemon.poll() is None:
            subprocess.run(
                [str(BIN / "ketch"), "rm", "-f", "sleeper"],
                env=self.environment(),
                capture_output=True,
                check=False,
            )
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(timeout=20)
        subprocess.run([*self.command(), "--cleanup"], check=False)
        shutil.rmtree(self.root, ignore_errors=True)


def main() -> int:
    """Run the demo as root; returns the exit code."""
    if os.geteuid() != 0:
        sys.exit("the demo starts a container engine: run it with sudo")
    os.chdir(HERE)
    started = time.perf_counter()
    demo = Demo(Path(tempfile.mkdtemp(prefix="ketch-demo-")))
    try:
        demo.run()
    finally:
        demo.clean_up()
    print(f"\nDone in {time.perf_counter() - started:.1f} s, everything removed again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
