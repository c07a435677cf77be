"""The ledger, a stat cache: the header facts that earlier scans read, so that a scan opens only changed files.

An entry maps the inode of a file, and a fingerprint of its times and size, to the time of its session's last use and
to its pin. Any write, rename or replacement of a file changes its inode, its size, or its change time, which no
program can set. A file with two names gets no entry, because only one of them can be a session's. A file that was
changed less than `RACY_SECONDS` before it was read gets none either, because another change within the clock's tick
would look the same. Files that this process itself has saved are known without reading, see
`miniclaw.session.files.saved_files`.

The ledger only ever saves a read. A ledger that is missing, damaged, or of another version counts as empty. No entry
leads to a removal, because each removal reads the real file.

In memory and in the file alike it is three columns, sorted by inode, 24 bytes a session: it has to fit beside a scan of
a hundred thousand sessions on a small machine. A scan looks up in columns that it does not change, and adds new entries
beside them, until `settle` merges both. Its file is in the state directory; one that cannot be read or written costs
only time.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import chain, compress, pairwise
from typing import Final, Self

from miniclaw.clock import from_microseconds, to_microseconds
from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import READ_FLAGS, fill, opened, replace_file
from miniclaw.session.disk.syscalls import Bytes
from miniclaw.session.files.subdirectory import Folder

LEDGER_NAME: Final = "sessions.ledger"

_FAT_STEP: Final = 10_000_000  # ns; of exFAT

MAGIC: Final = b"miniclaw-ledger-2\n"

_ORDER: Final = b"<" if sys.byteorder == "little" else b">"
_HEAD_BYTES: Final = len(MAGIC) + 1 + 4 + 8
_TYPES: Final = "QQq"  # of the columns: inodes in ascending order, fingerprints, and uses as `encode_use` encodes them
_ENTRY_BYTES: Final = 24
_MOST_ENTRIES: Final = 10_000_000

MAX_FILE_BYTES: Final = _HEAD_BYTES + _ENTRY_BYTES * _MOST_ENTRIES
"""Largest file of a ledger, inclusive."""

_MASK: Final = (1 << 64) - 1
_PLACE_BITS: Final = 32

log: Final = get_logger("miniclaw.session.ledger")


def fingerprint(mtime_ns: int, ctime_ns: int, size: int) -> int:
    """Return both times and the size of a file, mixed into one number of 64 bits."""
    return (mtime_ns * 1_000_003 ^ ctime_ns) + size * 0x9E3779B97F4A7C15 & _MASK


def _columns(values: list[int] | tuple[()] = ()) -> list[array[int]]:
    return [array(code, values) for code in _TYPES]


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
        self._columns = _columns()
        self._seen = bytearray()  # one byte an entry: 1 if it was found
        self._next = 0  # the place after the entry found last: a scan asks in the order of inodes
        self._added = _columns()  # in the order of `add`
        self._recent: Mapping[int, tuple[int, int]] = {}
        self.changed: bool = False

    def __len__(self) -> int:
        """Return how many files can be found, without those that were added since `settle`."""
        return len(self._seen) + len(self._recent)

    def __repr__(self) -> str:
        return f"<Ledger entries={len(self._seen)} added={len(self._added[0])}>"

    @property
    def can_be_loaded(self) -> bool:
        """False if the ledger has so many entries that `read` would refuse its file."""
        return len(self._seen) <= _MOST_ENTRIES

    def recall(self, recent: Mapping[int, tuple[int, int]]) -> None:
        """Make newer files known to `find`, too: by inode, their fingerprint and the result."""
        self._recent = recent

    def find(self, inode: int, state: int) -> int | None:
        """Return the last use and the pin of a file's session, as `encode_use` encodes them.

        Args:
            inode: The file's.
            state: Its `fingerprint`.

        Returns:
            None if the file is not known in this state. An entry that was found survives `settle`.
        """
        inodes, states, used = self._columns
        place = self._next
        if place >= len(inodes) or inodes[place] != inode:
            place = bisect_left(inodes, inode)
        if place < len(inodes) and inodes[place] == inode and states[place] == state:
            self._seen[place] = 1
            self._next = place + 1
            return used[place]
        recent = self._recent.get(inode)
        if recent is None or recent[0] != state:
            return None
        self.add(inode, *recent)
        return recent[1]

    def add(self, inode: int, state: int, used: int) -> None:
        """Enter a file, in place of the earlier entry for its inode; `find` knows it after `settle`.

        Args:
            inode: The file's; a file is left out if this is 0 or exceeds 64 bits.
            state: Its `fingerprint`.
            used: The result for `find`.
        """
        if 0 < inode <= _MASK:
            inodes, states, its_used = self._added
            inodes.append(inode)
            states.append(state)
            its_used.append(used)

    def settle(self) -> None:
        """Merge the added entries, and drop entries neither found nor added: their files are gone or changed.

        To be called after a whole scan.
        """
        added, self._added, self._recent = self._added, _columns(), {}
        if not added[0] and all(self._seen):
            return
        self.changed = True
        order: array[int] | None = None
        for number, more in enumerate(added):
            # One column after the other: there are never two whole ledgers.
            column = array(more.typecode, compress(self._columns[number], self._seen))
            if more:
                column.extend(more)
                order = order or array("I", _last_in_order(column))
                column = array(more.typecode, map(column.__getitem__, order))
                del more[:]
            self._columns[number] = column
        self._seen = bytearray(len(self._columns[0]))

    # As a file ------------------------------------------------------------------------------------------------

    def encoded(self) -> list[Bytes]:
        """Return the content of the ledger's file in pieces; the ledger must not be changed until they are written."""
        body = [memoryview(column).cast("B") for column in self._columns]
        count = len(self._seen).to_bytes(8, "big")
        return [MAGIC + _ORDER + _checksum(count, body) + count, *body]

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
        order, checksum, number = (bytes(part) for part in (head[-13:-12], head[-12:-8], head[-8:]))
        if order != _ORDER:
            raise ValueError("it was written by another kind of machine")
        count = int.from_bytes(number, "big")
        if count > _MOST_ENTRIES or size != _HEAD_BYTES + _ENTRY_BYTES * count:
            raise ValueError("its size is wrong")
        ledger = cls()
        ledger._columns = [column * count for column in _columns([0])]
        ledger._seen = bytearray(count)
        body = [memoryview(column).cast("B") for column in ledger._columns]
        for column in body:
            fill(column)
        if _checksum(number, body) != checksum:
            raise ValueError("its checksum is wrong")
        return ledger


