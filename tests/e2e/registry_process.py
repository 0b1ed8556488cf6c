"""Debian's docker-registry, really started, on a loopback port of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from e2e.ketchd_process import wait_for


class Registry:
    """A running registry; ``address`` is host:port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        folder.mkdir(parents=True)
        self._config = folder / "config.yml"
        self._config.write_text(
            f"version: 0.1\nlog: {{level: error}}\n"
            f"storage:\n  filesystem: {{rootdirectory: {folder}}}\n"
            f"  delete: {{enabled: true}}\nhttp: {{addr: {self.address}}}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        program = shutil.which("docker-registry")
        assert program is not None
        self._process = subprocess.Popen(
            [program, "serve", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        wait_for(self._answers, "the registry did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0
