"""``docker run`` and the life of containers."""

from __future__ import annotations

import json
import time

import pytest

from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root


def test_true(ketchd: Ketchd) -> None:
    before = ketchd.out("ps", "-aq")
    assert ketchd.docker("run", "--rm", "busybox", "true").stdout == b""
    assert ketchd.out("ps", "-aq") == before


def test_output_and_both_streams(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["busybox", "sh", "-c", "exit 7"], 7),
        (["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (["busybox", "no-such-program"], 127),
        (["busybox", "/etc"], 126),
        (["busybox", "/etc/passwd"], 126),
        (["--bogus-flag", "busybox"], 125),
        (["-m", "1m", "busybox", "true"], 125),
    ],
)
def test_exit_codes(ketchd: Ketchd, command: list[str], code: int) -> None:
    before = ketchd.out("ps", "-aq")
    ketchd.docker("run", "--rm", *command, code=code)
    assert ketchd.out("ps", "-aq") == before


def test_messages_of_failed_starts(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "busybox", "nonexistent", code=127)
    assert b'exec: "nonexistent": executable file not found in $PATH' in done.stderr
    done = ketchd.docker("run", "--rm", "busybox", "/etc", code=126)
    assert b"permission denied" in done.stderr


def test_missing_image(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "--pull", "never", "no-such-image:1", code=125)
    assert b"No such image: no-such-image:1" in done.stderr


def test_environment_user_workdir_hostname(ketchd: Ketchd) -> None:
    text = ketchd.out(
        "run", "--rm", "-e", "A=b c", "-u", "guest", "-w", "/tmp/new", "-h", "hal", "busybox",
        "sh", "-c", "echo $A; id -un; id -u; pwd; hostname",
    )  # fmt: skip
    assert text.split("\n") == ["b c", "guest", "1000", "/tmp/new", "hal"]


