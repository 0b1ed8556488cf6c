"""A classic BPF machine over struct seccomp_data, as the kernel runs filters (little-endian)."""

import struct

from ketch.runtime.seccomp.numbers import native_abis, number_of

ABIS = {
    "x86_64": native_abis(("SCMP_ARCH_X86_64",))[0],
    "i386": native_abis(("SCMP_ARCH_X86",))[0],
    "x32": native_abis(("SCMP_ARCH_X32",))[0],
}
_TESTS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
}


def run(program: bytes, audit: int, number: int, arguments=()) -> int:
    """The value that the filter returns."""
    padded = [*arguments, *[0] * 6][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x06:
            return value
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x05:
            at += value
        else:
            at += true if _TESTS[operation](accumulator, value) else false


def call(program: bytes, abi: str, name: str, *arguments: int) -> int:
    """The answer for a call of an ABI by its name."""
    number = number_of(ABIS[abi], name)
    assert number is not None, f"{abi} has no {name}"
    return run(program, ABIS[abi].audit, number, arguments)
