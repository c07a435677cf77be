"""What the last scan read of each session file, so that the next one opens only what has changed.

An entry says: the file of this inode, with these times and this size, holds a session that was last used then, and is
pinned or not. Any write, rename or replacement of a file changes its inode, its size, or its change time, which no
program can set. A file that was changed less than `RACY_SECONDS` before it was read is not entered: another change
within the clock's tick would look the same.

The ledger is only ever a reason not to read. One that is missing, damaged, or of another version is an empty one; what
it says leads to no removal, for each removal reads the real file.

In memory and in the file alike it is a hash table in flat arrays, 40 to 60 bytes a session: it has to fit beside a scan
of a hundred thousand sessions on a small machine.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from datetime import datetime
from typing import Final, Self

from miniclaw.session.clock import to_microseconds

RACY_SECONDS: Final = 2
"""The coarsest clock of a file system, FAT's."""

MAGIC: Final = b"miniclaw-ledger-1\n"

_HEAD_BYTES: Final = len(MAGIC) + 1 + 4 + 8 + 8
_LEAST_CAPACITY: Final = 1024
_MOST_CAPACITY: Final = 100_000_000

MAX_FILE_BYTES: Final = _HEAD_BYTES + 28 * _MOST_CAPACITY
"""Largest file of a ledger, inclusive."""

_MASK: Final = (1 << 64) - 1
_MAX_SIZE: Final = (1 << 32) - 1
_EMPTY: Final = 0  # no file has the inode 0
_SPREAD: Final = 2_654_435_761  # inodes lie in ranges, which would make long chains (Knuth's multiplicative hash)


def fingerprint(mtime_ns: int, ctime_ns: int) -> int:
    """Return both times of a file as one number of 64 bits."""
    return (mtime_ns * 1_000_003 ^ ctime_ns) & _MASK


class Ledger:
    """A hash table from inode to what is known of its file. Used by one thread at a time.

    Open addressing with linear probing.
    """

    def __init__(self, capacity: int = _LEAST_CAPACITY) -> None:
        self._capacity = capacity
        self._count = 0
        self._inodes = array("Q", bytes(8 * capacity))
        self._times = array("Q", bytes(8 * capacity))
        self._sizes = array("I", bytes(4 * capacity))
        self._used = array("q", bytes(8 * capacity))  # last_accessed in microseconds, doubled, and one if pinned
        self._seen = bytearray(capacity)
        self.changed = False

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Ledger entries={self._count} capacity={self._capacity}>"

    def find(self, inode: int, times: int, size: int) -> int | None:
        """Return when the file's session was last used, in microseconds, doubled, and one if it is pinned.

        Args:
            inode: The file's.
            times: Its `fingerprint`.
            size: In bytes.

        Returns:
            None where nothing is known of the file as it is now. What is found counts as seen.
        """
        inodes = self._inodes
        slot = inode * _SPREAD % self._capacity
        while (found := inodes[slot]) != inode:
            if found == _EMPTY:
                return None
            slot = (slot + 1) % self._capacity
        if self._times[slot] != times or self._sizes[slot] != size:
            return None
        self._seen[slot] = 1
        return self._used[slot]

    def add(self, inode: int, times: int, size: int, last_accessed: datetime, *, pinned: bool) -> None:
        """Enter a file that was just read, in place of what was known of its inode. What does not fit is left out."""
        used = to_microseconds(last_accessed) * 2 + pinned
        if size > _MAX_SIZE or not 0 < inode <= _MASK:
            return
        if self._count * 10 >= self._capacity * 7:
            self._rebuild(self._capacity * 3 // 2, seen_only=False)
        self._seen[self._put(inode, times, size, used)] = 1
        self.changed = True

    def forget_unseen(self) -> None:
        """Drop what was neither found nor added since the ledger was read: those files are gone, or other ones."""
        if self._count == sum(self._seen):
            return
        self._rebuild(self._capacity, seen_only=True)
        self.changed = True

    def _put(self, inode: int, times: int, size: int, used: int) -> int:
        """Enter a file, and return its slot."""
        inodes = self._inodes
        slot = inode * _SPREAD % self._capacity
        while inodes[slot] not in (_EMPTY, inode):
            slot = (slot + 1) % self._capacity
        self._count += inodes[slot] == _EMPTY
        inodes[slot] = inode
        self._times[slot] = times
        self._sizes[slot] = size
        self._used[slot] = used
        return slot

    def _rebuild(self, capacity: int, *, seen_only: bool) -> None:
        fresh = Ledger(capacity)
        for slot, inode in enumerate(self._inodes):
            if inode != _EMPTY and (self._seen[slot] or not seen_only):
                new = fresh._put(inode, self._times[slot], self._sizes[slot], self._used[slot])
                fresh._seen[new] = self._seen[slot]
        self._capacity, self._count, self._seen = fresh._capacity, fresh._count, fresh._seen
        self._inodes, self._times, self._sizes, self._used = fresh._inodes, fresh._times, fresh._sizes, fresh._used

    # As a file ------------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """Return the content of the ledger's file."""
        body = b"".join(column.tobytes() for column in (self._inodes, self._times, self._sizes, self._used))
        numbers = self._capacity.to_bytes(8, "big") + self._count.to_bytes(8, "big")
        order = b"<" if sys.byteorder == "little" else b">"
        checksum = zlib.crc32(body, zlib.crc32(order + numbers)).to_bytes(4, "big")
        return b"".join((MAGIC, order, checksum, numbers, body))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the ledger that a file holds.

        Raises:
            ValueError: It holds none of this version and machine, or a damaged one.
        """
        view = memoryview(data)
        if len(view) < _HEAD_BYTES or bytes(view[: len(MAGIC)]) != MAGIC:
            raise ValueError("it is no ledger of this version")
        head = view[len(MAGIC) : _HEAD_BYTES]
        order, checksum, numbers, body = bytes(head[:1]), bytes(head[1:5]), bytes(head[5:]), view[_HEAD_BYTES:]
        if order != (b"<" if sys.byteorder == "little" else b">"):
            raise ValueError("it was written by another kind of machine")
        capacity = int.from_bytes(numbers[:8], "big")
        if not _LEAST_CAPACITY <= capacity <= _MOST_CAPACITY or len(body) != 28 * capacity:
            raise ValueError("its size is wrong")
        if zlib.crc32(body, zlib.crc32(order + numbers)).to_bytes(4, "big") != checksum:
            raise ValueError("its checksum is wrong")
        ledger = cls.__new__(cls)
        ledger._capacity = capacity
        ledger._count = int.from_bytes(numbers[8:], "big")
        start = 0
        columns = [array("Q"), array("Q"), array("I"), array("q")]
        for column in columns:
            size = column.itemsize * capacity
            column.frombytes(body[start : start + size])
            start += size
        ledger._inodes, ledger._times, ledger._sizes, ledger._used = columns
        ledger._seen = bytearray(capacity)
        ledger.changed = False
        if ledger._count * 10 > capacity * 7 + 10 or ledger._count != capacity - ledger._inodes.count(_EMPTY):
            raise ValueError("it does not add up")
        return ledger
