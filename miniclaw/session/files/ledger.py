"""The ledger, a stat cache: the header facts that earlier scans read, so that a scan opens only changed files.

An entry maps the inode, times and size of a file to the time of its session's last use and to its pin. Any write,
rename or replacement of a file changes its inode, its size, or its change time, which no program can set. A file with
two names gets no entry, because only one of them can be a session's. A file that was changed less than `RACY_SECONDS`
before it was read gets none either, because another change within the clock's tick would look the same. Files that this
process itself has saved are known without reading, see `miniclaw.session.files.saved_files`.

The ledger only ever saves a read. A ledger that is missing, damaged, or of another version counts as empty. No entry
leads to a removal, because each removal reads the real file.

In memory and in the file alike it is a hash table in flat arrays, 40 bytes a session: it has to fit beside a scan of a
hundred thousand sessions on a small machine. For that reason a scan looks up in one table, which it does not change,
and adds new entries in columns beside it, until `settle` merges both into one table.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import compress
from typing import Final, Self, TypeAlias

from miniclaw.clock import from_microseconds, to_microseconds
from miniclaw.session.disk.syscalls import Bytes

RACY_SECONDS: Final = 2
"""The step of the coarsest clock of a file system, FAT's."""

_FAT_STEP: Final = 10_000_000  # ns; of exFAT

MAGIC: Final = b"miniclaw-ledger-1\n"

_ORDER: Final = b"<" if sys.byteorder == "little" else b">"
_HEAD_BYTES: Final = len(MAGIC) + 1 + 4 + 8 + 8
_LEAST_CAPACITY: Final = 1024
_MOST_CAPACITY: Final = 10_000_000

MAX_FILE_BYTES: Final = _HEAD_BYTES + 28 * _MOST_CAPACITY
"""Largest file of a ledger, inclusive."""

_MASK: Final = (1 << 64) - 1
_MAX_SIZE: Final = (1 << 32) - 1
_EMPTY: Final = 0  # no file has the inode 0
_SPREAD: Final = 2_654_435_761  # inodes come in ranges, which would form long chains (Knuth's multiplicative hash)
_BLOCK: Final = 16_384  # entries; the allocator returns columns of 128 KB to the system when they are freed
_STALE_PART: Final = 8  # up to one in this many entries may be stale before a new table is made


def fingerprint(mtime_ns: int, ctime_ns: int) -> int:
    """Return both times of a file, mixed into one number of 64 bits."""
    return (mtime_ns * 1_000_003 ^ ctime_ns) & _MASK


_Columns: TypeAlias = "list[array[int]]"
"""Entries in flat arrays: inodes, times, sizes, and `used` as `Ledger.find` returns it."""

_TYPES: Final = "QQIq"


def _columns(length: int) -> _Columns:
    return [_column(code, length) for code in _TYPES]


def _column(code: str, length: int) -> array[int]:
    return array(code, [0]) * length


def encode_use(last_accessed: datetime, *, pinned: bool) -> int:
    """Return the time of a session's last use in microseconds, doubled, plus one if the session is pinned."""
    return 2 * to_microseconds(last_accessed) + pinned


def decode_use(used: int) -> tuple[datetime, bool]:
    """Return the time of a session's last use, and whether the session is pinned."""
    return from_microseconds(used >> 1), bool(used & 1)


def can_be_told_apart(mtime_ns: int, ctime_ns: int) -> bool:
    """Return whether a file's times reveal a later change that keeps its size.

    FAT has one time in place of both, in steps of 2 s or 10 ms, and programs can set it.
    """
    return mtime_ns != ctime_ns or mtime_ns % _FAT_STEP != 0


