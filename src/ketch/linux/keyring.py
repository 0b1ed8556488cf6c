"""Kernel keyrings (keyctl(2))."""

from ketch.linux.libc import number, syscall

JOIN_SESSION_KEYRING = 1


def join_new_session_keyring() -> None:
    """Leave the caller's session keyring for a new, empty, anonymous one.

    Raises OSError: ENOSYS without CONFIG_KEYS, EDQUOT when the user has too many.
    """
    syscall(number("keyctl"), JOIN_SESSION_KEYRING, None)
