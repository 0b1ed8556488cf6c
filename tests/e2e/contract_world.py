"""Real objects for contract tests, made when a call needs them, and plain requests."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from e2e.ketchd_process import Ketchd
from e2e.unix_http import UnixConnection

SLEEPER = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


class Answer(NamedTuple):
    """What came: the body is decoded when it is JSON (several lines: a list of documents)."""

    status: int
    kind: str
    body: Any


def tar_of(**files: bytes) -> bytes:
    """An archive; names with a dot are written with ``__``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class World:
    """``world("{running}")`` makes a running container and gives its name."""

    def __init__(self, ketchd: Ketchd, version: str = "1.51") -> None:
        self.ketchd, self.version = ketchd, version
        self._count, self._member = 0, ""
        self._makers: dict[str, Callable[[], str]] = {
            "created": self.created,
            "running": self.running,
            "paused": self.paused,
            "exited": self.exited,
            "exec": self.exec,
            "volume": self.volume,
            "network": self.network,
            "image": self.image,
            "joined": self.joined,
            "member": lambda: self._member,
            "terminal": self.terminal,
            "fresh": self.fresh,
        }

    def fill(self, value: Any) -> Any:
        """A body with its words in braces replaced."""
        if isinstance(value, dict):
            return {name: self.fill(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return self(value) if isinstance(value, str) else value

    def __call__(self, text: str) -> str:
        for word, make in self._makers.items():
            if f"{{{word}}}" in text:
                text = text.replace(f"{{{word}}}", make())
        return text

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request of this version."""
        is_bytes = isinstance(body, bytes)
        data = body if is_bytes or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/x-tar" if is_bytes else "application/json"}
        connection = UnixConnection(str(self.ketchd.socket))
        try:
            connection.request(
                method,
                f"/v{self.version}{quote(path, safe='/?=&:,%@')}",
                data,
                {**(kind if body is not None else {}), **(headers or {})},
            )
            answer = connection.getresponse()
            text = b"" if answer.status == 101 else answer.read()
        finally:
            connection.close()
        found = answer.headers.get("Content-Type") or ""
        return Answer(answer.status, found, _decoded(found, text))

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """An answer that is fine."""
        answer = self.ask(method, path, body)
        assert answer.status < 400, (method, path, answer)
        return answer.body

    def now(self) -> str:
        """Seconds since the epoch, for ``since`` and ``until``."""
        return f"{time.time():.6f}"

    def fresh(self) -> str:
        """A name that nothing has."""
        self._count += 1
        return f"cw-{self.version[2:]}-{self._count}"

    def created(self, **config: Any) -> str:
        name = self.fresh()
        whole = {"Image": "busybox", "Cmd": SLEEPER, "Labels": {"contract": "1"}, **config}
        self.must("POST", f"/containers/create?name={name}", whole)
        return name

    def running(self, **config: Any) -> str:
        name = self.created(**config)
        self.must("POST", f"/containers/{name}/start")
        return name

    def paused(self) -> str:
        name = self.running()
        self.must("POST", f"/containers/{name}/pause")
        return name

    def exited(self) -> str:
        name = self.running(Cmd=["sh", "-c", "echo hello; echo oops >&2; exit 3"])
        self.must("POST", f"/containers/{name}/wait")
        return name

    def exec(self) -> str:
        name = self.running()
        body = {"Cmd": ["sh", "-c", "echo hello"], "AttachStdout": True}
        return str(self.must("POST", f"/containers/{name}/exec", body)["Id"])

    def volume(self) -> str:
        body = {"Name": self.fresh(), "Labels": {"contract": "1"}}
        return str(self.must("POST", "/volumes/create", body)["Name"])

    def network(self) -> str:
        body = {"Name": self.fresh(), "Labels": {"contract": "1"}}
        self.must("POST", "/networks/create", body)
        return str(body["Name"])

    def joined(self) -> str:
        """A network with a container on it, which is the next ``{member}``."""
        network = self.network()
        self._member = self.running(HostConfig={"NetworkMode": network})
        return network

    def terminal(self) -> str:
        """An exec that runs on a terminal."""
        name = self.running()
        body = {"Cmd": ["sleep", "600"], "AttachStdout": True, "Tty": True}
        found = str(self.must("POST", f"/containers/{name}/exec", body)["Id"])
        self.must("POST", f"/exec/{found}/start", {"Detach": True, "Tty": True})
        return found

    def image(self) -> str:
        name = f"{self.fresh()}:1"
        self.must("POST", f"/images/busybox/tag?repo={name.partition(':')[0]}&tag=1")
        return name

    def clear(self) -> None:
        """Remove what was made here."""
        ids = self.ketchd.out("ps", "-aq", "--filter", "label=contract").split()
        if ids:
            self.ketchd.docker("rm", "-fv", *ids)
        for verb in ("volume", "network"):
            names = self.ketchd.out(verb, "ls", "-q", "--filter", "label=contract").split()
            if names:
                self.ketchd.docker(verb, "rm", *names)
        tags = self.ketchd.out("images", "--format", "{{.Repository}}:{{.Tag}}", "cw-*").split()
        if tags:
            self.ketchd.docker("rmi", *tags)


def _decoded(kind: str, text: bytes) -> Any:
    if not kind.startswith("application/json") or not text:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def auth_header(**fields: str) -> dict[str, str]:
    """``X-Registry-Auth``."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}
