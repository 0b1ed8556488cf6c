"""Debian's sshd, really started, with keys of its own: on an address of loopback's, as root."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.ketchd_process import wait_for


class SshServer:
    """A running one; ``folder`` has ``user_key`` and ``known`` (its host key under its address)."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self.folder = folder
        self.address = address
        self.port = port


@contextmanager
def ssh_server(settings: str = "", port: int = 0) -> Iterator[SshServer]:
    """``settings`` are more lines of sshd_config(5); ``port`` 0 chooses one."""
    if shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs openssh-server")
    address = f"127.{random.randint(80, 250)}.{random.randint(1, 250)}.7"
    port = port or _free_port(address)
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            pytest.skip(f"port {port} is taken")
    folder = Path(tempfile.mkdtemp(prefix="ketch-ssh-"))
    for name in ("host_key", "user_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(words, check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized")
    key = (folder / "host_key.pub").read_text()
    where = address if port == 22 else f"[{address}]:{port}"
    (folder / "known").write_text(f"{where} {key}")
    (folder / "sshd_config").write_text(
        f"ListenAddress {address}:{port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\n{settings}"
    )
    os.makedirs("/run/sshd", exist_ok=True)
    server = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _listens(address, port), "sshd did not start")
        yield SshServer(folder, address, port)
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ssh_agent(key: Path, path: Path) -> Iterator[Path]:
    """A real agent at ``path`` that holds ``key``."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        wait_for(path.is_socket, "ssh-agent did not start")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
        yield path
    finally:
        agent.terminate()
        agent.wait(10)


def _free_port(address: str) -> int:
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def _listens(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0
