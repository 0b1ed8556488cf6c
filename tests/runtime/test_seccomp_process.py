"""Compiled filters in files, and in a real process."""

import ctypes
import errno
import os
import socket

import pytest

from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec.seccomp_filters import SeccompFilters
from ketch.errors import InvalidParameter, Unsupported
from ketch.linux import process, seccomp
from ketch.linux.libc import libc
from ketch.linux.script import Script
from ketch.runtime.defaults import CAPABILITIES
from ketch.runtime.seccomp.compiler import compile_profile
from ketch.runtime.seccomp.profile import default_profile

DEFAULT = default_profile(frozenset(CAPABILITIES))
IO_URING_SETUP, CLONE3, NEXT_YEAR = 425, 435, 1000  # the same on every machine
CUSTOM = '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mkdir","action":"SCMP_ACT_KILL"}]}'


def spec(*options: str, **more) -> ContainerSpec:
    return ContainerSpec(image="image", security_options=options, **more)


def errno_of(number: int, *arguments: int) -> int:
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    return ctypes.get_errno()


def inside(program: bytes) -> list[int]:
    """What a child meets under the filter, as error numbers."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            process.set_no_new_privileges()
            script = Script()
            seccomp.load_filter(script, program)
            script.run()
            found = [errno_of(IO_URING_SETUP, 1, 0), errno_of(CLONE3, 0, 0), errno_of(NEXT_YEAR)]
            found += [_socket(family) for family in (socket.AF_ALG, 40, socket.AF_UNIX)]
            os.write(writer, bytes(found))
        finally:
            os._exit(0)
    os.close(writer)
    found = list(os.read(reader, 64))
    os.close(reader)
    os.waitpid(pid, 0)
    return found


def _socket(family: int) -> int:
    try:
        socket.socket(family, socket.SOCK_SEQPACKET).close()
    except OSError as error:
        return error.errno or 255
    return 0


def test_a_real_process_meets_the_filter(tmp_path):
    path = compile_profile(DEFAULT, str(tmp_path / "seccomp"))
    with open(path, "rb") as file:
        found = inside(file.read())
    refused = errno.EPERM
    assert found == [refused, errno.ENOSYS, errno.ENOSYS, refused, refused, 0]


def test_the_cache_is_private_whole_and_used_again(tmp_path):
    folder = tmp_path / "seccomp"
    path = compile_profile(DEFAULT, str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    before = os.stat(path)
    assert before.st_mode & 0o777 == 0o600
    assert compile_profile(DEFAULT, str(folder)) == path
    assert os.stat(path).st_ino == before.st_ino
    assert os.listdir(folder) == [os.path.basename(path)]


def test_a_file_cut_short_is_made_again(tmp_path):
    filters = SeccompFilters(str(tmp_path / "seccomp"))
    path = filters.of(spec())
    size = os.stat(path).st_size
    os.truncate(path, 0)
    assert filters.of(spec()) == path
    assert os.stat(path).st_size == size
    os.unlink(path)
    assert filters.of(spec()) == path
    assert os.path.exists(path)


def test_which_filter_a_container_gets(tmp_path):
    filters = SeccompFilters(str(tmp_path / "seccomp"))
    default = filters.of(spec())
    assert default
    assert filters.of(spec("seccomp=builtin", "no-new-privileges")) == default
    assert filters.of(spec(cap_add=("sys_admin",))) not in ("", default)
    assert filters.of(spec(cap_drop=("chown",), cap_add=("chown",))) == filters.of(
        spec(cap_drop=("CHOWN",))
    )
    assert filters.of(spec("seccomp=unconfined")) == filters.of(spec("seccomp:unconfined")) == ""
    assert filters.of(spec(privileged=True)) == ""
    custom = filters.of(spec("seccomp=" + CUSTOM))
    assert custom not in ("", default)
    assert filters.of(spec("seccomp=" + CUSTOM, privileged=True))
    assert filters.of(spec("seccomp=unconfined", "seccomp=" + CUSTOM)) == custom


def test_wishes_that_cannot_be_met(tmp_path):
    filters = SeccompFilters(str(tmp_path / "seccomp"))
    with pytest.raises(InvalidParameter, match="not JSON"):
        filters.of(spec("seccomp=/etc/profile.json"))
    with pytest.raises(Unsupported, match="SECCOMP_FILTER_FLAG_LOG"):
        filters.of(
            spec('seccomp={"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}')
        )
