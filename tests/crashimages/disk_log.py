"""What a disk was told, in order, and the images that a crash could have left. Pure.

A position is the number of entries that the disk had answered when the power went. What was written before the last
flush among them is on the disk. Of the writes since, any may be on it, or any sectors of them, because a disk with a
cache writes in the order that it likes, and only a sector is written whole.
"""

from __future__ import annotations

import random
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SECTOR_BYTES: Final = 512
PAGE_BYTES: Final = 4096
"""What today's disks write whole."""

_HEAD: Final = struct.Struct("<QQ")
_FLUSH_OFFSET: Final = 2**64 - 1


@dataclass(frozen=True)
class Write:
    """So many bytes written at an offset of the disk."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Flush:
    """All that was written before is on the disk."""


@dataclass(frozen=True)
class Tearing:
    """Where writes may be torn: between units of one of these sizes, and never within `whole`."""

    units: tuple[int, ...]
    whole: range = range(0)


TEARING: Final = {
    # Its superblock lies on two sectors with a checksum over both, and torn it is not mounted.
    "ext4": Tearing((SECTOR_BYTES, PAGE_BYTES), whole=range(1024, 2048)),
    # A block whose first sector is as new as the journal is not replayed: if the rest is older, the mount fails.
    "xfs": Tearing((PAGE_BYTES,)),
}
"""What the file systems do not survive themselves says nothing about what lies on them."""


@dataclass(frozen=True)
class Part:
    """Of the write at an index, the ranges of bytes that reached the disk, counted from its offset."""

    index: int
    offset: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Crash:
    """A crash after so many entries; of the writes since the last flush, these parts reached the disk."""

    position: int
    flushed: int
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        parts = (
            f"{part.index} at {part.offset}: {' '.join(f'{start}-{end}' for start, end in part.ranges)}"
            for part in self.parts
        )
        return f"position {self.position}, flushed before {self.flushed}, and bytes of [{', '.join(parts)}]"


class DiskLog:
    """The writes and flushes that a disk has answered, and where each record ends in the file that they come from."""

    def __init__(self, entries: Sequence[Write | Flush], ends: Sequence[int] = ()) -> None:
        self.entries = entries
        self._ends = ends
        self._flushed = [0]  # by position: how many entries come before the end of the last flush
        for index, entry in enumerate(entries):
            self._flushed.append(index + 1 if isinstance(entry, Flush) else self._flushed[-1])

    def position(self, size: int) -> int:
        """Return how many entries were complete when the log's file had this size."""
        return bisect_right(self._ends, size)

    def pending(self, position: int) -> range:
        """Return the indices of the writes that are not known to be on the disk at a position."""
        return range(self._flushed[position], position)

    def prefix(self, position: int) -> Crash:
        """Return the crash of a disk that writes in the order in which it was told."""
        writes = ((index, self._write(index)) for index in self.pending(position))
        parts = tuple(Part(index, write.offset, ((0, len(write.data)),)) for index, write in writes)
        return Crash(position, self._flushed[position], parts)

    def subset(self, position: int, chance: random.Random, tearing: Tearing) -> Crash:
        """Return a crash that left some of the pending writes, whole or torn."""
        share, torn = chance.choice((0.1, 0.5, 0.9)), chance.choice((0.0, 0.5))
        parts = []
        for index in self.pending(position):
            write = self._write(index)
            if chance.random() < torn:
                unit = chance.choice(tearing.units)
                ranges = [piece for piece in _pieces(write, unit, tearing.whole) if chance.random() < share]
            else:
                ranges = [(0, len(write.data))] if chance.random() < share else []
            if ranges:
                parts.append(Part(index, write.offset, _joined(ranges)))
        return Crash(position, self._flushed[position], tuple(parts))

    def surely(self, since: int, crash: Crash) -> Iterator[Write]:
        """Yield the writes from an index on that are on the disk whatever else is."""
        for entry in self.entries[since : crash.flushed]:
            if isinstance(entry, Write):
                yield entry

    def maybe(self, crash: Crash) -> Iterator[Write]:
        """Yield what of the pending writes this crash left."""
        for part in crash.parts:
            data = self._write(part.index).data
            for start, end in part.ranges:
                yield Write(part.offset + start, data[start:end])

    def _write(self, index: int) -> Write:
        entry = self.entries[index]
        assert isinstance(entry, Write)  # flushes end what is pending
        return entry


def encode_entry(entry: Write | Flush) -> tuple[bytes, bytes]:
    """Return a record of the log's file, in two parts."""
    if isinstance(entry, Flush):
        return _HEAD.pack(_FLUSH_OFFSET, 0), b""
    return _HEAD.pack(entry.offset, len(entry.data)), entry.data


def decode_log(data: bytes) -> DiskLog:
    """Return the log from its file; a record that is not complete was not answered either."""
    entries: list[Write | Flush] = []
    ends: list[int] = []
    start = 0
    while start + _HEAD.size <= len(data):
        offset, length = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length
        if end > len(data):
            break
        entries.append(Flush() if offset == _FLUSH_OFFSET else Write(offset, data[end - length : end]))
        ends.append(end)
        start = end
    return DiskLog(entries, ends)


def _pieces(write: Write, unit: int, whole: range) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a write that lie in one unit of the disk each, or in `whole`."""
    start = 0
    while start < len(write.data):
        offset = write.offset + start
        end = offset + unit - offset % unit
        if whole.start < end < whole.stop:
            end = whole.stop
        end = min(len(write.data), end - write.offset)
        yield start, end
        start = end


def _joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)