def test_limits(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "-m", "64m", "--cpus", "0.5", "busybox", "sleep", "600"
    )
    host = json.loads(ketchd.out("inspect", name))[0]["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host["NanoCpus"] == 500_000_000
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    text = ketchd.out("exec", name, "sh", "-c", f"cat {files} 2>/dev/null; true")
    assert text == str(64 << 20)


def test_detached_ps_stop_start_rm(ketchd: Ketchd, name: str) -> None:
    container = ketchd.out("run", "-d", "--name", name, "busybox", "sleep", "600")
    assert len(container) == 64
    row = json.loads(ketchd.out("ps", "--no-trunc", "--filter", f"name={name}", "--format", "json"))
    assert row["ID"] == container
    assert row["Status"].startswith("Up ")
    assert row["Image"] == "busybox"
    ketchd.docker("stop", "-t", "0", name)
    document = json.loads(ketchd.out("inspect", name))[0]
    assert document["State"]["Status"] == "exited"
    assert document["State"]["ExitCode"] == 137
    assert "Exited (137)" in ketchd.out("ps", "-a", "--filter", f"name={name}")
    ketchd.docker("start", name)
    ketchd.docker("rm", name, code=1)
    ketchd.docker("rm", "-f", name)
    ketchd.docker("inspect", name, code=1)


def test_name_conflict(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox")
    done = ketchd.docker("run", "--rm", "--name", name, "busybox", "true", code=125)
    assert b"is already in use by container" in done.stderr


def test_kill_pause_rename_wait(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c",
                  "trap 'exit 5' USR1; echo up; while :; do sleep 0.1; done")  # fmt: skip
    ketchd.docker("pause", name)
    assert "(Paused)" in ketchd.out("ps", "--filter", f"name={name}")
    ketchd.docker("unpause", name)
    ketchd.docker("rename", name, f"{name}-2")
    ketchd.docker("rename", f"{name}-2", name)
    wait_for(lambda: ketchd.out("logs", name) == "up", "the shell has set no trap")
    ketchd.docker("kill", "-s", "USR1", name)
    assert ketchd.out("wait", name) == "5"


def test_volumes_and_binds(ketchd: Ketchd, name: str) -> None:
    shared = ketchd.folder / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "in").write_text("from the host\n")
    volume = f"{name}-v"
    ketchd.docker("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", "echo kept > /v/f")
    text = ketchd.out(
        "run", "--rm", "-v", f"{volume}:/v:ro", "-v", f"{shared}:/h", "busybox",
        "sh", "-c", "cat /v/f /h/in; echo back > /h/out; touch /v/x 2>&1 | grep -c Read-only",
    )  # fmt: skip
    assert text == "kept\nfrom the host\n1"
    assert (shared / "out").read_text() == "back\n"
    assert volume in ketchd.out("volume", "ls", "-q").split()
    ketchd.docker("volume", "rm", volume)


def test_a_device_that_is_not_there(ketchd: Ketchd) -> None:
    """The client tells the exit code from the message, in Go's spelling of errno."""
    words = ("run", "--rm", "--device", "/dev/nosuch", "busybox", "true")
    done = ketchd.docker(*words, code=127)
    assert b'adding custom device "/dev/nosuch": no such file or directory' in done.stderr


def test_volume_of_a_bound_directory(ketchd: Ketchd, name: str) -> None:
    folder = ketchd.folder / f"{name}-bound"
    opts = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={folder}")
    ketchd.docker("volume", "create", *opts, name)
    try:
        run = ("run", "--rm", "-v", f"{name}:/v", "busybox", "sh", "-c", "echo kept > /v/f")
        done = ketchd.docker(*run, code=127)  # the client knows Go's "no such file or directory"
        assert b"failed to populate volume" in done.stderr
        folder.mkdir()
        ketchd.docker(*run)
        assert (folder / "f").read_text() == "kept\n"
        shown = ketchd.out("volume", "inspect", "-f", "{{.Options.device}}", name)
        assert shown == str(folder)
    finally:
        ketchd.docker("volume", "rm", name)
    assert (folder / "f").exists()  # what is bound is not the volume's to delete


def test_anonymous_volume_goes_with_rm(ketchd: Ketchd) -> None:
    before = ketchd.out("volume", "ls", "-q")
    ketchd.docker("run", "--rm", "-v", "/data", "busybox", "touch", "/data/x")
    assert ketchd.out("volume", "ls", "-q") == before


def test_read_only_tmpfs_and_mount_flag(ketchd: Ketchd) -> None:
    text = ketchd.out(
        "run", "--rm", "--read-only", "--tmpfs", "/t:size=1m", "--mount",
        "type=tmpfs,target=/u", "busybox", "sh", "-c",
        "touch /t/a /u/b && touch /x 2>&1 | grep -c Read-only; df /t | tail -1 | awk '{print $2}'",
    )  # fmt: skip
    assert text == "1\n1024"


def test_no_network_and_host_network(ketchd: Ketchd) -> None:
    none = ketchd.out("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")
    assert none == "lo"
    host = ketchd.out("run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net")
    assert ketchd.bridge in host.split() or "eth0" in host.split()


def test_restart_policy(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "--restart", "on-failure:2", "busybox", "false")

    def settled() -> bool:
        state = json.loads(ketchd.out("inspect", name))[0]
        return bool(state["RestartCount"] == 2 and state["State"]["Status"] == "exited")

    wait_for(settled, "the container was not restarted twice")


def test_unsupported_options_are_named(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "--storage-opt", "size=1G", "busybox", code=125)
    assert b"--storage-opt" in done.stderr
    done = ketchd.docker("run", "--rm", "--security-opt", "apparmor=x", "busybox", code=125)
    assert b"apparmor=x" in done.stderr


def test_cp(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox")
    source = ketchd.folder / "file"
    source.write_text("copied\n")
    ketchd.docker("cp", str(source), f"{name}:/tmp/file")
    ketchd.docker("cp", f"{name}:/tmp/file", str(ketchd.folder / "again"))
    assert (ketchd.folder / "again").read_text() == "copied\n"
    assert "A /tmp/file" in ketchd.out("diff", name)


def test_version_info_df_events(ketchd: Ketchd) -> None:
    version = json.loads(ketchd.out("version", "--format", "json"))
    assert version["Server"]["ApiVersion"] == "1.51"
    info = json.loads(ketchd.out("info", "--format", "json"))
    assert info["OSType"] == "linux"
    assert "ERROR" not in ketchd.out("info")
    assert "Images" in ketchd.out("system", "df")
    since = str(int(time.time()) - 3)
    ketchd.docker("run", "--rm", "busybox", "true")
    text = ketchd.out("events", "--since", since, "--until", str(int(time.time()) + 1))
    for action in ("create", "attach", "start", "die", "destroy"):
        assert f"container {action} " in text