class Ledger:
    """The known files, by their inodes. Used by one thread at a time.

    Attributes:
        changed: True if the ledger differs from its file.
    """

    def __init__(self) -> None:
        self._count = 0
        self._table = _columns(_LEAST_CAPACITY)  # open addressing, linear probing
        self._seen = bytearray(_LEAST_CAPACITY)
        self._added: list[_Columns] = []  # in blocks; arrays that grow side by side would leave holes as large
        self._place = _BLOCK  # the next free one in the last block
        self._recent: Mapping[int, tuple[int, int, int]] = {}
        self.changed = False

    def __len__(self) -> int:
        """Return how many files can be found, without those that were added since `settle`."""
        return self._count + len(self._recent)

    def __repr__(self) -> str:
        return f"<Ledger entries={self._count} added={self._added_count()} capacity={len(self._seen)}>"

    @property
    def can_be_loaded(self) -> bool:
        """False if the ledger has so many entries that `read` would refuse its file."""
        return len(self._seen) <= _MOST_CAPACITY

    def recall(self, recent: Mapping[int, tuple[int, int, int]]) -> None:
        """Make newer files known to `find`, too.

        Args:
            recent: Inode -> `times`, `size` and the result of `find`.
        """
        self._recent = recent

    def find(self, inode: int, times: int, size: int) -> int | None:
        """Return the last use and the pin of a file's session, as `encode_use` encodes them.

        Args:
            inode: The file's.
            times: Its `fingerprint`.
            size: In bytes.

        Returns:
            None if the file is not known in this state. An entry that was found survives `settle`.
        """
        inodes, its_times, sizes, used = self._table
        capacity = len(inodes)
        slot = inode * _SPREAD % capacity
        while (found := inodes[slot]) != inode:
            if found == _EMPTY:
                return self._find_recent(inode, times, size)
            slot = (slot + 1) % capacity
        if its_times[slot] != times or sizes[slot] != size:
            return self._find_recent(inode, times, size)
        self._seen[slot] = 1
        return used[slot]

    def _find_recent(self, inode: int, times: int, size: int) -> int | None:
        recent = self._recent.get(inode)
        if recent is None or recent[:2] != (times, size):
            return None
        self.add(inode, times, size, recent[2])
        return recent[2]

    def add(self, inode: int, times: int, size: int, used: int) -> None:
        """Enter a file, in place of the earlier entry for its inode; `find` knows it after `settle`.

        Args:
            inode: The file's; a file is left out if this is 0 or exceeds 64 bits.
            times: Its `fingerprint`.
            size: In bytes; a file is left out if this exceeds 32 bits.
            used: The result for `find`.
        """
        if size > _MAX_SIZE or not 0 < inode <= _MASK:
            return
        place = self._place
        if place == _BLOCK:
            self._added.append(_columns(_BLOCK))
            place = 0
        inodes, its_times, sizes, its_used = self._added[-1]
        inodes[place] = inode
        its_times[place] = times
        sizes[place] = size
        its_used[place] = used
        self._place = place + 1

    def settle(self) -> None:
        """Merge the added entries, and drop entries neither found nor added: their files are gone or changed.

        To be called after a whole scan. Stale entries remain in the table until a new one is made, see `_STALE_PART`.
        """
        seen, count = sum(self._seen), self._added_count()
        added, self._added, self._recent = self._added, [], {}
        if added:
            added[-1] = [column[: self._place] for column in added[-1]]
        self._place = _BLOCK
        stale = self._count - seen
        if not count and not stale:
            return
        self.changed = True
        if stale * _STALE_PART <= self._count and (self._count + count) * 10 <= len(self._seen) * 7:
            for block in added:
                slots = self._slots_for(block[0])
                for column, values in zip(self._table, block, strict=True):
                    _put(column, slots, values)
        else:
            self._rebuild(added, max(_LEAST_CAPACITY, (seen + count) * 10 // 7 + 1))
        self._seen = bytearray(len(self._table[0]))

    def _added_count(self) -> int:
        return max(0, len(self._added) - 1) * _BLOCK + (self._place if self._added else 0)

    def _rebuild(self, added: list[_Columns], capacity: int) -> None:
        """Make a new table of the seen and the added entries, column by column: there are never two whole tables."""
        blocks = [[array(column.typecode, compress(column, self._seen)) for column in self._table], *added]
        self._table = [_column(_TYPES[0], capacity)]
        self._count = 0
        slots = [self._slots_for(block[0]) for block in blocks]
        for code in _TYPES[1:]:
            column = _column(code, capacity)
            for block, its_slots in zip(blocks, slots, strict=True):
                del block[0]
                _put(column, its_slots, block[0])
            self._table.append(column)

    def _slots_for(self, inodes: array[int]) -> array[int]:
        """Return the slot of each inode in the table, which has room for all; an inode without a slot gets one."""
        table = self._table[0]
        capacity = len(table)
        slots = array("I")
        for inode in inodes:
            slot = inode * _SPREAD % capacity
            while (found := table[slot]) != inode:
                if found == _EMPTY:
                    table[slot] = inode
                    self._count += 1
                    break
                slot = (slot + 1) % capacity
            slots.append(slot)
        return slots

    # As a file ------------------------------------------------------------------------------------------------

    def encoded(self) -> list[Bytes]:
        """Return the content of the ledger's file in pieces; the ledger must not be changed until they are written."""
        body = [memoryview(column).cast("B") for column in self._table]
        numbers = len(self._seen).to_bytes(8, "big") + self._count.to_bytes(8, "big")
        return [MAGIC + _ORDER + _checksum(numbers, body) + numbers, *body]

    @classmethod
    def read(cls, size: int, fill: Callable[[memoryview], None]) -> Self:
        """Return the ledger that a file holds.

        Args:
            size: The file's, in bytes.
            fill: Reads on in the file until a buffer is full. Raises ValueError if the file ends too early.

        Raises:
            ValueError: The file holds no ledger of this version and kind of machine, or a damaged one.
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
        table = _columns(capacity)
        body = [memoryview(column).cast("B") for column in table]
        for column in body:
            fill(column)
        if _checksum(numbers, body) != checksum:
            raise ValueError("its checksum is wrong")
        ledger = cls()
        ledger._table = table
        ledger._count = int.from_bytes(numbers[8:], "big")
        ledger._seen = bytearray(capacity)
        if ledger._count * 10 > capacity * 7 + 10 or ledger._count != capacity - table[0].count(_EMPTY):
            raise ValueError("it does not add up")
        return ledger


def _put(column: array[int], slots: array[int], values: array[int]) -> None:
    for slot, value in zip(slots, values, strict=True):
        column[slot] = value


def _checksum(numbers: Bytes, body: list[memoryview]) -> bytes:
    checksum = zlib.crc32(_ORDER + numbers)
    for column in body:
        checksum = zlib.crc32(column, checksum)
    return checksum.to_bytes(4, "big")
