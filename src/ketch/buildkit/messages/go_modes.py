"""Modes of files as Go's io/fs has them (``FileMode``), and as stat(2) has them."""

from __future__ import annotations

import stat

GO_TYPES = {  # os.FileMode of Go → S_IFMT
    1 << 31: stat.S_IFDIR,
    1 << 27: stat.S_IFLNK,
    1 << 25: stat.S_IFIFO,
    1 << 26 | 1 << 21: stat.S_IFCHR,
    1 << 26: stat.S_IFBLK,
    1 << 24: stat.S_IFSOCK,
}
GO_TYPE_MASK = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21
_GO_OF = {unix: go for go, unix in GO_TYPES.items()}
GO_BITS = {1 << 23: stat.S_ISUID, 1 << 22: stat.S_ISGID, 1 << 20: stat.S_ISVTX}


def unix_mode(mode: int) -> int:
    """``st_mode`` for a Go ``FileMode`` (io/fs, "FileMode")."""
    kind = GO_TYPES.get(mode & GO_TYPE_MASK, stat.S_IFREG)
    bits = sum(bit for go, bit in GO_BITS.items() if mode & go)
    return kind | bits | mode & 0o777


def go_mode(mode: int) -> int:
    """The Go ``FileMode`` of an ``st_mode``."""
    bits = sum(go for go, bit in GO_BITS.items() if mode & bit)
    return _GO_OF.get(stat.S_IFMT(mode), 0) | bits | mode & 0o777
