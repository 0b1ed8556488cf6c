"""A daemon that is killed again and again while clients work: what they were told must be true.

Each worker runs the docker CLI in a loop and remembers what was acknowledged by exit status 0.
When a command fails because the daemon was killed, the worker waits for the next and looks at what
became of its object: the last acknowledged state, or that of the command which was in flight.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import signal
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from e2e.buildx_client import Buildx
from e2e.ketchd_process import Ketchd, docker_path, parent_of, wait_for
from e2e.storm_victims import kill_one
from ketch.engine.builder.steps import floor

GONE = "gone"
_NUMBERS = re.compile(r"[0-9a-f]{6,}|[0-9]+")
# What a container may be after an acknowledged verb, with the next verb perhaps in flight.
ALLOWED = {
    "create": {"created", "running", "exited"},
    "start": {"running", "exited"},
    "stop": {"exited", GONE},
    "rm": {GONE},
}


class Storm:
    """Workers on one daemon, and its killer.

    ``servants``: the daemon's other processes are killed too. Then every command may fail, with
    words; 137 says enough.
    """

    def __init__(
        self, daemon: Ketchd, pulled: str, buildx: Buildx | None = None, servants: bool = False
    ) -> None:
        self.daemon = daemon
        self.pulled = pulled
        self.buildx = buildx
        self.servants = servants
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.killed: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._over = threading.Event()
        self._up = threading.Event()
        self._up.set()

    def prepare(self) -> None:
        """Save the image that will be loaded."""
        self.loaded, self.archive = "loaded:1", self.daemon.folder / "loaded.tar"
        text = b"FROM busybox\nRUN dd if=/dev/urandom of=/noise bs=1k count=500\n"
        self.daemon.docker("build", "-q", "-t", self.loaded, "-", input=text)
        self.daemon.docker("save", "-o", str(self.archive), self.loaded)
        self.daemon.docker("rmi", self.loaded)
        self.daemon.docker("builder", "prune", "-af")
        self.context = self.daemon.folder / "context"
        self.context.mkdir()
        (self.context / "file").write_text("content")
        pid = int(self.daemon.out("inspect", "-f", "{{.State.Pid}}", "bystander"))
        self._spared = {pid, parent_of(pid)}

    def rage(self, kills: int, pause: tuple[float, float] = (0.05, 0.9)) -> None:
        """Kill the daemon ``kills`` times, after random seconds each; raises what is wrong."""
        loops = [self._lives, self._lives, self._pulls, self._builds, self._commits, self._loads,
                 self._volumes, self._runs, self._execs, self._saves]  # fmt: skip
        if self.buildx is not None:
            loops.append(self._buildkit)
        workers = [threading.Thread(target=self._guarded, args=(loop,)) for loop in loops]
        for worker in workers:
            worker.start()
        try:
            for _ in range(kills):
                time.sleep(random.uniform(*pause))
                self._kill()
                if self.wrong:
                    break
        finally:
            self._over.set()
            self._up.set()
            for worker in workers:
                worker.join(60)
        assert not self.wrong, self.wrong

    def _kill(self) -> None:
        if self.servants and random.random() < 0.8:
            self.killed[kill_one(self.daemon, self._spared)] += 1
            return
        self.killed["daemon"] += 1
        self._up.clear()
        self.daemon.stop(signal.SIGKILL)
        self.daemon.start()
        self._up.set()

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            while not self._over.is_set():
                loop()
        except Exception as error:
            self.wrong.append(f"{loop.__name__}: {type(error).__name__}: {error}")

    def _ask(
        self,
        *words: str,
        data: bytes | None = None,
        code: int = 0,
        env: dict[str, str] | None = None,
    ) -> tuple[bool, str]:
        """(acknowledged, output); a refusal by a daemon that lives is wrong."""
        self._up.wait()
        done = subprocess.run(
            [str(docker_path()), *words], env=env or self.daemon.env(), input=data,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode == code:
            self.counts[words[0]] += 1
            return True, done.stdout.decode(errors="replace")
        cut = ("annot connect", "error during connect", "EOF", "connection reset", "broken pipe",
               "use of closed network connection")  # fmt: skip
        lost = words[0] == "exec" and done.returncode == 255  # nobody there to ask for the status
        if lost or any(word in said for word in cut):
            return False, said
        if self.servants and (said or done.returncode == 137):
            self.failures[f"{words[0]} {done.returncode}: {_NUMBERS.sub('#', said[-300:])}"] += 1
        else:
            self.wrong.append(f"{' '.join(words)}: exit {done.returncode}: {said[-600:]}")
        return False, said

    def _look(self, *words: str) -> str:
        """Output of a read that is tried until a daemon answers; "" when there is no such thing."""
        while True:
            self._up.wait()
            done = subprocess.run(
                [str(docker_path()), *words],
                env=self.daemon.env(),
                capture_output=True,
                timeout=60,
                check=False,
            )
            said = (done.stdout + done.stderr).decode()
            if done.returncode == 0:
                return done.stdout.decode().strip()
            if "No such" in said or "no such" in said:
                return ""

    def _expect(self, what: str, found: str, allowed: set[str]) -> None:
        if found not in allowed:
            self.wrong.append(f"{what}: found {found!r}, allowed {sorted(allowed)}")

    # the workers

    def _lives(self) -> None:
        name = f"life-{secrets.token_hex(4)}"
        verbs: list[tuple[str, list[str]]] = [
            ("create", ["create", "--name", name, "busybox", "sleep", "600"]),
            ("start", ["start", name]),
            ("stop", ["stop", "-t", "0", name]),
            ("rm", ["rm", name]),
        ]
        acknowledged = ""
        for verb, words in verbs:
            if not self._ask(*words)[0]:
                break
            acknowledged = verb
        state = self._look("inspect", "-f", "{{.State.Status}}", name) or GONE
        allowed = ALLOWED[acknowledged] if acknowledged else {GONE, "created"}
        self._expect(f"{name} after {acknowledged or 'nothing'}", state, allowed)
        while state != GONE and not self._over.is_set():
            state = GONE if self._ask("rm", "-f", name)[0] else state

    def _pulls(self) -> None:
        if self._ask("pull", "-q", self.pulled)[0]:
            wanted = self._look("inspect", "-f", "{{.Id}}", self.pulled)
            self._expect("the pulled image", "there" if wanted else GONE, {"there"})
        if self._look("inspect", "-f", "{{.Id}}", self.pulled):
            acknowledged, _ = self._ask("rmi", self.pulled)
            if acknowledged:
                left = self._look("inspect", "-f", "{{.Id}}", self.pulled)
                self._expect("the removed image", left or GONE, {GONE})

    def _builds(self) -> None:
        tag = f"built:{secrets.token_hex(4)}"
        text = f"FROM busybox\nRUN echo {tag} >/a\nRUN cat /a >/b\n"
        acknowledged, _ = self._ask("build", "-q", "-t", tag, "-", data=text.encode())
        found = self._look("inspect", "-f", "{{.Id}}", tag)
        if acknowledged:
            self._expect(tag, "there" if found else GONE, {"there"})
        if found:
            self._ask("rmi", tag)

    def _commits(self) -> None:
        tag = f"committed:{secrets.token_hex(4)}"
        acknowledged, _ = self._ask("commit", "bystander", tag)
        found = self._look("inspect", "-f", "{{.Id}}", tag)
        if acknowledged:
            self._expect(tag, "there" if found else GONE, {"there"})
        if found:
            self._ask("rmi", tag)

    def _loads(self) -> None:
        """Half of the layers are there already, half come with the archive."""
        acknowledged, _ = self._ask("load", "-q", "-i", str(self.archive))
        found = self._look("inspect", "-f", "{{.Id}}", self.loaded)
        if acknowledged:
            self._expect("the loaded image", "there" if found else GONE, {"there"})
        if found:
            self._ask("rmi", self.loaded)

    def _runs(self) -> None:
        """Exit code and log are those of the program; 137 is a supervisor's that was killed."""
        name = f"run-{secrets.token_hex(4)}"
        script = "echo said; exit 7"
        acknowledged, _ = self._ask("run", "-d", "--name", name, "busybox", "sh", "-c", script)
        if acknowledged:
            code = self._look("wait", name)
            self._expect(f"{name}'s exit code", code, {"7", "137"} if self.servants else {"7"})
            if code == "7":
                self._expect(f"{name}'s log", self._look("logs", name), {"said"})
        while self._look("inspect", "-f", "{{.Id}}", name):
            if self._ask("rm", "-f", name)[0] or self._over.is_set():
                break

    def _execs(self) -> None:
        acknowledged, said = self._ask(
            "exec", "bystander", "sh", "-c", "echo inside; exit 3", code=3
        )
        if acknowledged:
            self._expect("an exec's output", said, {"inside\n"})

    def _saves(self) -> None:
        path = self.daemon.folder / "saved.tar"
        if self._ask("save", "-o", str(path), "busybox")[0]:
            self._expect("a saved image", _flaw(path), {""})
        path.unlink(missing_ok=True)

    def _buildkit(self) -> None:
        assert self.buildx is not None
        tag = f"bx:{secrets.token_hex(4)}"
        text = f"FROM busybox\nCOPY file /\nRUN --mount=type=cache,target=/c echo {tag} >/a\n"
        words = ("buildx", "build", "-q", "-t", tag, "-f", "-", str(self.context))
        acknowledged, _ = self._ask(*words, data=text.encode(), env=self.buildx.env())
        found = self._look("inspect", "-f", "{{.Id}}", tag)
        if acknowledged:
            self._expect(tag, "there" if found else GONE, {"there"})
        if found:
            self._ask("rmi", tag)

    def _volumes(self) -> None:
        name = f"volume-{secrets.token_hex(4)}"
        acknowledged, _ = self._ask("volume", "create", name)
        found = self._look("volume", "inspect", "-f", "{{.Name}}", name)
        if acknowledged:
            self._expect(name, found or GONE, {name})
        if found and self._ask("volume", "rm", name)[0]:
            left = self._look("volume", "inspect", "-f", "{{.Name}}", name)
            self._expect(f"{name}, removed", left or GONE, {GONE})


