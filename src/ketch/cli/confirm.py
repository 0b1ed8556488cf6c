"""Asking before something is removed for good."""

import sys


def confirmed(question: str) -> bool:
    """Print the warning and ask; anything but ``y`` means no."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    try:
        return sys.stdin.readline().strip().lower() == "y"
    except UnicodeDecodeError:
        return False
