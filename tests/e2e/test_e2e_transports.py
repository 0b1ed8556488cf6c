"""TCP with mutual TLS, ssh, contexts: the docker CLI and ours, sharing one configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.certificates import make_authority, sign
from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketch_program import KETCH
from e2e.ketchd_process import Ketchd, docker_path
from e2e.ssh_server import SshServer, ssh_server
from free_networks import free_port

pytestmark = pytest.mark.root

DOCKER = docker_path() or "docker"


def run(
    program: str, *words: str, env: dict[str, str], code: int | None = 0, input: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a client in exactly this environment."""
    done = subprocess.run(
        [program, *words],
        env={"PATH": os.environ["PATH"], "HOME": env.get("HOME", "/nonexistent"), **env},
        input=input.decode(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
    return done


# contexts


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path / "docker")}


def test_contexts_are_shared_with_docker(ketchd: Ketchd, config: dict[str, str]) -> None:
    host = f"host=unix://{ketchd.socket}"
    done = run(KETCH, "context", "create", "mine", "--description", "d d", "--docker", host,
               env=config)  # fmt: skip
    assert done.stdout == "mine\n"
    assert run(DOCKER, "context", "inspect", "mine", env=config).stdout == (
        run(KETCH, "context", "inspect", "mine", env=config).stdout
    )
    assert run(KETCH, "context", "use", "mine", env=config).stdout == "mine\n"
    for program in (KETCH, DOCKER):
        assert run(program, "context", "show", env=config).stdout == "mine\n"
        assert "busybox" in run(program, "images", env=config).stdout
    run(DOCKER, "context", "create", "theirs", "--docker", host, env=config)
    assert run(KETCH, "context", "ls", "-q", env=config).stdout == "default\nmine\ntheirs\n"
    theirs = {**config, "DOCKER_CONTEXT": "theirs"}
    assert "busybox" in run(KETCH, "images", env=theirs).stdout
    rows = [json.loads(x) for x in run(KETCH, "context", "ls", "--format", "json", env=theirs)
            .stdout.splitlines()]  # fmt: skip
    assert [row["Name"] for row in rows if row["Current"]] == ["theirs"]
    done = run(KETCH, "context", "rm", "mine", env=config, code=1)
    assert 'context "mine" is in use, set -f flag to force remove' in done.stderr
    run(KETCH, "context", "rm", "-f", "mine", "theirs", env=config)
    assert run(DOCKER, "context", "ls", "-q", env=config).stdout == "default\n"


def test_a_host_wins_over_the_current_context(ketchd: Ketchd, config: dict[str, str]) -> None:
    run(KETCH, "context", "create", "away", "--docker", "host=tcp://127.0.0.1:1", env=config)
    done = run(KETCH, "context", "use", "away",
               env={**config, "DOCKER_HOST": f"unix://{ketchd.socket}"})  # fmt: skip
    assert "DOCKER_HOST environment variable overrides" in done.stderr
    here = {**config, "DOCKER_HOST": f"unix://{ketchd.socket}"}
    assert "busybox" in run(KETCH, "images", env=here).stdout
    assert run(KETCH, "context", "show", env=here).stdout == "default\n"
    failed = run(KETCH, "images", env=config, code=1)
    assert "Cannot connect to the ketch daemon at tcp://127.0.0.1:1" in failed.stderr
    missing = run(KETCH, "images", env={**config, "DOCKER_CONTEXT": "nope"}, code=1)
    assert missing.stderr.startswith('context "nope": context not found: open ')


