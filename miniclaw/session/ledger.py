"""What the last scan read of each session file, so that the next one opens only what has changed.

An entry says: the file of this inode, with these times and this size, holds a session that was last used then, and is
pinned or not. Any write, rename or replacement of a file changes its inode, its size, or its change time, which no
program can set. A file that was changed less than `RACY_SECONDS` before it was read is not entered: another change
within the clock's tick would look the same. What this process itself has saved is known without reading, see
`miniclaw.session.saved_files`.

The ledger is only ever a reason not to read. One that is missing, damaged, or of another version is an empty one; what
it says leads to no removal, for each removal reads the real file.

In memory and in the file alike it is a hash table in flat arrays, 40 bytes a session: it has to fit beside a scan of a
hundred thousand sessions on a small machine. So a scan looks up in one table, which it leaves as it is, and what it
reads is kept in columns beside it, until `settle` makes one table of both.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Self

from miniclaw.session.fs import Bytes

RACY_SECONDS: Final = 2
"""The coarsest clock of a file system, FAT's."""

MAGIC: Final = b"miniclaw-ledger-1\n"

_ORDER: Final = b"<" if sys.byteorder == "little" else b">"
_HEAD_BYTES: Final = len(MAGIC) + 1 + 4 + 8 + 8
_LEAST_CAPACITY: Final = 1024
_MOST_CAPACITY: Final = 100_000_000

MAX_FILE_BYTES: Final = _HEAD_BYTES + 28 * _MOST_CAPACITY
"""Largest file of a ledger, inclusive."""

_MASK: Final = (1 << 64) - 1
_MAX_SIZE: Final = (1 << 32) - 1
_EMPTY: Final = 0  # no file has the inode 0
_SPREAD: Final = 2_654_435_761  # inodes lie in ranges, which would make long chains (Knuth's multiplicative hash)
_STALE_PART: Final = 8  # one in so many entries may be of a file that is gone, before a new table is made


def fingerprint(mtime_ns: int, ctime_ns: int) -> int:
    """Return both times of a file as one number of 64 bits."""
    return (mtime_ns * 1_000_003 ^ ctime_ns) & _MASK


class _Columns:
    """Entries in flat arrays: the file's inode, its times and size, and `used` as `Ledger.find` returns it."""

    __slots__ = ("inodes", "sizes", "times", "used")

    def __init__(self, length: int = 0) -> None:
        self.inodes = array("Q", [_EMPTY]) * length
        self.times = array("Q", [0]) * length
        self.sizes = array("I", [0]) * length
        self.used = array("q", [0]) * length

    def buffers(self) -> list[memoryview]:
        """Return all as bytes, in the order of the file."""
        return [memoryview(column).cast("B") for column in (self.inodes, self.times, self.sizes, self.used)]

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self.inodes, self.times, self.sizes, self.used, strict=True)


