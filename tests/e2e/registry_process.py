"""Debian's docker-registry, really started, on a loopback port of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from e2e.certificates import make_authority, sign
from e2e.ketchd_process import wait_for


class Registry:
    """A running registry; ``address`` is host:port.

    ``users`` (name → password) makes it ask for basic authentication, ``host`` gives it TLS with a
    certificate for that name, which must be one of a loopback address; ``authority`` is the CA.
    """

    def __init__(self, folder: Path, users: dict[str, str] | None = None, host: str = "") -> None:
        address = socket.gethostbyname(host) if host else "127.0.0.1"
        with socket.socket() as probe:
            probe.bind((address, 0))
            self._listen = f"{address}:{probe.getsockname()[1]}"
        self.port = int(self._listen.rpartition(":")[2])
        self.address = f"{host or address}:{self.port}"
        self.authority = folder / "ca.pem"
        folder.mkdir(parents=True)
        http = f"addr: '{self._listen}'"
        if host:
            make_authority(folder)
            sign(folder, names=f"DNS:{host}")
            http += f", tls: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}"
        auth = ""
        if users:
            _write_passwords(folder / "htpasswd", users)
            auth = f"auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}\n"
        self._config = folder / "config.yml"
        self._config.write_text(
            f"version: 0.1\nlog: {{level: error}}\n"
            f"storage:\n  filesystem: {{rootdirectory: {folder}}}\n"
            f"  delete: {{enabled: true}}\nhttp: {{{http}}}\n{auth}"
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
            return sock.connect_ex((self._listen.rpartition(":")[0], self.port)) == 0


def _write_passwords(path: Path, users: dict[str, str]) -> None:
    for number, (user, password) in enumerate(users.items()):
        subprocess.run(
            ["htpasswd", "-Bb", *(() if number else ("-c",)), str(path), user, password],
            check=True,
            capture_output=True,
        )
