"""Site packages for the few commands that need one.

``ketch`` starts without them (``python -I -S``), which saves 10 ms each time.
"""

import os
import sys


def enable() -> None:
    """Make what is installed beside the interpreter importable."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    for folder in (f"{prefix}/lib/{version}/site-packages", "/usr/lib/python3/dist-packages"):
        if folder not in sys.path and os.path.isdir(folder):
            sys.path.append(folder)


def has_rich() -> bool:
    """Whether bars can be drawn; without the library there are plain lines."""
    enable()
    from importlib.util import find_spec

    return find_spec("rich") is not None
