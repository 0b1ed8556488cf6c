"""Asking before something is removed for good."""

import sys


def confirmed(warning: str) -> bool:
    """Print the warning and ask; anything but ``y`` means no."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
