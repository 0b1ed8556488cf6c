"""Programs of another machine, really run: by an interpreter that binfmt_misc knows.

The registrations are those of user namespaces (Linux 6.7), so that the machine's own stays as it
is; the container is made by the runtime that the engine and its builder use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from binfmt_holder import MAGIC, MASK
from oci_machine import Machine

from arm64_program import arm64_program

pytestmark = pytest.mark.root
QEMU = "/usr/bin/qemu-aarch64-static"
HOLDER = Path(__file__).with_name("binfmt_holder.py")


@contextmanager
def registered(flags: str) -> Iterator[tuple[int, dict[str, str]]]:
    """A process whose user namespace knows the interpreter; what it says before and after."""
    if not os.access(QEMU, os.X_OK):
        pytest.skip("needs qemu-user-static")
    process = subprocess.Popen(
        [sys.executable, str(HOLDER), QEMU, flags],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "mapped?\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 0 4294967295")
        process.stdin.write("\n")
        process.stdin.flush()
        said: dict[str, str] = {}
        while (line := process.stdout.readline()) != "ready\n":
            if line.startswith("no:"):
                pytest.skip(f"no binfmt_misc in user namespaces (Linux 6.7): {line}")
            assert line, "the holder ended"
            key, _, value = line.rstrip("\n").partition(": ")
            said[key.rstrip(":")] = value
        yield process.pid, said
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def test_what_is_registered_is_seen() -> None:
    """By what the engine asks before a RUN and after a start that failed."""
    with registered("OCF") as (_, said):
        assert "no interpreter for linux/arm64 is registered" in said["before"]
        assert said["after"] == ""
    with registered("OC") as (_, said):
        assert "with the flag F" in said["after"]


SCRIPT = f"""set -e
mount -t binfmt_misc b /b 2>/b.failed || exit 99
echo ':x:M::{MAGIC}:{MASK}:/qemu:FLAGS' >/b/register
mv /qemu /hidden
/bin/foreign || echo " ended with $?"
"""


@pytest.mark.parametrize(
    ("flags", "said"), [("OCF", "aarch64 ended with 7\n"), ("OC", " ended with 127\n")]
)
def test_a_program_for_arm64(oci: Machine, flags: str, said: str) -> None:
    """In the runtime's sandbox, in a user namespace of its own. With the flag F the interpreter
    need not be where the container could find it."""
    if not os.access(QEMU, os.X_OK):
        pytest.skip("needs qemu-user-static")
    for folder in (oci.bundle.parent, *list(oci.bundle.parents)[1:3]):
        folder.chmod(0o755)
    root = oci.bundle / "rootfs"
    (root / "b").mkdir()
    shutil.copy(QEMU, root / "qemu")
    (root / "bin/foreign").write_bytes(arm64_program())
    (root / "bin/foreign").chmod(0o755)
    (root / "bin/mv").symlink_to("busybox")
    oci.spec["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    oci.spec["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    for kind in ("bounding", "effective", "permitted"):
        oci.spec["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
    for path in [root, *root.rglob("*")]:
        os.chown(path, 100000, 100000, follow_symlinks=False)
    done = oci.call("run", *oci.write("a", "sh", "-c", SCRIPT.replace("FLAGS", flags)), "a")
    if done.returncode == 99:
        pytest.skip("no binfmt_misc in user namespaces (Linux 6.7)")
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_user_namespace_of_others_is_refused(oci: Machine) -> None:
    """The other namespaces would belong to ours, and nothing could be mounted in them."""
    oci.spec["linux"]["namespaces"].append({"type": "user", "path": "/proc/self/ns/user"})
    assert oci.call("run", *oci.write("a", "true"), "a").returncode
    assert "a sandbox cannot join a user namespace" in oci.last_error()