class LedgerFile:
    """The file of the ledger. Its methods block; one thread at a time.

    Args:
        folder: The folder of the file.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def load(self) -> Ledger:
        """Return the ledger; an empty one if its file is missing or cannot be read."""
        fs = self._folder.fs
        try:
            with self._folder.opened() as folder, opened(fs, LEDGER_NAME, READ_FLAGS, dir_fd=folder) as fd:
                size = fs.fstat(fd).st_size
                return Ledger.read(size if size <= MAX_FILE_BYTES else 0, partial(fill, fs, fd))
        except FileNotFoundError:
            return Ledger()
        except (OSError, StoreError, ValueError, MemoryError) as error:
            log.info("Ledger is begun anew; this scan reads every file", problem=str(error) or "not enough memory")
            return Ledger()

    def save(self, ledger: Ledger) -> None:
        """Write the ledger, if it has changed since it was loaded; one that is too large is not written."""
        if not (ledger.changed and ledger.can_be_loaded):
            return
        try:
            with self._folder.made(durable=False) as folder:
                replace_file(self._folder.fs, LEDGER_NAME, iter(ledger.encoded()), dir_fd=folder)
        except (OSError, StoreError) as error:
            log.warning("Ledger could not be written; the next scan reads more files", problem=str(error))
        else:
            ledger.changed = False


def _last_in_order(inodes: array[int]) -> Iterator[int]:
    """Yield the places of some inodes in ascending order; of equal ones, the last place.

    A scan enters files in long ascending runs, which are merged.
    """
    starts = [0, *(place for place, (one, other) in enumerate(pairwise(inodes), 1) if one > other), len(inodes)]
    runs = (_numbered(inodes, start, end) for start, end in pairwise(starts))
    for one, other in pairwise(chain(merge(*runs), [0])):
        if one >> _PLACE_BITS != other >> _PLACE_BITS:
            yield one & ((1 << _PLACE_BITS) - 1)


def _numbered(inodes: array[int], start: int, end: int) -> Iterator[int]:
    return (inodes[place] << _PLACE_BITS | place for place in range(start, end))


def _checksum(count: Bytes, body: list[memoryview]) -> bytes:
    checksum = zlib.crc32(_ORDER + count)
    for column in body:
        checksum = zlib.crc32(column, checksum)
    return checksum.to_bytes(4, "big")
