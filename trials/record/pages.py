"""A SQLite file read page by page, for one that SQLite itself cannot read any more.

By the published file format: pages of one size, the committed pages of the write-ahead log over them, and in each leaf
of a table its rows as cells, long ones over a chain of pages. Nothing is believed: a cell whose lengths do not add up
is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"SQLite format 3\x00"
#: SQLite's own since 2016, and so that of every record.
_PAGE_BYTES = 4096
_LEAF = 0x0D
_FIXED_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}

Value = None | int | float | str | bytes


class _Broken(Exception):
    """A cell that does not add up."""


@dataclass(frozen=True)
class Pages:
    """The whole pages of a file by their numbers from 1, as of the last transaction that was committed."""

    size: int
    pages: dict[int, bytes]
    #: Those that hold nothing any more, as far as the file says.
    free: frozenset[int] = field(default=frozenset())

    @classmethod
    def read(cls, path: Path) -> Pages:
        """Of the record at `path` and its write-ahead log. Raises OSError."""
        whole = path.read_bytes()
        log = path.with_name(f"{path.name}-wal")
        frames = log.read_bytes() if log.is_file() else b""
        size = _page_bytes(whole, frames)
        pages = {1 + at // size: whole[at : at + size] for at in range(0, len(whole) - size + 1, size)}
        pages |= _committed(frames, size)
        return cls(size, pages, frozenset(_free(pages)))

    def repaired(self) -> bytes:
        """A file of these pages alone, without a log, its header made anew: for SQLite to read as far as it can."""
        last = max(self.pages, default=0)
        first = bytearray(self.pages.get(1, bytes(self.size)))
        if first[:16] != MAGIC or first[16:18] != struct.pack(">H", self.size % 65536 or 1):
            first[:100] = MAGIC + struct.pack(">HBBBBBB", self.size % 65536 or 1, 1, 1, 0, 64, 32, 32) + bytes(76)
            first[44:48] = struct.pack(">I", 4)
            first[56:60] = struct.pack(">I", 1)
        first[18:20] = b"\x01\x01"
        first[28:32] = struct.pack(">I", last)
        first[32:40] = bytes(8)  # what is free is of no use, and a broken list of it would be in the way
        first[92:96] = first[24:28]
        rest = (self.pages.get(number, bytes(self.size)) for number in range(2, last + 1))
        return b"".join((bytes(first), *rest))

    def rows(self) -> Iterator[tuple[int, tuple[Value, ...]]]:
        """What can be read of every leaf of a table that is not free: the number of a row, and its values."""
        for number, page in sorted(self.pages.items()):
            if number in self.free:
                continue
            start = 100 if number == 1 else 0
            if page[start] != _LEAF:
                continue
            (cells,) = struct.unpack_from(">H", page, start + 3)
            for k in range(min(cells, (self.size - start - 8) // 2)):
                (at,) = struct.unpack_from(">H", page, start + 8 + 2 * k)
                try:
                    yield self._cell(page, at)
                except (_Broken, IndexError, struct.error, UnicodeDecodeError):
                    continue

    def _cell(self, page: bytes, at: int) -> tuple[int, tuple[Value, ...]]:
        length, at = _varint(page, at)
        row, at = _varint(page, at)
        usable = self.size
        most, least = usable - 35, (usable - 12) * 32 // 255 - 23
        here = length
        if length > most:
            here = least + (length - least) % (usable - 4)
            here = here if here <= most else least
        if at + here > usable:
            raise _Broken
        payload = page[at : at + here]
        if length > most:
            (following,) = struct.unpack_from(">I", page, at + here)
            payload += self._chained(following, length - here)
        return row if row < 2**63 else row - 2**64, _record(payload)

    def _chained(self, number: int, length: int) -> bytes:
        parts: list[bytes] = []
        seen: set[int] = set()
        while length > 0:
            page = self.pages.get(number)
            if page is None or number in seen:
                raise _Broken
            seen.add(number)
            part = page[4 : 4 + min(length, self.size - 4)]
            parts.append(part)
            length -= len(part)
            (number,) = struct.unpack_from(">I", page, 0)
        return b"".join(parts)


def _page_bytes(whole: bytes, frames: bytes) -> int:
    """By the file's header, else its log's."""
    found: list[int] = []
    if whole[:16] == MAGIC:
        found += [struct.unpack_from(">H", whole, 16)[0]]
    if len(frames) >= 32:
        found += [struct.unpack_from(">I", frames, 8)[0]]
    sizes = [65536 if size == 1 else size for size in found]
    return next((size for size in sizes if 512 <= size <= 65536 and size & (size - 1) == 0), _PAGE_BYTES)


def _committed(frames: bytes, size: int) -> dict[int, bytes]:
    """The pages in a write-ahead log, up to its last whole commit."""
    if len(frames) < 32 or struct.unpack_from(">I", frames, 0)[0] not in (0x377F0682, 0x377F0683):
        return {}
    order = "<" if frames[3] == 0x82 else ">"
    salts, sums = frames[16:24], _checksum(frames[:24], (0, 0), order)
    if struct.pack(">II", *sums) != frames[24:32]:
        return {}
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for at in range(32, len(frames) - size - 23, size + 24):
        head, page = frames[at : at + 24], frames[at + 24 : at + 24 + size]
        sums = _checksum(page, _checksum(head[:8], sums, order), order)
        if head[8:16] != salts or struct.pack(">II", *sums) != head[16:24]:
            break
        number, pages = struct.unpack_from(">II", head)
        pending[number] = page
        if pages:
            committed |= pending
            pending = {}
    return committed


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _free(pages: dict[int, bytes]) -> Iterator[int]:
    """The pages on the list of free ones; none where the header or the list is broken."""
    first = pages.get(1, b"")
    if first[:16] != MAGIC:
        return
    (trunk,) = struct.unpack_from(">I", first, 32)
    seen: set[int] = set()
    while trunk and trunk in pages and trunk not in seen:
        seen.add(trunk)
        following, leaves = struct.unpack_from(">II", pages[trunk])
        yield trunk
        if leaves > len(pages[trunk]) // 4 - 2:
            return
        yield from struct.unpack_from(f">{leaves}I", pages[trunk], 8)
        trunk = following


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for k in range(8):
        value = value << 7 | data[at + k] & 0x7F
        if data[at + k] < 0x80:
            return value, at + k + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> tuple[Value, ...]:
    """The values of a row."""
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    sizes = [_FIXED_SIZES[kind] if kind in _FIXED_SIZES else (kind - 12) // 2 for kind in kinds]
    if at != end or 10 in kinds or 11 in kinds or end + sum(sizes) != len(payload):
        raise _Broken
    values: list[Value] = []
    for kind, size in zip(kinds, sizes, strict=True):
        part = payload[at : at + size]
        at += size
        if kind == 0:
            values.append(None)
        elif kind in (8, 9):
            values.append(kind - 8)
        elif kind == 7:
            values.append(float(struct.unpack(">d", part)[0]))
        elif kind < 7:
            values.append(int.from_bytes(part, "big", signed=True))
        else:
            values.append(part.decode() if kind % 2 else part)
    return tuple(values)