def clear(daemon: Ketchd) -> None:
    """Remove everything that the API knows, then start the daemon once more."""
    ids = daemon.out("ps", "-aq").split()
    if ids:
        daemon.docker("rm", "-fv", *ids)
    daemon.docker("system", "prune", "-af", "--volumes")
    daemon.docker("volume", "prune", "-af")
    names = daemon.out("images", "-aq").split()
    if names:
        daemon.docker("rmi", "-f", *names, code=None)
    daemon.stop(signal.SIGKILL)
    daemon.start()


def unaccounted(daemon: Ketchd) -> list[str]:
    """What is on the disk after ``clear`` and a start, but for the engine's own files."""
    root = daemon.data
    places = ("containers", "snapshots", "volumes", "tmp", "trash", "content/ingest")
    found = [str(path) for place in places for path in (root / place).glob("*")]
    found += [
        str(path) for place in ("content/blobs", "nests") for path in (root / place).glob("*/*")
    ]
    floors = {layer.removeprefix("sha256:") for layer in floor.own_layers()}
    layers = sorted((root / "layers").glob("*"))
    return found + [str(path) for path in layers if path.name not in floors]


def damaged(daemon: Ketchd) -> list[str]:
    """Blobs and layers whose bytes are not what their names say."""
    from ketch.snapshots.probe import named

    blobs = (daemon.data / "content" / "blobs" / "sha256").glob("*")
    wrong = [str(path) for path in blobs if _sha256(path) != path.name]
    store = named("erofs", str(daemon.data))
    for diff_id in store.layers():
        with store.open_tar(diff_id) as tar:
            if "sha256:" + hashlib.file_digest(tar, "sha256").hexdigest() != diff_id:
                wrong.append(diff_id)
    return wrong


