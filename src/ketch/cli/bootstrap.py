"""``ketch image bootstrap``: base images without a registry.

``debian:SUITE`` (also ``ubuntu:SUITE``) is made by mmdebstrap from the machine's package mirror;
``busybox`` from the static busybox binary of Debian's package. For people behind a firewall this is
the way to a first image; ``ketch import`` takes any other root file system.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile

from ketch.cli.archive import import_stream
from ketch.cli.flags import Flag, UsageError, parse
from ketch.client.connection import LocalFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    Flag("include", "", "list", "Packages to add, separated by commas"),
    Flag("mirror", help="Package mirror (default: the one of this machine)", default=""),
    Flag("variant", help="mmdebstrap variant: apt, essential, minbase", default="apt"),
    Flag("tag", "t", "text", "Name of the image (default: the argument)", ""),
)
HELP = {"bootstrap": ("[OPTIONS] debian:SUITE | ubuntu:SUITE | busybox", FLAGS)}
CHUNK = 1 << 20
BUSYBOX_PLACES = ("/bin/busybox", "/usr/bin/busybox")
FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


def bootstrap(client: "Client", argv: "list[str]") -> int:
    """Make a base image; prints its ID."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch image bootstrap' requires 1 argument, such as debian:bookworm")
    source = parsed.words[0]
    name = parsed["tag"] or source
    family, _, suite = source.partition(":")
    if family == "busybox":
        changes = ['CMD ["sh"]']
        import_stream(client, iter([busybox_tar()]), name, changes=changes)
    elif family in ("debian", "ubuntu"):
        changes = ['CMD ["bash"]']
        pieces = _debootstrap(family, suite or "stable", parsed)
        import_stream(client, pieces, name, changes=changes)
    else:
        raise UsageError(
            f"cannot bootstrap {source!r}: use debian:SUITE, ubuntu:SUITE or busybox,"
            " or import a root file system with 'ketch import'"
        )
    return 0


def _debootstrap(family: str, suite: str, parsed: "Parsed") -> "Iterator[bytes]":
    """The tar stream of mmdebstrap; raises ``LocalFault`` with its last words when it fails."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise LocalFault("mmdebstrap is not installed: run 'apt-get install mmdebstrap'")
    command = [program, f"--variant={parsed['variant']}", "--format=tar"]
    packages = ",".join(parsed["include"])
    if packages:
        command.append(f"--include={packages}")
    command += [*_shrinking(), suite, "-"]
    if parsed["mirror"]:
        command.append(parsed["mirror"])
    elif family != _machine_family():
        raise UsageError(f"this machine's mirror is not {family}'s: name one with --mirror")
    return _output_of(command)


def _shrinking() -> "list[str]":
    """What a container does not need: documentation and package lists."""
    return [
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--aptopt=Apt::Install-Recommends false",
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin',
    ]


def _machine_family() -> str:
    with open("/etc/os-release") as file:
        for line in file:
            if line.startswith("ID="):
                return line[3:].strip().strip('"')
    return "unknown"


def _output_of(command: "list[str]") -> "Iterator[bytes]":
    """stdout of a program, piece by piece; its messages are kept for the error."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[bytes] = []
    import threading

    def listen(stream: "io.BufferedReader") -> None:
        for line in stream:
            words.append(line)

    listener = threading.Thread(target=listen, args=(process.stderr,), daemon=True)
    listener.start()
    try:
        while piece := process.stdout.read(CHUNK):
            yield piece
        listener.join()
        if process.wait() != 0:
            tail = b"".join(words[-8:]).decode("utf-8", "replace")
            raise LocalFault(f"mmdebstrap failed with exit code {process.returncode}:\n{tail}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    sys.stdout.flush()


def busybox_tar() -> bytes:
    """A root file system of one static busybox and links to it for all its applets."""
    program = next((place for place in BUSYBOX_PLACES if os.path.exists(place)), None)
    if program is None:
        raise LocalFault("busybox is not installed: run 'apt-get install busybox-static'")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in FOLDERS:
            _folder(tar, folder, 0o1777 if folder == "tmp" else 0o755)
        with open(program, "rb") as file:
            _file(tar, "bin/busybox", file.read(), 0o755)
        for applet in sorted(set(listed.stdout.split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "busybox", 0o777
            tar.addfile(link)
        _file(tar, "etc/passwd", PASSWD.encode(), 0o644)
        _file(tar, "etc/group", GROUP.encode(), 0o644)
    return out.getvalue()


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
