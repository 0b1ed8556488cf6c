"""A process with a user namespace of its own, whose binfmt_misc (of its own too since Linux 6.7)
knows an interpreter for arm64. Nothing of it is seen outside.

Says ``mapped?`` and reads a line, which its parent writes when it has given the namespace its
users; then ``lacking before``, ``lacking after`` the registration, and ``ready``; ends with its
standard input.
"""

from __future__ import annotations

import os
import sys

from ketch.engine.emulation import REGISTERED, lacking
from ketch.linux import mountapi, namespaces
from ketch.oci import platform

MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def main(interpreter: str, flags: str) -> None:
    namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
    print("mapped?", flush=True)
    sys.stdin.readline()
    try:
        mountapi.mount("binfmt_misc", REGISTERED, "binfmt_misc")
    except OSError as error:
        print(f"no: {error}", flush=True)
        return
    arm64 = platform.parse("linux/arm64")
    print(f"before: {lacking(arm64)}", flush=True)
    with open(f"{REGISTERED}/register", "wb", buffering=0) as file:
        file.write(f":ketch-test:M::{MAGIC}:{MASK}:{interpreter}:{flags}".encode())
    print(f"after: {lacking(arm64)}", flush=True)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    os.umask(0o022)
    main(sys.argv[1], sys.argv[2])