def _flaw(archive: Path) -> str:
    """What is wrong with a saved image; "" when its parts are what their digests say."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.loads(read("manifest.json"))
        config = read(image["Config"])
        if hashlib.sha256(config).hexdigest() not in image["Config"]:
            return "the configuration"
        wanted = json.loads(config)["rootfs"]["diff_ids"]
        found = [f"sha256:{hashlib.sha256(read(name)).hexdigest()}" for name in image["Layers"]]
        return "" if found == wanted else f"layers {found} instead of {wanted}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Bystander:
    """A container that nobody touches: it must not notice anything."""

    def __init__(self, daemon: Ketchd) -> None:
        self._daemon = daemon
        count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"
        daemon.docker("run", "-d", "--name", "bystander", "busybox", "sh", "-c", count)
        self._pid = self._state()["Pid"]

    def _state(self) -> dict[str, object]:
        return dict(json.loads(self._daemon.out("inspect", "bystander"))[0]["State"])

    def check(self) -> None:
        state = self._state()
        assert state["Running"] is True
        assert state["Pid"] == self._pid
        said = [int(line) for line in self._daemon.out("logs", "bystander").split()]
        assert said == list(range(len(said)))
        assert os.path.exists(f"/proc/{self._pid}")
        assert self._daemon.out("exec", "bystander", "echo", "alive", timeout=30) == "alive"


def settle(daemon: Ketchd) -> None:
    """Until what is deleted in the background is gone."""
    wait_for(lambda: not unaccounted(daemon), f"unaccounted: {unaccounted(daemon)}", 15)
