"""Write the programs ``ketch``, ``ketchd`` and ``ketch-runtime`` into a virtual environment's bin.

The console scripts that pip writes cost a full interpreter start. These begin with ``-I -S`` where
no site-packages are needed (``ketch``, ``ketch-runtime``), and byte code is compiled beforehand,
without docstrings, so that ``ketch`` starts in about the time of a bare interpreter. The shebang
line is limited to 255 bytes and to one argument (execve(2), "Interpreter scripts"): hence
``-ISOO`` in one word.

Usage: python packaging/make_programs.py [SOURCE_DIR]
"""

import os
import subprocess
import sys

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
PROGRAMS = {
    "ketch": (BARE, "ketch.cli.main"),
    "ketch-runtime": (BARE, "ketch.runtime.oci_cli"),
    "ketchd": (FULL, "ketch.daemon.main"),
}


def write(source: str) -> None:
    """Write the three programs beside the interpreter that runs this."""
    folder = os.path.dirname(sys.executable)
    for name, (template, module) in PROGRAMS.items():
        path = os.path.join(folder, name)
        text = template.format(python=sys.executable, source=source, module=module)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
    compile_all(os.path.join(source, "ketch"))


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
    start = f"import sys; sys.path.append({os.path.dirname(folder)!r}); {imports}"
    subprocess.run([sys.executable, "-ISOO", "-c", start], check=True)


if __name__ == "__main__":
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    write(os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(here, "src"))
