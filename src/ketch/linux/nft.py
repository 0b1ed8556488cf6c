"""nftables rules through libnftables, in process (libnftables(3)).

One call is one atomic transaction: all of its commands are applied, or none. Measured 1 ms a
change in the one context of the process, where one for each took 8 ms, most of it waiting, and
starting ``nft`` costs 4 ms of the processor.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from functools import lru_cache

_LOCK = threading.Lock()  # a context is not made for several threads


class NftError(OSError):
    """A transaction was refused; the text is what nft(8) would print."""


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("nftables") or "libnftables.so.1"
    library = ctypes.CDLL(name)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    for function in (library.nft_ctx_get_error_buffer, library.nft_ctx_get_output_buffer):
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_void_p,)
    for function in (library.nft_ctx_buffer_error, library.nft_ctx_buffer_output):
        function.argtypes = (ctypes.c_void_p,)
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


@lru_cache(maxsize=1)
def _context() -> int:
    """The one context of this process, with its netlink socket.

    libnftables waits with select(2), which aborts the process when the socket's number is 1024 or
    more. So the first call, when the daemon starts, takes a low one for good.
    """
    context = _library().nft_ctx_new(0)
    if not context:
        raise NftError(12, "libnftables gave no context")
    _library().nft_ctx_buffer_error(context)
    _library().nft_ctx_buffer_output(context)
    return int(context)


def run(commands: str) -> str:
    """Apply ``commands`` (nft syntax) as one transaction; returns what they print.

    To be called once before the process has a thousand files open. Raises ``NftError`` when the
    kernel or the parser refuses the commands, OSError when the library is missing.
    """
    with _LOCK:
        library, context = _library(), _context()
        failed = library.nft_run_cmd_from_buffer(context, commands.encode())
        errors = (library.nft_ctx_get_error_buffer(context) or b"").decode()
        printed = (library.nft_ctx_get_output_buffer(context) or b"").decode()
    if failed:
        raise NftError(22, errors.strip() or "nftables refused the commands")
    return printed
