"""Launching: programs, users, working directories, mounts, terminals."""

from __future__ import annotations

import os

import pytest
from sandbox_runner import Runner, join_run, within

from ketch.errors import StartFailed

pytestmark = pytest.mark.root


def test_program_output_and_status(runner: Runner) -> None:
    result = runner.sh("echo out; echo err >&2; exit 7")
    assert (result.status, result.out, result.err) == (7, "out\n", "err\n")


def test_stdin_reaches_the_program(runner: Runner) -> None:
    result = runner.run(runner.start(runner.spec(["cat"])), b"hello")
    assert result.out == "hello"


def test_is_process_one_in_its_own_session(runner: Runner) -> None:
    assert runner.sh("echo $$; cat /proc/1/comm; exit").out == "1\nsh\n"


def test_only_stdio_is_open(runner: Runner) -> None:
    result = runner.run(runner.start(runner.spec(["/bin/ls", "/proc/self/fd"])))
    assert result.out.split() == ["0", "1", "2", "3"]  # 3 is ls reading the directory


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nonexistent"], 127, 'exec: "nonexistent": executable file not found in $PATH'),
        (["/nope"], 127, 'exec: "/nope": stat /nope: no such file or directory'),
        (["/etc"], 126, 'exec: "/etc": is a directory: permission denied'),
        (["/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
        (["/bad-script"], 127, "exec /bad-script: no such file or directory"),
        (["/bad-format"], 126, "exec /bad-format: exec format error"),
        ([""], 127, 'exec: "": executable file not found in $PATH'),
        (["a\0b"], 127, 'exec: "a\0b": executable file not found in $PATH'),
    ],
)
def test_failures_have_dockers_words(
    runner: Runner, args: list[str], code: int, words: str
) -> None:
    script, binary = runner.tree / "bad-script", runner.tree / "bad-format"
    script.write_text("#!/no/such/interpreter\n")
    binary.write_bytes(b"\x7fELF not really")
    script.chmod(0o755)
    binary.chmod(0o755)
    with pytest.raises(StartFailed) as caught:
        runner.run(runner.start(runner.spec(args)))
    assert caught.value.message == words
    assert caught.value.exit_code == code


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0 0"),
        ("alice", "1000 1001 1001 29 50"),
        ("1000", "1000 1001 1001 29 50"),
        ("alice:staff", "1000 50 50"),
        ("1234", "1234 0 0"),
        ("1234:5678", "1234 5678 5678"),
        ("0:audio", "0 29 29"),
    ],
)
def test_users(runner: Runner, user: str, expected: str) -> None:
    result = runner.sh("echo $(id -u) $(id -g) $(id -G)", user=user)
    uid, gid, *groups = result.out.split()
    wanted_uid, wanted_gid, *wanted_groups = expected.split()
    assert (uid, gid, set(groups)) == (wanted_uid, wanted_gid, set(wanted_groups))


def test_groups_are_added(runner: Runner) -> None:
    result = runner.sh("id -G", user="1234", groups_add=["audio", "4444"])
    assert set(result.out.split()) == {"0", "29", "4444"}


def test_home_comes_from_passwd_unless_given(runner: Runner) -> None:
    assert runner.sh("echo $HOME", user="alice").out == "/home/alice\n"
    assert runner.sh("echo $HOME").out == "/root\n"
    assert runner.sh("echo $HOME", user="4321").out == "/\n"
    spec = runner.spec(["/bin/sh", "-c", "echo $HOME"], env=["HOME=/x"])
    assert runner.run(runner.start(spec)).out == "/x\n"


def test_unknown_user_and_group(runner: Runner) -> None:
    with pytest.raises(StartFailed, match="unable to find user bob: no matching entries in passwd"):
        runner.sh("true", user="bob")
    with pytest.raises(StartFailed, match="unable to find group nobody"):
        runner.sh("true", user="0:nobody")


def test_working_directory_is_made(runner: Runner) -> None:
    spec = runner.spec(["/bin/pwd"], cwd="/a/b/c")
    assert runner.run(runner.start(spec)).out == "/a/b/c\n"
    with pytest.raises(StartFailed, match="no such file"):
        runner.run(runner.start(spec, make_cwd=False))


def test_working_directory_that_is_a_file(runner: Runner) -> None:
    spec = runner.spec(["/bin/pwd"], cwd="/etc/passwd")
    with pytest.raises(StartFailed, match="not a directory"):
        runner.run(runner.start(spec))