def test_export_and_import_both_ways(tmp_path: Path, config: dict[str, str]) -> None:
    make_authority(tmp_path)
    sign(tmp_path)
    files = ",".join(f"{key}={tmp_path}/{key}.pem" for key in ("ca", "cert", "key"))
    where = f"host=tcp://10.1.2.3:2376,{files}"
    run(KETCH, "context", "create", "far", "--docker", where, env=config)
    for writer, reader in ((KETCH, DOCKER), (DOCKER, KETCH)):
        archive = tmp_path / f"{Path(writer).name}.dockercontext"
        run(writer, "context", "export", "far", str(archive), env=config)
        assert archive.stat().st_mode & 0o077 == 0
        run(reader, "context", "import", "again", str(archive), env=config)
        (far,) = json.loads(run(reader, "context", "inspect", "again", env=config).stdout)
        assert far["Endpoints"]["docker"]["Host"] == "tcp://10.1.2.3:2376"
        assert far["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
        key = Path(far["Storage"]["TLSPath"]) / "docker" / "key.pem"
        assert key.read_bytes() == (tmp_path / "key.pem").read_bytes()
        run(reader, "context", "rm", "again", env=config)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "default"), '"default" is a reserved context name'),
        (("create", "a b"), 'context name "a b" is invalid'),
        (("use", "nope"), 'context "nope": context not found'),
        (("rm", "default"), 'context "default" cannot be removed'),
        (("create", "cc", "--docker", "foo=bar"), "unrecognized config key 'foo'"),
        (("create", "cc", "--docker", "host=ftp://x"), "unable to parse engine host 'ftp://x'"),
        (("import", "cc", "/etc/passwd"), "this is no context archive"),
    ],
)
def test_what_makes_no_context(config: dict[str, str], words: tuple[str, ...], said: str) -> None:
    done = run(KETCH, "context", *words, env=config, code=None)
    assert done.returncode != 0
    assert said in done.stderr
    assert run(KETCH, "context", "ls", "-q", env=config).stdout == "default\n"


# TLS


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Ketchd, int, Path]]:
    """A daemon on TCP with TLS; the folder holds ca.pem, cert.pem and key.pem."""
    folder = Path(tempfile.mkdtemp(prefix="ketch-tls-"))
    certificates = folder / "pki"
    make_authority(certificates)
    sign(certificates, names="DNS:localhost,DNS:engine.test,IP:127.0.0.1")
    daemon, port = Ketchd(folder / "d"), free_port()
    document = {
        "tlsverify": True,
        "tlscacert": str(certificates / "ca.pem"),
        "tlscert": str(certificates / "cert.pem"),
        "tlskey": str(certificates / "key.pem"),
    }
    (daemon.folder / "daemon.json").write_text(json.dumps(document))
    flags = daemon.flags
    daemon.flags = lambda: [*flags(), "--host", f"tcp://127.0.0.1:{port}"]  # type: ignore[method-assign]
    try:
        daemon.start()
        load_busybox(daemon)
        yield daemon, port, certificates
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("program", [DOCKER, KETCH])
def test_mutual_tls(secured: tuple[Ketchd, int, Path], tmp_path: Path, program: str) -> None:
    _, port, certificates = secured
    env = {
        "DOCKER_CONFIG": str(tmp_path),
        "DOCKER_HOST": f"tcp://localhost:{port}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certificates),
    }
    script = "cat; echo err >&2; dd if=/dev/zero bs=65536 count=40 2>/dev/null"
    done = run(program, "run", "--rm", "-i", "busybox", "sh", "-c", script, env=env, input=b"in\n")
    assert done.stdout == "in\n" + "\0" * 65536 * 40
    assert done.stderr == "err\n"
    assert run(program, "run", "--rm", "busybox", "echo", "hi", env=env).stdout == "hi\n"
    without = {**env, "DOCKER_CERT_PATH": str(tmp_path)}
    assert run(program, "images", env=without, code=None).returncode != 0
    stranger = tmp_path / "stranger"
    make_authority(stranger)
    sign(stranger)
    denied = run(program, "images", env={**env, "DOCKER_CERT_PATH": str(stranger)}, code=None)
    assert denied.returncode != 0
    assert "certificate" in denied.stderr
    plain = {key: value for key, value in env.items() if key != "DOCKER_TLS_VERIFY"}
    assert run(program, "images", env=plain, code=None).returncode != 0


def test_a_context_with_tls(secured: tuple[Ketchd, int, Path], config: dict[str, str]) -> None:
    _, port, certificates = secured
    files = ",".join(f"{key}={certificates}/{key}.pem" for key in ("ca", "cert", "key"))
    host = f"host=tcp://127.0.0.1:{port}"
    run(KETCH, "context", "create", "tls", "--docker", f"{host},{files}", env=config)
    for program in (KETCH, DOCKER):
        env = {**config, "DOCKER_CONTEXT": "tls"}
        assert "busybox" in run(program, "images", env=env).stdout


