"""eBPF programs for cgroup v2 device access (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE)."""

import ctypes

from ketch.linux.libc import number, syscall

_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_DEVICE = 15, 6
_ALLOW_MULTI = 2


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


def load_device_program(instructions: bytes) -> int:
    """An fd of the verified program; needs CAP_SYS_ADMIN (or CAP_BPF). EINVAL: it is malformed."""
    attributes = _ProgLoad(
        prog_type=_TYPE_CGROUP_DEVICE,
        insn_cnt=len(instructions) // 8,
        insns=instructions,
        license=b"Apache-2.0",
    )
    size = ctypes.sizeof(attributes)
    return syscall(number("bpf"), _PROG_LOAD, ctypes.byref(attributes), size)


def attach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Attach to a cgroup v2 directory; all programs of its ancestors must agree too."""
    attributes = _ProgAttach(cgroup_fd, program_fd, _ATTACH_DEVICE, _ALLOW_MULTI, 0)
    size = ctypes.sizeof(attributes)
    syscall(number("bpf"), _PROG_ATTACH, ctypes.byref(attributes), size)