def test_hostname_and_domain(runner: Runner) -> None:
    spec = runner.spec(["/bin/sh", "-c", "hostname; cat /proc/sys/kernel/domainname"])
    spec |= {"hostname": "box", "domainname": "example.org"}
    assert runner.run(runner.start(spec)).out == "box\nexample.org\n"


def test_binds_of_files_and_directories(runner: Runner) -> None:
    (runner.base / "d").mkdir()
    (runner.base / "d/f").write_text("content")
    script = "cat /m/f /deep/er/f; echo x >/m/f && echo wrote; echo y >/m/g && echo rw"
    spec = runner.spec(["/bin/sh", "-c", script])
    spec["mounts"] += [
        {"destination": "/m", "type": "bind", "source": str(runner.base / "d"),
         "options": ["rbind", "rprivate"]},
        {"destination": "/deep/er/f", "type": "bind", "source": str(runner.base / "d/f"),
         "options": ["bind", "ro"]},
        {"destination": "/m/f", "type": "bind", "source": str(runner.base / "d/f"),
         "options": ["bind", "ro"]},
    ]  # fmt: skip
    result = runner.run(runner.start(spec))
    assert result.out == "contentcontentrw\n"
    assert "Read-only" in result.err


def test_missing_bind_source(runner: Runner) -> None:
    spec = runner.spec(["true"])
    spec["mounts"].append(
        {"destination": "/m", "type": "bind", "source": "/no/such", "options": []}
    )
    with pytest.raises(StartFailed, match="cannot mount /no/such at /m: no such file"):
        runner.run(runner.start(spec))


def test_directory_onto_file(runner: Runner) -> None:
    spec = runner.spec(["true"])
    source = str(runner.base)
    spec["mounts"].append({"destination": "/etc/passwd", "type": "bind", "source": source})
    with pytest.raises(StartFailed, match="cannot be mounted onto a file"):
        runner.run(runner.start(spec))


def test_mount_targets_cannot_leave_the_root(runner: Runner) -> None:
    (runner.tree / "out").symlink_to("../../../../../../etc")
    (runner.tree / "abs").symlink_to("/etc")
    spec = runner.spec(["/bin/sh", "-c", "ls /etc/in1 /etc/in2"])
    for name in ("/out/in1", "/abs/in2"):
        spec["mounts"].append({"destination": name, "type": "tmpfs", "source": "t"})
    result = runner.run(runner.start(spec))
    assert result.status == 0, result.err
    assert not os.path.exists("/etc/in1")
    assert not os.path.exists("/etc/in2")


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_pseudo_filesystems_do_not_follow_links(runner: Runner, name: str) -> None:
    start = runner.start(runner.spec(["true"]))
    upper = runner.base / start["id"] / "upper"
    (upper / name).symlink_to("/etc")
    with pytest.raises(StartFailed, match="symbolic link"):
        runner.run(start)