def test_the_certificates_names_are_ours(secured: tuple[Ketchd, int, Path]) -> None:
    _, port, certificates = secured

    def status(host: str, *headers: str) -> str:
        return subprocess.run(
            [
                "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--connect-to",
                f"::127.0.0.1:{port}", "--cacert", certificates / "ca.pem", "--cert",
                certificates / "cert.pem", "--key", certificates / "key.pem",
                *(word for header in headers for word in ("-H", header)),
                f"https://{host}:{port}/containers/json",
            ],
            capture_output=True, text=True, check=False, timeout=120,
        ).stdout  # fmt: skip

    assert status("engine.test") == "200"
    assert status("engine.test", "Host: evil.example") == "403"
    assert status("engine.test", "Origin: https://evil.example") == "403"


# ssh


@pytest.fixture(scope="module")
def sshd(ketchd: Ketchd) -> Iterator[dict[str, str]]:
    """A real sshd on loopback, and the environment of a user who reaches it as ``far``."""
    bin_folder = Path(tempfile.mkdtemp(prefix="ketch-ssh-bin-"))
    try:
        with ssh_server(f"SetEnv PATH={bin_folder}:/usr/bin:/bin\n") as server:
            _programs(bin_folder, server, ketchd)
            config = str(server.folder / "c")
            yield {"PATH": f"{bin_folder}:{os.environ['PATH']}", "DOCKER_CONFIG": config}
    finally:
        shutil.rmtree(bin_folder, ignore_errors=True)


def _programs(bin_folder: Path, server: SshServer, ketchd: Ketchd) -> None:
    """What is there on the other side, and the client: ssh takes the home directory of the password
    file, not HOME, so it gets its configuration by a wrapper."""
    wrapper = bin_folder / "ketch"
    wrapper.write_text(f'#!/bin/sh\nKETCH_HOST=unix://{ketchd.socket} exec {KETCH} "$@"\n')
    wrapper.chmod(0o755)
    (bin_folder / "docker").symlink_to("ketch")
    (server.folder / "ssh_config").write_text(
        f"Host far\n  HostName {server.address}\n  Port {server.port}\n  User root\n"
        f"  IdentityFile {server.folder}/user_key\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {server.folder}/known\n"
    )
    client = bin_folder / "ssh"
    ssh = shutil.which("ssh")
    client.write_text(f'#!/bin/sh\nexec {ssh} -F {server.folder}/ssh_config "$@"\n')
    client.chmod(0o755)


@pytest.mark.parametrize("program", [DOCKER, KETCH])
def test_ssh(sshd: dict[str, str], program: str) -> None:
    env = {**sshd, "DOCKER_HOST": "ssh://far"}
    assert "busybox" in run(program, "images", env=env).stdout
    done = run(program, "run", "--rm", "-i", "busybox", "cat", env=env, input=b"over there\n")
    assert done.stdout == "over there\n"
    assert run(program, "run", "--rm", "busybox", "sh", "-c", "exit 7", env=env, code=7)


def test_ssh_to_a_socket_that_is_named(sshd: dict[str, str], ketchd: Ketchd) -> None:
    env = {**sshd, "DOCKER_HOST": f"ssh://root@far{ketchd.socket}"}
    for program in (DOCKER, KETCH):
        assert "busybox" in run(program, "images", env=env).stdout


def test_ssh_that_fails_says_why(sshd: dict[str, str]) -> None:
    done = run(KETCH, "images", env={**sshd, "DOCKER_HOST": "ssh://far/nope.sock"}, code=1)
    assert "cannot connect to the ketch daemon at ssh://far/nope.sock" in done.stderr
    done = run(KETCH, "images", env={**sshd, "DOCKER_HOST": "ssh://127.0.0.1:1"}, code=1)
    assert "ssh ended with status 255" in done.stderr
