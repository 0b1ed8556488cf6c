"""Log drivers through the docker CLI: files, rotation, compression, syslog, what is refused."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

LINES = "i=0; while [ $i -lt 3000 ]; do echo line number $i; i=$((i+1)); done"


def bundle(ketchd: Ketchd, name: str) -> Path:
    return ketchd.data / "containers" / ketchd.out("inspect", "-f", "{{.Id}}", name)


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotation_bounds_the_disk_and_logs_reads_on(ketchd: Ketchd, name: str, driver: str) -> None:
    ketchd.docker(
        "run", "--name", name, "--log-driver", driver, "--log-opt", "max-size=10k",
        "--log-opt", "max-file=3", "--log-opt", "compress=false", "busybox", "sh", "-c", LINES,
    )  # fmt: skip
    folder = bundle(ketchd, name)
    files = [path for path in folder.iterdir() if "log" in path.name]
    assert len(files) == 3
    assert sum(path.stat().st_size for path in files) < 3 * (10 * 1024 + 200)
    lines = ketchd.out("logs", name).splitlines()
    assert lines == [f"line number {n}" for n in range(3000 - len(lines), 3000)]
    assert len(lines) > 200
    assert ketchd.out("logs", "--tail", "150", name).splitlines() == lines[-150:]


@pytest.mark.parametrize(("driver", "size"), [("json-file", "6m"), ("local", "4m")])
def test_compressed_files_are_read(ketchd: Ketchd, name: str, driver: str, size: str) -> None:
    ketchd.docker(
        "run", "-di", "--name", name, "--log-driver", driver, "--log-opt", f"max-size={size}",
        "--log-opt", "max-file=4", "--log-opt", "compress=true", "busybox", "sh", "-c",
        f"head -c 5000000 /dev/zero | tr '\\0' x | fold -w 100; echo; {LINES}; read x",
    )  # fmt: skip
    folder = bundle(ketchd, name)

    def compressed() -> bool:
        names = sorted(path.name for path in folder.iterdir() if "log" in path.name)
        return len(names) == 2 and names[1].endswith(".1.gz")

    wait_for(compressed, "the rotated file was not compressed")
    wait_for(
        lambda: ketchd.out("logs", "--tail", "1", name) == "line number 2999", "it did not finish"
    )
    ketchd.docker("kill", name)
    lines = ketchd.out("logs", name).splitlines()
    assert lines[:50_000] == ["x" * 100] * 50_000
    assert lines[-3000:] == [f"line number {n}" for n in range(3000)]
    assert ketchd.out("logs", "--tail", "40000", name).splitlines() == lines[-40_000:]
    zcat = subprocess.run(
        ["gzip", "-dc", *map(str, folder.glob("*.gz"))], capture_output=True, check=True
    )
    assert b"x" * 100 in zcat.stdout


def test_non_blocking_is_another_process(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--log-opt", "mode=non-blocking", "--log-opt",
        "max-buffer-size=2m", "busybox", "sh", "-c", f"{LINES}; exec sleep 600",
    )  # fmt: skip
    wait_for(
        lambda: ketchd.out("logs", name).splitlines() == [f"line number {n}" for n in range(3000)],
        "the lines did not arrive",
    )
    ketchd.docker("rm", "-f", name)


def test_attributes_are_details(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "--name", name, "--label", "team=a", "--label", "other=b", "-e", "STAGE=x",
        "--log-opt", "labels=team", "--log-opt", "env-regex=^ST", "--log-opt",
        "tag={{.Name}}/{{.ImageName}}", "busybox", "echo", "hello",
    )  # fmt: skip
    detailed = ketchd.out("logs", "--details", name)
    assert detailed == f"STAGE=x,tag={name}/busybox,team=a hello"
    stamped = ketchd.out("logs", "--details", "-t", name)
    assert re.fullmatch(r"20\S+Z STAGE=x,tag=\S+,team=a hello", stamped)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--log-driver", "gelf"), "no log driver named 'gelf' is registered"),
        (("--log-driver", "fluentd"), "no log driver named 'fluentd' is registered"),
        (("--log-driver", "awslogs"), "no log driver named 'awslogs' is registered"),
        (("--log-driver", "splunk"), "no log driver named 'splunk' is registered"),
        (("--log-opt", "bogus=1"), "unknown log opt 'bogus' for json-file log driver"),
        (("--log-opt", "mode=maybe"), "logging mode not supported: maybe"),
        (("--log-opt", "max-buffer-size=1m"), "only supported with 'mode=non-blocking'"),
        (("--log-opt", "max-size=much"), "invalid size: 'much'"),
        (("--log-opt", "max-file=0"), "max-file cannot be less than 1"),
        (("--log-opt", "compress=true", "--log-opt", "max-file=1"), "compress cannot be true"),
        (("--log-opt", "cache-disabled=true"), "unknown log opt 'cache-disabled' for json-file"),
        (
            ("--log-driver", "syslog", "--log-opt", "cache-disabled=maybe"),
            "log opt 'cache-disabled': 'maybe' is neither true nor false",
        ),
        (("--log-driver", "syslog", "--log-opt", "cache-max-file=0"), "max-file cannot be less"),
        (
            (
                "--log-driver",
                "syslog",
                "--log-opt",
                "cache-compress=1",
                "--log-opt",
                "cache-max-file=1",
            ),
            "cache-compress cannot be true when cache-max-file is less than 2",
        ),
        (("--log-opt", "tag={{.Bogus}}"), "{{.Bogus}} is none of"),
        (("--log-driver", "local", "--log-opt", "tag=x"), "unknown log opt 'tag' for local"),
        (("--log-driver", "syslog", "--log-opt", "syslog-address=bogus"), "proto://address"),
        (("--log-driver", "syslog", "--log-opt", "syslog-format=x"), "Invalid syslog format: x"),
        (("--log-driver", "syslog", "--log-opt", "syslog-facility=x"), "invalid syslog facility"),
    ],
)
def test_refusals(ketchd: Ketchd, name: str, words: tuple[str, ...], message: str) -> None:
    done = ketchd.docker("create", "--name", name, *words, "busybox", code=1)
    assert message in done.stderr.decode()
    assert name not in ketchd.out("ps", "-a", "--format", "{{.Names}}").split()


def test_a_driver_that_cannot_be_read(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "--name", name, "--log-driver", "none", "busybox", "echo", "x")
    done = ketchd.docker("logs", name, code=1)
    assert "configured logging driver does not support reading" in done.stderr.decode()


@pytest.mark.parametrize("form", ["", "rfc3164", "rfc5424", "rfc5424micro"])
def test_syslog_datagrams(ketchd: Ketchd, name: str, form: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        address = f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"
        ketchd.docker(
            "run", "--rm", "--log-driver", "syslog", "--log-opt", address, "--log-opt",
            f"syslog-format={form}", "--log-opt", "syslog-facility=local3", "--log-opt",
            "tag=app-{{.Name}}", "--name", name, "busybox", "sh", "-c", "echo out; echo err >&2",
        )  # fmt: skip
        messages = sorted(server.recv(65536).decode() for _ in range(2))
    host = os.uname().nodename
    heads = {
        "": rf"\w{{3}} [ \d]\d \S+ app-{name}\[\d+\]: ",
        "rfc3164": rf"\w{{3}} [ \d]\d \S+ {host} app-{name}\[\d+\]: ",
        "rfc5424": rf"1 20\S+:\d\dZ {host} app-{name} \d+ app-{name} - ",
        "rfc5424micro": rf"1 20\S+\.\d{{6}}Z {host} app-{name} \d+ app-{name} - ",
    }
    assert re.fullmatch(f"<155>{heads[form]}err\n", messages[0])
    assert re.fullmatch(f"<158>{heads[form]}out\n", messages[1])


def test_a_syslog_server_that_is_not_there(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        done = ketchd.docker(
            "run", "--name", name, "--log-driver", "syslog", "--log-opt",
            f"syslog-address=tcp://127.0.0.1:{port}", "-v", f"{tmp_path}:/t", "busybox",
            "touch", "/t/ran", code=125,
        )  # fmt: skip
    assert "failed to initialize logging driver: syslog" in done.stderr.decode()
    assert "connection refused" in done.stderr.decode()
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A real syslog server on a port of loopback, and the file it writes."""
    program = "/usr/sbin/rsyslogd"
    if not os.access(program, os.X_OK):
        pytest.skip("needs rsyslog")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    written = tmp_path / "messages"
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{tmp_path}")\nmodule(load="imtcp")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\n'
        'template(name="all" type="string" string="%syslogfacility-text%.%syslogseverity-text% '
        '%app-name%|%msg%\\n")\n'
        f'action(type="omfile" file="{written}" template="all")\n'
    )
    server = subprocess.Popen(
        [program, "-n", "-f", str(config), "-i", str(tmp_path / "pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _listens(port), "rsyslog did not begin to listen")
        yield port, written
    finally:
        server.terminate()
        server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_real_syslog_server(ketchd: Ketchd, name: str, rsyslog: tuple[int, Path]) -> None:
    port, written = rsyslog
    ketchd.docker(
        "run", "--name", name, "--log-driver", "syslog", "--log-opt",
        f"syslog-address=tcp://127.0.0.1:{port}", "--log-opt", "syslog-format=rfc5424",
        "--log-opt", "tag=web", "busybox", "sh", "-c", f"{LINES}; echo failed >&2",
    )  # fmt: skip
    wait_for(
        lambda: written.exists() and len(written.read_text().splitlines()) == 3001,
        "the messages did not arrive",
    )
    lines = written.read_text().splitlines()
    said = [line.partition("|")[2].strip() for line in lines if line.startswith("daemon.info web")]
    assert said == [f"line number {n}" for n in range(3000)]
    assert next(line for line in lines if line.startswith("daemon.err web|")).endswith("failed")
    done = ketchd.docker("logs", name)  # from the copy that is kept here
    assert done.stdout.decode().splitlines() == [f"line number {n}" for n in range(3000)]
    assert done.stderr == b"failed\n"


def datagrams() -> tuple[socket.socket, str]:
    """A syslog server that takes what comes, and the option that names it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    return server, f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"


def test_logs_of_syslog_are_followed(ketchd: Ketchd, name: str) -> None:
    server, address = datagrams()
    with server:
        ketchd.docker(
            "run", "-di", "--name", name, "--log-driver", "syslog", "--log-opt", address,
            "--log-opt", "mode=non-blocking", "busybox", "sh", "-c",
            "echo first; read x; echo second",
        )  # fmt: skip
        with ketchd.popen("logs", "-f", name, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"first\n"
            ketchd.docker("attach", "--detach-keys", "ctrl-x", name, input=b"\n")
            assert follower.stdout.read() == b"second\n"


def test_a_copy_has_bounds_and_goes_with_its_container(ketchd: Ketchd, name: str) -> None:
    server, address = datagrams()
    with server:
        ketchd.docker(
            "run", "--name", name, "--log-driver", "syslog", "--log-opt", address, "--log-opt",
            "cache-max-size=8k", "--log-opt", "cache-max-file=2", "--log-opt",
            "cache-compress=false", "busybox", "sh", "-c", LINES,
        )  # fmt: skip
    folder = bundle(ketchd, name)
    copies = list(folder.glob("cached.log*"))
    assert sorted(path.name for path in copies) == ["cached.log", "cached.log.1"]
    assert sum(path.stat().st_size for path in copies) < 2 * 8192 + 200
    assert ketchd.out("logs", name).endswith("line number 2998\nline number 2999")
    ketchd.docker("rm", name)
    wait_for(lambda: not folder.exists(), "the copy stayed")


def test_a_copy_that_is_not_wanted(ketchd: Ketchd, name: str) -> None:
    server, address = datagrams()
    with server:
        ketchd.docker(
            "run", "--name", name, "--log-driver", "syslog", "--log-opt", address, "--log-opt",
            "cache-disabled=true", "busybox", "echo", "x",
        )  # fmt: skip
    done = ketchd.docker("logs", name, code=1)
    assert "configured logging driver does not support reading" in done.stderr.decode()
    assert not list(bundle(ketchd, name).glob("cached.log*"))


def test_inspect_shows_the_driver(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "create", "--name", name, "--log-driver", "local", "--log-opt", "max-size=1m", "busybox"
    )
    config = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", name))
    assert config == {"Type": "local", "Config": {"max-size": "1m"}}