def test_shm_size_and_tmpfs(runner: Runner) -> None:
    from ketch.runtime import defaults

    spec = runner.spec(["/bin/sh", "-c", "cat /proc/mounts"])
    spec["mounts"] = defaults.default_mounts(1 << 20)
    options = ["noexec", "size=2m", "mode=700"]
    spec["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "t", "options": options})
    lines = {line.split()[1]: line for line in runner.run(runner.start(spec)).out.splitlines()}
    assert "size=1024k" in lines["/dev/shm"]
    assert "size=2048k" in lines["/t"]
    assert "noexec" in lines["/t"]


def test_readonly_root(runner: Runner) -> None:
    spec = runner.spec(["/bin/sh", "-c", "touch /x || touch /dev/shm/x && echo shm"])
    spec["root"]["readonly"] = True
    result = runner.run(runner.start(spec))
    assert result.out == "shm\n"
    assert "Read-only" in result.err


def test_devices_are_made(runner: Runner) -> None:
    spec = runner.spec(["/bin/stat", "-c", "%t:%T %a %u:%g", "/dev/ketch0"])
    device = {"path": "/dev/ketch0", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640}
    spec["linux"]["devices"] = [device | {"uid": 3, "gid": 4}]
    assert runner.run(runner.start(spec)).out == "1:5 640 3:4\n"


def test_sysctls(runner: Runner) -> None:
    spec = runner.spec(["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"])
    assert runner.run(runner.start(spec)).out == "0\n"
    spec["linux"]["sysctl"]["kernel.no_such"] = "1"
    with pytest.raises(StartFailed, match=r"kernel\.no_such"):
        runner.run(runner.start(spec))


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/passwd", "net/../../x", "a\nb", "", "."])
def test_sysctl_names_stay_below_proc_sys(runner: Runner, name: str) -> None:
    spec = runner.spec(["true"])
    spec["linux"]["sysctl"] = {name: "1"}
    with pytest.raises(StartFailed, match="cannot set sysctl"):
        runner.run(runner.start(spec))


def test_limits_that_cannot_be_raised_are_clamped(runner: Runner) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": (1 << 64) - 1},
              {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]  # fmt: skip
    spec = runner.spec(["/bin/sh", "-c", "ulimit -c; ulimit -n"], rlimits=limits)
    core, files = runner.run(runner.start(spec)).out.split()
    assert core == "0"
    assert files.isdigit()


def test_terminal(runner: Runner) -> None:
    def look() -> tuple[str, int]:
        spec = runner.spec(["/bin/sh", "-c", "tty; stat -c %t:%T /dev/console; stty size"])
        start = runner.start(spec, terminal=True, console=[33, 111])
        box, root_fd = runner.box(start)
        try:
            started = box.launch(start, root_fd, (-1, -1, -1))
            text = b""
            while True:
                try:
                    chunk = os.read(started.master_fd, 1024)
                except OSError:
                    break
                text += chunk
            return text.decode(), os.waitstatus_to_exitcode(os.waitpid(box.pid, 0)[1])
        finally:
            box.destroy()

    text, status = within(look)
    assert text.replace("\r", "").splitlines() == ["/dev/pts/0", "88:0", "33 111"]
    assert status == 0


def test_planted_console_link_is_refused(runner: Runner) -> None:
    dev = runner.base / "dev"
    dev.mkdir()
    (dev / "console").symlink_to("/etc/passwd")
    (dev / "pts").mkdir()
    spec = runner.spec(["true"])
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/dev"]
    spec["mounts"].insert(0, {"destination": "/dev", "type": "bind", "source": str(dev)})

    def launch() -> None:
        start = runner.start(spec, terminal=True)
        box, root_fd = runner.box(start)
        try:
            box.launch(start, root_fd, (-1, -1, -1))
        finally:
            box.destroy()

    with pytest.raises(StartFailed, match=r"(symbolic link|is a fake|no such file)"):
        within(launch)


def test_exec_equals_run(runner: Runner) -> None:
    script = (
        "cat /proc/self/status /proc/self/cgroup /proc/self/limits;"
        " for n in /proc/self/ns/*; do readlink $n; done"
    )
    start = runner.start(runner.spec(["/bin/sh", "-c", f"{script}; sleep 600"]))
    spec = runner.spec(["/bin/sh", "-c", script])
    wanted = ("Cap", "Seccomp", "NoNewPrivs", "Groups", "Uid", "Gid", "pid:", "net:", "mnt:",
              "ipc:", "uts:", "cgroup:", "time:", "user:", "Max")  # fmt: skip

    def compare(box: object, started: object) -> tuple[str, str]:
        job = {"process": spec["process"], "user": "", "terminal": False}
        other = join_run(box, job)
        with open(f"/proc/{box.pid}/status") as file:  # type: ignore[attr-defined]
            status = file.read()
        with open(f"/proc/{box.pid}/limits") as file:  # type: ignore[attr-defined]
            status += file.read()
        base = f"/proc/{box.pid}/ns"  # type: ignore[attr-defined]
        kinds = ("pid", "net", "mnt", "ipc", "uts", "cgroup", "time", "user")
        links = [os.readlink(f"{base}/{kind}") for kind in kinds]
        return status + "\n".join(links), other.out

    def pick(text: str) -> set[str]:
        return {line for line in text.splitlines() if line.startswith(wanted)}

    ours, theirs = within(lambda: runner.run_here(start, during=compare))
    assert pick(ours) - pick(theirs) == set()


def test_exec_failure_words(runner: Runner) -> None:
    start = runner.start(runner.spec(["/bin/sleep", "600"]))

    def run(box: object, started: object) -> None:
        join_run(box, {"process": runner.spec(["nothing"])["process"], "user": ""})

    with pytest.raises(StartFailed, match="executable file not found") as caught:
        within(lambda: runner.run_here(start, during=run))
    assert caught.value.exit_code == 127


def test_failed_launch_leaves_no_cgroup(runner: Runner, cgroup_parent: str) -> None:
    start = runner.start(runner.spec(["nothing"]))
    with pytest.raises(StartFailed):
        runner.run(start)
    assert not os.path.exists(f"/sys/fs/cgroup/memory{cgroup_parent}/{start['id']}")
