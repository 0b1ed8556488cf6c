"""Write the programs ``ketch``, ``ketchd`` and ``ketch-runtime`` into a virtual environment's bin.

The console scripts that pip writes cost a full interpreter start. These begin with ``-I -S`` where
no site-packages are needed (``ketch``, ``ketch-runtime``), and byte code is compiled beforehand,
without docstrings, so that ``ketch`` starts in about the time of a bare interpreter. That of the
command line is put into one archive besides (``ketch.cli.code_archive``), and its program is short,
since it is compiled at each start. The shebang line is limited to 255 bytes and to one argument
(execve(2), "Interpreter scripts"): hence ``-ISOO`` in one word.

Usage: python packaging/make_programs.py [SOURCE_DIR]
"""

import os
import subprocess
import sys

QUICK = """#!{python} -ISOO
import marshal
import posix
import sys

sys.path.append({source!r})
try:
    archive = posix.open({archive!r}, posix.O_RDONLY | posix.O_CLOEXEC)
    exec(marshal.loads(posix.read(archive, int.from_bytes(posix.read(archive, 8), "little"))))
    install(archive)
except (FileNotFoundError, EOFError):
    pass
from {module} import program

program()
"""
BARE = """#!{python} -ISOO
import os
import sys

sys.path.append({source!r})
from {module} import main

code = main()
try:
    sys.stdout.flush()
    sys.stderr.flush()
except OSError:  # nobody reads, or the disk is full
    code = code or 1
os._exit(code)  # taking the interpreter down costs 3 ms and frees nothing that matters
"""
FULL = """#!{python} -IOO
import sys

sys.path.insert(0, {source!r})
from {module} import main

sys.exit(main())
"""
ROOMS = ("cli", "client")
PROGRAMS = {
    "ketch": (QUICK, "ketch.cli.main"),
    "ketch-runtime": (BARE, "ketch.runtime.oci_cli"),
    "ketchd": (FULL, "ketch.daemon.main"),
}


def write(source: str) -> None:
    """Write the three programs beside the interpreter that runs this."""
    folder = os.path.dirname(sys.executable)
    package = os.path.join(source, "ketch")
    archive = os.path.join(package, "__pycache__", f"cli.{sys.implementation.cache_tag}.archive")
    compile_all(package)
    write_archive(package, archive)
    for name, (template, module) in PROGRAMS.items():
        text = template.format(python=sys.executable, source=source, module=module, archive=archive)
        replace(os.path.join(folder, name), text.encode(), 0o755)


def replace(path: str, content: bytes, mode: int) -> None:
    """Write a file anew; whoever has the old one open keeps that."""
    with open(path + ".new", "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def compile_all(folder: str) -> None:
    """Byte code for both kinds of start, without the columns of tracebacks: less to read."""
    levels = ["-o", "0", "-o", "2"]
    subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-m", "compileall", "-q", "-f", *levels, folder],
        check=True,
    )
    # The same for what they take from the standard library: a launcher that had to compile would
    # keep the memory that this took.
    imports = "import ketch.cli.main, ketch.runtime.launcher, ketch.runtime.rehearsal"
    bare(folder, imports)


def write_archive(folder: str, path: str) -> None:
    """The archive of the command line: its rooms, and what is on its start path besides."""
    files = ["__init__.py", "errors.py", "linux/__init__.py", "linux/fastjson.py"]
    for room in ROOMS:
        found = sorted(os.listdir(os.path.join(folder, room)))
        files += [f"{room}/{name}" for name in found if name.endswith(".py")]
    sources = {module_of(file): os.path.join(folder, file) for file in files}
    packed = f"from ketch.cli.code_archive import pack; sys.stdout.buffer.write(pack({sources!r}))"
    replace(path, bare(folder, packed, "-X", "no_debug_ranges"), 0o644)


def module_of(file: str) -> str:
    """The name of a module of ketch by its path in the package."""
    return f"ketch.{file[:-3].replace('/', '.')}".removesuffix(".__init__")


def bare(folder: str, code: str, *options: str) -> bytes:
    """The output of code that is run as the programs are."""
    start = f"import sys; sys.path.append({os.path.dirname(folder)!r}); {code}"
    words = [sys.executable, "-ISOO", *options, "-c", start]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    write(os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(here, "src"))