class Ledger:
    """What is known of the files, by their inodes. Used by one thread at a time.

    Attributes:
        changed: Whether it is another one than was read.
    """

    def __init__(self) -> None:
        self._count = 0
        self._table = _Columns(_LEAST_CAPACITY)  # open addressing, linear probing
        self._seen = bytearray(_LEAST_CAPACITY)
        self._added = _Columns()
        self._recent: Mapping[int, tuple[int, int, int]] = {}
        self.changed = False

    def __len__(self) -> int:
        """Return how many files can be found; those that were added since `settle` are not among them."""
        return self._count + len(self._recent)

    def __repr__(self) -> str:
        return f"<Ledger entries={self._count} added={len(self._added.inodes)} capacity={len(self._seen)}>"

    def recall(self, recent: Mapping[int, tuple[int, int, int]]) -> None:
        """Let newer files be found, too.

        Args:
            recent: `times`, `size` and what `find` returns, by the inodes.
        """
        self._recent = recent

    def find(self, inode: int, times: int, size: int) -> int | None:
        """Return when the file's session was last used, in microseconds, doubled, and one if it is pinned.

        Args:
            inode: The file's.
            times: Its `fingerprint`.
            size: In bytes.

        Returns:
            None where nothing is known of the file as it is now. What is found stays in the ledger.
        """
        table = self._table
        inodes = table.inodes
        capacity = len(inodes)
        slot = inode * _SPREAD % capacity
        while (found := inodes[slot]) != inode:
            if found == _EMPTY:
                return self._find_recent(inode, times, size)
            slot = (slot + 1) % capacity
        if table.times[slot] != times or table.sizes[slot] != size:
            return self._find_recent(inode, times, size)
        self._seen[slot] = 1
        return table.used[slot]

    def _find_recent(self, inode: int, times: int, size: int) -> int | None:
        recent = self._recent.get(inode)
        if recent is None or recent[:2] != (times, size):
            return None
        self.add(inode, times, size, recent[2])
        return recent[2]

    def add(self, inode: int, times: int, size: int, used: int) -> None:
        """Enter a file, in place of what was known of its inode; it is found after `settle`.

        Args:
            inode: The file's; one that does not fit is left out.
            times: Its `fingerprint`.
            size: In bytes; one that does not fit is left out.
            used: What `find` is to return.
        """
        if size > _MAX_SIZE or not 0 < inode <= _MASK:
            return
        added = self._added
        added.inodes.append(inode)
        added.times.append(times)
        added.sizes.append(size)
        added.used.append(used)

    def settle(self) -> None:
        """Take in what was added, and drop what was neither found nor added: those files are gone, or other ones.

        To be called after a whole scan.
        """
        added, self._added, self._recent = self._added, _Columns(), {}
        seen = sum(self._seen)
        stale = self._count - seen
        if not added.inodes and not stale:
            return
        self.changed = True
        if stale * _STALE_PART <= self._count and (self._count + len(added.inodes)) * 10 <= len(self._seen) * 7:
            self._enter(added)
        else:
            self._rebuild(added, seen + len(added.inodes))
        self._seen = bytearray(len(self._table.inodes))

    def _enter(self, entries: _Columns) -> None:
        table = self._table
        inodes, times, sizes, used = table.inodes, table.times, table.sizes, table.used
        capacity, count = len(inodes), self._count
        for inode, its_times, size, its_used in entries.entries():
            slot = inode * _SPREAD % capacity
            while (found := inodes[slot]) != inode:
                if found == _EMPTY:
                    inodes[slot] = inode
                    count += 1
                    break
                slot = (slot + 1) % capacity
            times[slot] = its_times
            sizes[slot] = size
            used[slot] = its_used
        self._count = count

    def _rebuild(self, added: _Columns, count: int) -> None:
        """Make a new table, for `count` entries: those that were seen, and those added."""
        old, seen = self._table, self._seen
        self._table = _Columns(max(_LEAST_CAPACITY, count * 10 // 7 + 1))
        self._count = 0
        kept = _Columns()
        for slot, is_seen in enumerate(seen):
            if is_seen:
                kept.inodes.append(old.inodes[slot])
                kept.times.append(old.times[slot])
                kept.sizes.append(old.sizes[slot])
                kept.used.append(old.used[slot])
        self._enter(kept)
        self._enter(added)

    # As a file ------------------------------------------------------------------------------------------------

    def encoded(self) -> list[Bytes]:
        """Return the content of the ledger's file, in pieces; it must not be changed before they are written."""
        body = self._table.buffers()
        numbers = len(self._seen).to_bytes(8, "big") + self._count.to_bytes(8, "big")
        return [MAGIC + _ORDER + _checksum(numbers, body) + numbers, *body]

    @classmethod
    def read(cls, size: int, fill: Callable[[memoryview], None]) -> Self:
        """Return the ledger that a file holds.

        Args:
            size: The file's, in bytes.
            fill: Reads on in the file until a buffer is full. Raises ValueError where the file ends before.

        Raises:
            ValueError: It holds none of this version and machine, or a damaged one.
        """
        head = bytearray(_HEAD_BYTES)
        if size < _HEAD_BYTES:
            raise ValueError("it is no ledger of this version")
        fill(memoryview(head))
        if not head.startswith(MAGIC):
            raise ValueError("it is no ledger of this version")
        order, checksum, numbers = (bytes(part) for part in (head[-21:-20], head[-20:-16], head[-16:]))
        if order != _ORDER:
            raise ValueError("it was written by another kind of machine")
        capacity = int.from_bytes(numbers[:8], "big")
        if not _LEAST_CAPACITY <= capacity <= _MOST_CAPACITY or size != _HEAD_BYTES + 28 * capacity:
            raise ValueError("its size is wrong")
        table = _Columns(capacity)
        body = table.buffers()
        for column in body:
            fill(column)
        if _checksum(numbers, body) != checksum:
            raise ValueError("its checksum is wrong")
        ledger = cls()
        ledger._table = table
        ledger._count = int.from_bytes(numbers[8:], "big")
        ledger._seen = bytearray(capacity)
        if ledger._count * 10 > capacity * 7 + 10 or ledger._count != capacity - table.inodes.count(_EMPTY):
            raise ValueError("it does not add up")
        return ledger


def _checksum(numbers: Bytes, body: list[memoryview]) -> bytes:
    checksum = zlib.crc32(_ORDER + numbers)
    for column in body:
        checksum = zlib.crc32(column, checksum)
    return checksum.to_bytes(4, "big")
