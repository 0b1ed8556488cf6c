"""eBPF programs for cgroup v2 device access (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE)."""

import ctypes
import os

from ketch.linux.libc import number, syscall

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_DEVICE = 15, 6
_ALLOW_MULTI = 2
_MOST = 64  # BPF_CGROUP_MAX_PROGS


class _ProgLoad(ctypes.Structure):
    """union bpf_attr as BPF_PROG_LOAD reads it."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_char_p),
        ("license", ctypes.c_char_p),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    )


class _ProgAttach(ctypes.Structure):
    """union bpf_attr as BPF_PROG_ATTACH reads it."""

    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("replace_bpf_fd", ctypes.c_uint32),
    )


class _ProgById(ctypes.Structure):
    """union bpf_attr as BPF_PROG_GET_FD_BY_ID reads it."""

    _fields_ = (
        ("prog_id", ctypes.c_uint32),
        ("next_id", ctypes.c_uint32),
        ("open_flags", ctypes.c_uint32),
    )


class _ProgQuery(ctypes.Structure):
    """union bpf_attr as BPF_PROG_QUERY reads and fills it."""

    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("prog_ids", ctypes.c_uint64),
        ("prog_cnt", ctypes.c_uint32),
    )


def load_device_program(instructions: bytes) -> int:
    """An fd of the verified program; needs CAP_SYS_ADMIN (or CAP_BPF). EINVAL: it is malformed."""
    attributes = _ProgLoad(
        prog_type=_TYPE_CGROUP_DEVICE,
        insn_cnt=len(instructions) // 8,
        insns=instructions,
        license=b"Apache-2.0",
    )
    return _call(_PROG_LOAD, attributes)


def attach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Attach to a cgroup v2 directory instead of what it has; all programs of its ancestors must
    agree too."""
    before = _device_programs(cgroup_fd)
    _call(_PROG_ATTACH, _ProgAttach(cgroup_fd, program_fd, _ATTACH_DEVICE, _ALLOW_MULTI, 0))
    for program_id in before:  # until then both had to agree: never is more allowed than asked
        old = _call(_PROG_GET_FD_BY_ID, _ProgById(program_id))
        try:
            _call(_PROG_DETACH, _ProgAttach(cgroup_fd, old, _ATTACH_DEVICE, 0, 0))
        finally:
            os.close(old)


def _device_programs(cgroup_fd: int) -> "list[int]":
    """IDs of what is attached to this very cgroup."""
    ids = (ctypes.c_uint32 * _MOST)()
    query = _ProgQuery(cgroup_fd, _ATTACH_DEVICE, 0, 0, ctypes.addressof(ids), _MOST)
    _call(_PROG_QUERY, query)
    return list(ids[: query.prog_cnt])


def _call(command: int, attributes: ctypes.Structure) -> int:
    return syscall(number("bpf"), command, ctypes.byref(attributes), ctypes.sizeof(attributes))
