"""Build the init of ``--init`` (packaging/init/init.c) into src/ketch/runtime/init_program.py.

Run by who changes the C source, with gcc and (for arm64) gcc-aarch64-linux-gnu installed; users
need neither. A test compares the digest of the source that is written beside the programs.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SOURCE = TOP / "packaging/init/init.c"
TARGET = TOP / "src/ketch/runtime/init_program.py"
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
FLAGS = str.split(
    "-Os -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -fno-ident "
    "-fno-asynchronous-unwind-tables -Wall -Wextra -Werror -s "
    "-Wl,-n,--build-id=none,-z,noseparate-code,-z,norelro"
)
MARK = "# Everything below is written by scripts/build_init.py.\n"


def build(compiler: str) -> bytes:
    """The ELF file."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([compiler, *FLAGS, "-o", out.name, str(SOURCE)], check=True)
        return Path(out.name).read_bytes()


def literal(program: bytes) -> str:
    """The bytes as hexadecimal lines of Python."""
    text = program.hex()
    lines = [text[start : start + 88] for start in range(0, len(text), 88)]
    return "".join(f'        "{line}"\n' for line in lines)


def main() -> None:
    """Write the generated half of the module anew."""
    head = TARGET.read_text().split(MARK)[0]
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    body = f'SOURCE_DIGEST = "{digest}"\n_PROGRAMS = {{\n'
    for machine, compiler in COMPILERS.items():
        body += f'    "{machine}": bytes.fromhex(\n{literal(build(compiler))}    ),\n'
    TARGET.write_text(head + MARK + body + "}\n")


if __name__ == "__main__":
    main()
