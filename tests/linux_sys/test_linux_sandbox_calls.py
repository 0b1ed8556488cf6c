"""The wrappers that sandboxes are made of, on the running kernel."""

from __future__ import annotations

import _socket
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.linux import capabilities, fdpass, namespaces, paths, process, seccomp
from ketch.linux.script import Script


@given(st.binary(max_size=70_000), st.integers(min_value=0, max_value=3))
def test_frames_carry_bytes_and_fds(payload: bytes, count: int) -> None:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    fdpass.send_frame(ours, payload, fds)
    received = fdpass.receive_frame(theirs)
    assert received is not None
    assert received[0] == payload
    assert len(received[1]) == count
    assert not any(os.get_inheritable(fd) for fd in received[1])
    ours.close()
    assert fdpass.receive_frame(theirs) is None
    theirs.close()
    fdpass.close_all([*fds, *received[1]])


def test_more_fds_than_one_message_takes() -> None:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
    fdpass.send_frame(ours, b"many", fds)
    received = fdpass.receive_frame(theirs)
    assert received is not None
    assert len(received[1]) == 300
    fdpass.close_all([*fds, *received[1]])
    ours.close()
    theirs.close()


def _root(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def test_directories_are_made_inside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "up").symlink_to("../../outside")
    (root / "abs").symlink_to(str(outside))
    fd = _root(root)
    os.close(paths.make_directories(fd, "/a/../../b/./c"))
    assert (root / "b/c").is_dir()
    with pytest.raises(OSError):  # noqa: PT011 - a dangling link: which errno depends on the kernel
        paths.make_directories(fd, "/abs/x")
    os.close(paths.make_file(fd, "/new/deep/file"))
    assert (root / "new/deep/file").is_file()
    assert list(outside.iterdir()) == []
    os.close(fd)


def test_magic_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "magic").symlink_to("/proc/self/fd/0")
    root = _root(Path("/"))
    with pytest.raises(OSError, match="symbolic links"):
        paths.open_in_root(root, "/proc/self/root/etc")
    os.close(root)


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_null_bytes(path: str) -> None:
    root = _root(Path("/"))
    with pytest.raises(ValueError, match="null"):
        paths.open_in_root(root, path)
    os.close(root)


def test_capability_names_match_the_kernel() -> None:
    assert capabilities.last() <= len(capabilities.NAMES) - 1
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    assert capabilities.names(0b101) == ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
    with pytest.raises(KeyError):
        capabilities.mask(["CAP_NONSENSE"])


def test_capability_sets_of_ourselves() -> None:
    with open("/proc/self/status") as file:
        status = dict(line.rstrip().split(":\t") for line in file if line.startswith("Cap"))
    effective, permitted, inheritable = capabilities.get()
    assert effective == int(status["CapEff"], 16)
    assert permitted == int(status["CapPrm"], 16)
    assert inheritable == int(status["CapInh"], 16)
    assert capabilities.bounding() == int(status["CapBnd"], 16)


@pytest.mark.parametrize("size", [0, 7, 8 * 4097])
def test_no_bpf_program(size: int) -> None:
    with pytest.raises(ValueError, match="no BPF program"):
        seccomp.load_filter(Script(), b"\0" * size)


@pytest.mark.root
def test_clone3_gives_new_namespaces_and_a_pidfd() -> None:
    read, write = os.pipe()
    flags = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWTIME | namespaces.CLONE_NEWUTS
    pid, pidfd = process.clone3(flags)
    if pid == 0:
        namespaces.sethostname("inside")
        os.write(write, f"{os.getpid()} {os.uname().nodename}".encode())
        signal.pause()
        os._exit(0)
    assert os.read(read, 100) == b"1 inside"
    assert not namespaces.same_namespace(pid, "time")
    assert namespaces.same_namespace(pid, "net")
    process.kill_and_reap(pid, pidfd)
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(pidfd, 0)
    process.kill_and_reap(pid, pidfd)  # no error when it is gone
    for fd in (read, write, pidfd):
        os.close(fd)
