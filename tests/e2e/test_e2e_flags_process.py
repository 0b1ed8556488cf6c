"""What ``docker run`` says about the process: user, directory, capabilities, init, security."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, run, wait_for

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("words", "identity"),
    [
        ((), "uid=0(root) gid=0(root) groups=0(root)"),
        (("-u", "guest"), "uid=1000(guest) gid=1000(guest) groups=1000(guest)"),
        (("-u", "1000"), "uid=1000(guest) gid=1000(guest) groups=1000(guest)"),
        (("-u", "1234"), "uid=1234 gid=0(root) groups=0(root)"),
        (("-u", "1234:5678"), "uid=1234 gid=5678 groups=5678"),
        (("-u", "root:guest"), "uid=0(root) gid=1000(guest) groups=1000(guest)"),
        (("-u", "guest", "--group-add", "44", "--group-add", "root"),
         "uid=1000(guest) gid=1000(guest) groups=0(root),44,1000(guest)"),
    ],
)  # fmt: skip
def test_users(ketchd: Ketchd, words: tuple[str, ...], identity: str) -> None:
    assert run(ketchd, *words, "busybox", "id") == identity


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-u", "nobody"), "unable to find user nobody: no matching entries in passwd file"),
        (("-u", "0:nogroup"), "unable to find group nogroup: no matching entries in group file"),
        (("--group-add", "nogroup"), "unable to find group nogroup"),
        (("-u", "2147483648"), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown_users(ketchd: Ketchd, words: tuple[str, ...], text: str) -> None:
    assert text in run(ketchd, *words, "busybox", "id", code=125)


def test_directory_environment_and_entrypoint(ketchd: Ketchd, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=1\n# comment\nBOTH=file\n")
    words = (
        "-w", "/new/deep", "-e", "A=b c", "-e", "BOTH=flag", "-e", "EMPTY=", "--env-file",
        str(file), "--entrypoint", "sh",
    )  # fmt: skip
    out = run(ketchd, *words, "busybox", "-c", "pwd; env").splitlines()
    assert out[0] == "/new/deep"
    assert {"A=b c", "BOTH=flag", "EMPTY=", "FROM_FILE=1", "HOME=/root"} <= set(out)
    assert run(ketchd, "--entrypoint", "", "busybox", "echo", "plain") == "plain"


def test_id_file_annotations_and_the_like(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    """Options that a client only wants to see again."""
    path = tmp_path / "id"
    words = (
        "--name", name, "--cidfile", str(path), "--annotation", "a=b", "--label", "k=v",
        "--isolation", "default", "--stop-signal", "USR1", "--stop-timeout", "3", "--pull", "never",
        "--platform", "linux/amd64", "--runtime", "", "--volume-driver", "local", "--expose",
        "81-82",
    )  # fmt: skip
    identity = ketchd.out("create", *words, "busybox")
    assert path.read_text() == identity
    found = json.loads(ketchd.out("inspect", name))[0]
    host, config = found["HostConfig"], found["Config"]
    assert host["ContainerIDFile"] == str(path)
    assert host["Annotations"] == {"a": "b"}
    assert (host["Isolation"], host["VolumeDriver"]) == ("default", "local")
    assert (config["StopSignal"], config["StopTimeout"]) == ("USR1", 3)
    assert config["Labels"] == {"k": "v"}
    assert set(config["ExposedPorts"]) == {"81/tcp", "82/tcp"}


def test_a_foreign_platform(ketchd: Ketchd) -> None:
    words = ("--pull", "never", "--platform", "linux/s390x", "busybox", "true")
    text = "was found but does not provide the specified platform (linux/s390x)"
    assert text in run(ketchd, *words, code=125)


def capabilities(ketchd: Ketchd, *words: str) -> int:
    out = run(ketchd, *words, "busybox", "grep", "CapEff", "/proc/self/status")
    return int(out.split()[1], 16)


DEFAULT = 0xA80425FB
BOUND = int(re.search(r"CapBnd:\s+(\w+)", Path("/proc/self/status").read_text())[1], 16)  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), DEFAULT),
        (("--cap-add", "sys_time", "--cap-add", "CAP_NET_ADMIN"), DEFAULT | 1 << 25 | 1 << 12),
        (("--cap-drop", "Chown"), DEFAULT & ~1),
        (("--cap-drop", "all"), 0),
        (("--cap-drop", "ALL", "--cap-add", "KILL"), 1 << 5),
        (("--cap-add", "ALL"), BOUND),
        (("--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"), BOUND & ~(1 << 21)),
        (("--privileged",), BOUND),
        (("-u", "guest"), 0),
    ],
)
def test_capabilities(ketchd: Ketchd, words: tuple[str, ...], expected: int) -> None:
    assert capabilities(ketchd, *words) == expected


def test_unknown_capabilities(ketchd: Ketchd) -> None:
    out = run(ketchd, "--cap-add", "BOGUS", "busybox", "true", code=125)
    assert 'invalid CapAdd: unknown capability: "CAP_BOGUS"' in out


def test_privileged(ketchd: Ketchd) -> None:
    script = (
        "grep Seccomp: /proc/self/status; ls -d /dev/loop0 /dev/kmsg; "
        "head -c0 /dev/loop0 && echo ok; "
        "grep -E ' /(sys|proc/sys|sys/fs/cgroup/memory) ' /proc/mounts | grep -c ro,; "
        "mount -t tmpfs x /mnt 2>&1 || mkdir /mnt && mount -t tmpfs x /mnt && echo mounted"
    )
    out = run(ketchd, "--privileged", "busybox", "sh", "-c", script).split()
    assert out[:2] == ["Seccomp:", "0"]
    assert {"/dev/loop0", "/dev/kmsg", "ok", "mounted"} <= set(out)
    assert "0" in out[2:]


def test_security_options(ketchd: Ketchd, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    status = ("busybox", "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status")
    assert run(ketchd, *status).split() == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    out = run(ketchd, "--security-opt", "seccomp=unconfined", *status)
    assert out.split()[-1] == "0"
    out = run(ketchd, "--security-opt", "seccomp=builtin", *status)
    assert out.split()[-1] == "2"
    for words in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
        assert run(ketchd, "--security-opt", words, *status).split()[1] == "1"
    assert run(ketchd, "--security-opt", "no-new-privileges=false", *status).split()[1] == "0"
    option = f"seccomp={profile}"
    out = run(ketchd, "--security-opt", option, "busybox", "mkdir", "/x", code=1)
    assert "No space left on device" in out
    run(ketchd, "--security-opt", "label=disable", "--security-opt", "apparmor=unconfined",
        "busybox", "true")  # fmt: skip


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("apparmor=docker-default", "AppArmor"),
        ("label=type:x", "SELinux"),
        ("bogus=1", "invalid --security-opt"),
        ("no-new-privileges=maybe", "it is true or false"),
    ],
)
def test_security_options_that_are_not_there(ketchd: Ketchd, option: str, text: str) -> None:
    assert text in run(ketchd, "--security-opt", option, "busybox", "true", code=125)


def test_paths_of_the_system(ketchd: Ketchd) -> None:
    script = (
        "grep -cE ' /proc/(kcore|keys|sys) ' /proc/mounts; echo x > /proc/sys/kernel/domainname"
    )
    assert run(ketchd, "busybox", "sh", "-c", script, code=1).startswith(("2", "3"))
    option = ("--security-opt", "systempaths=unconfined")
    assert run(ketchd, *option, "busybox", "sh", "-c", script).startswith("0")


def test_options_that_cannot_be_honoured(ketchd: Ketchd) -> None:
    out = run(ketchd, "--storage-opt", "size=1g", "busybox", "true", code=125)
    assert "--storage-opt is supported only for overlay over xfs with 'pquota' mount option" in out
    out = run(ketchd, "--isolation", "hyperv", "busybox", "true", code=125)
    assert "invalid isolation" in out
    out = run(ketchd, "--userns", "bogus", "busybox", "true", code=125)
    assert "invalid user" in out.lower()


def children(ketchd: Ketchd, name: str) -> list[str]:
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_init_forwards_signals_and_reaps(ketchd: Ketchd, name: str) -> None:
    script = (
        'trap "echo got; exit 5" TERM; (sleep 0 & exec true); echo up; while :; do sleep 0.1; done'
    )
    ketchd.docker("run", "-d", "--init", "--name", name, "busybox", "sh", "-c", script)
    wait_for(lambda: "up" in ketchd.out("logs", name), "it did not start")
    wait_for(lambda: len(children(ketchd, name)) == 1, "a zombie is left")
    assert "/sbin/docker-init -- sh" in ketchd.out("exec", name, "ps").splitlines()[1]
    ketchd.docker("stop", name)
    assert ketchd.out("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}}", name) == "5 true"
    assert ketchd.out("logs", name).splitlines()[-1] == "got"


def test_init_costs_little_and_ends_as_its_program(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--init", "--name", name, "busybox", "sleep", "600")
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    assert int(re.search(r"Pss: +(\d+)", rollup)[1]) <= 64  # type: ignore[index]  # kB
    ketchd.docker("kill", "-s", "KILL", name)
    assert ketchd.out("wait", name) == "137"
    assert run(ketchd, "--init", "busybox", "sh", "-c", "exit 7", code=7) == ""
    run(ketchd, "--init", "busybox", "sh", "-c", "kill -9 $$", code=137)
    assert "executable file not found" in run(ketchd, "--init", "busybox", "nope", code=127)
    out = run(
        ketchd, "--init", "--pid", "host", "-u", "guest", "--cap-drop", "all", "busybox", "id"
    )
    assert out.startswith("uid=1000(guest)")
    ketchd.docker("rm", name)
    words = ("run", "--rm", "-it", "--init", "--name", name, "busybox", "sh")
    with ketchd.terminal(*words) as session:
        session.expect("#")
        session.send(b"tty; echo $$\n")
        session.expect("/dev/pts/0\r\n2\r\n")
        session.send(b"sleep 600\n")
        wait_for(lambda: "sleep 600" in ketchd.out("top", name), "no job")
        session.send(b"\x03")  # job control works: the program has the terminal
        session.send(b"exit 3\n")
        assert session.wait() in (3, 130)


def test_stop_signal_and_timeout(ketchd: Ketchd, name: str) -> None:
    script = 'trap "exit 9" USR1; echo up; while :; do sleep 0.1; done'
    words = ("-d", "--name", name, "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    ketchd.docker("run", *words)
    wait_for(lambda: "up" in ketchd.out("logs", name), "it did not start")
    ketchd.docker("stop", name)
    assert ketchd.out("inspect", "-f", "{{.State.ExitCode}}", name) == "9"
    ketchd.docker("rm", name)
    ketchd.docker("run", "-d", "--name", name, "--stop-timeout", "0", "busybox", "sleep", "600")
    ketchd.docker("stop", name)
    assert ketchd.out("inspect", "-f", "{{.State.ExitCode}}", name) == "137"
