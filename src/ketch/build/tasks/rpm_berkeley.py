"""The values of a Berkeley DB hash: how rpm kept its packages until 4.16 (RHEL and UBI up to 8,
Amazon Linux 2, SUSE 15).

No bucket is looked up: every hash page is read in its order in the file, so a damaged one costs its
own values only. The bytes are hostile: offsets are checked against the page, and a page of overflow
belongs to one value, so what comes out is never more than what is there.

Source: Berkeley DB 5.3, src/dbinc/db_page.h (pages, items) and hash.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

_MAGIC, _MAGIC_AT = 0x061561, 12
_PAGE_SIZE_AT, _ENCRYPTED_AT = 20, 24
_SMALLEST, _LARGEST = 512, 65536  # bytes of a page
_HEAD = 26  # bytes before a page's index: log position, numbers, entries, offset, level, type
_ENTRIES_AT, _TYPE_AT = 20, 25
_NEXT_AT, _FILLED_AT = 16, 22  # of an overflow page: the next one, bytes in this one
_OVERFLOW, _HASHES = 7, (2, 13)  # types of pages; unsorted (before 4.6) and sorted hashes
_IN_PAGE, _OFF_PAGE = 1, 3  # types of items
_OFF_PAGE_SIZE = 12

Order = Literal["little", "big"]


def is_hash(data: bytes) -> bool:
    """Whether the first page is that of a Berkeley DB hash, of a machine of either byte order."""
    return _order(data) is not None


def values(data: bytes) -> Iterator[bytes]:
    """The value of each pair, in the order of the file; nothing of an encrypted database."""
    order = _order(data)
    if order is None or data[_ENCRYPTED_AT]:
        return
    size = int.from_bytes(data[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 4], order)
    if not _SMALLEST <= size <= _LARGEST or size & (size - 1):
        return
    unread = set(range(1, len(data) // size))
    for number in sorted(unread):
        page = data[number * size : (number + 1) * size]
        if page[_TYPE_AT] in _HASHES:
            yield from _of_page(data, page, order, unread)


def _order(data: bytes) -> Order | None:
    magic = data[_MAGIC_AT : _MAGIC_AT + 4]
    orders: tuple[Order, Order] = ("little", "big")
    return next((order for order in orders if magic == _MAGIC.to_bytes(4, order)), None)


def _of_page(data: bytes, page: bytes, order: Order, unread: set[int]) -> Iterator[bytes]:
    """An index of offsets follows the head; items fill the page from its end. Keys and values take
    turns."""
    form = "<" if order == "little" else ">"
    (entries,) = struct.unpack_from(f"{form}H", page, _ENTRIES_AT)
    if _HEAD + 2 * entries > len(page):
        return
    offsets = struct.unpack_from(f"{form}{entries}H", page, _HEAD)
    for key, start in zip(offsets[::2], offsets[1::2], strict=False):
        if not _HEAD + 2 * entries <= start < key <= len(page):
            continue
        item = page[start:key]
        if item[0] == _IN_PAGE:
            yield item[1:]
        elif item[0] == _OFF_PAGE and len(item) == _OFF_PAGE_SIZE:
            first, length = struct.unpack_from(f"{form}II", item, 4)
            chain = _Chain(data, len(page), order, unread)
            if (value := chain.value(first, length)) is not None:
                yield value


class _Chain(NamedTuple):
    """Overflow pages; ``unread`` are those that no value had yet."""

    data: bytes
    size: int
    order: Order
    unread: set[int]

    def value(self, number: int, length: int) -> bytes | None:
        """``length`` bytes from page ``number`` on; None when the pages are fewer or others."""
        parts = []
        while length > 0 and number in self.unread:
            self.unread.remove(number)
            page = self.data[number * self.size : (number + 1) * self.size]
            filled = int.from_bytes(page[_FILLED_AT : _FILLED_AT + 2], self.order)
            if page[_TYPE_AT] != _OVERFLOW or not 0 < filled <= min(length, self.size - _HEAD):
                return None
            parts.append(page[_HEAD : _HEAD + filled])
            length -= filled
            number = int.from_bytes(page[_NEXT_AT : _NEXT_AT + 4], self.order)
        return None if length else b"".join(parts)
