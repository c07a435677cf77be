"""The log of a `FileStore`: the events, announcements and sweeps of its directory that no session file has.

``store.log`` in the state folder. Each record is a line: the checksum of its JSON, and the JSON. A record is appended
and synced. A record that is cut off or damaged is skipped by readers, and no record is ever a reason to delete: without
an announcement, the next sweep announces anew.

A removal is recorded twice, so that the audit log never lacks one: it is begun, and ended or dropped. After a crash
between the two, the files decide which of both it was (`miniclaw.session.as_store.removal`).

The audit log has at most `MAX_LINES` lines; announcements of the past end after `KEEP_ANNOUNCED`. The file is rewritten
without what no longer counts when it is opened, and after `COMPACT_BYTES` of new records.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import opened_to_write, read_whole, replace_file, store_errors, write_all
from miniclaw.session.disk.directories import is_our_own, opened_to_read, why_no_session_file
from miniclaw.session.disk.sync import sync_directory, sync_file
from miniclaw.session.files.subdirectory import Folder
from miniclaw.stores.types import AuditLine

LOG_NAME: Final = "store.log"

MAX_LINES: Final = 100_000
"""Most lines of the audit log, inclusive; the oldest are dropped."""

KEEP_ANNOUNCED: Final = timedelta(days=400)
"""Time after `due_at` for which an announcement is kept."""

COMPACT_BYTES: Final = 16 * 1024 * 1024

# O_NONBLOCK: a FIFO of that name is an error instead of a wait for its reader.
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

log: Final = get_logger("miniclaw.stores")


class Due(Struct, frozen=True, array_like=True):
    """An announced removal; it counts only as long as the session's last use is this one."""

    session_id: str
    last_accessed: datetime
    due_at: datetime


class Announced(Struct, frozen=True, tag=True):
    """Announcements that were made in one step."""

    due: Sequence[Due]


class Begun(Struct, frozen=True, tag=True):
    """An event that is about to happen, as the audit log will have it."""

    line: AuditLine


class Ended(Struct, frozen=True, tag=True):
    """A line of the audit log; the event that was begun under its number has happened."""

    line: AuditLine


class Dropped(Struct, frozen=True, tag=True):
    """The event that was begun under this number has not happened."""

    number: int


class Swept(Struct, frozen=True, tag=True):
    """The beginning of the last completed sweep, and its note."""

    began: datetime
    note: bytes


Record: TypeAlias = Announced | Begun | Ended | Dropped | Swept

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode


class EventLog:
    """The log of one directory. Only the owner of the directory may write.

    The attributes are changed on the trio thread, by `apply`; `read`, `write` and `append` block, and are called one at
    a time.

    Attributes:
        lines: The audit log, by number.
        begun: Events that were begun and neither ended nor dropped, by number.
        due: Session id -> its announcement.
        swept: The last completed sweep; None: none is known.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._fs = folder.fs
        self.lines: dict[int, AuditLine] = {}
        self.begun: dict[int, AuditLine] = {}
        self.due: dict[str, Due] = {}
        self.swept: Swept | None = None
        self._grown = 0  # bytes of records that were appended since the file was written whole

    @property
    def is_long(self) -> bool:
        """True if enough was appended that the file should be written whole."""
        return self._grown > COMPACT_BYTES

    def apply(self, records: Sequence[Record]) -> None:
        """Enter records."""
        for record in records:
            match record:
                case Announced(due):
                    self.due |= {each.session_id: each for each in due}
                case Begun(line):
                    self.begun[line.number] = line
                case Ended(line):
                    self.begun.pop(line.number, None)
                    self.lines[line.number] = line
                    self.due.pop(line.session_id, None)
                    if len(self.lines) > MAX_LINES:
                        del self.lines[min(self.lines)]
                case Dropped(number):
                    self.begun.pop(number, None)
                case Swept():
                    self.swept = record

    def read(self, now: datetime) -> None:
        """Enter the records of the file, and rewrite it if it has others than those that count; blocks.

        Raises:
            StoreIOError: The file cannot be read or written. A missing file counts as empty.
        """
        damaged, number, is_torn = 0, 0, False
        for line in self._raw_lines():
            try:
                self.apply([_parsed(line)])
                number, is_torn = number + 1, False
            except (ValueError, RecursionError):
                damaged, is_torn = damaged + 1, True
        if damaged > is_torn:  # a crash may cut off the last one
            log.warning("Log of the store has damaged records", path=str(self._folder.path / LOG_NAME), records=damaged)
        self.due = {name: each for name, each in self.due.items() if now - each.due_at < KEEP_ANNOUNCED}
        if damaged or number != len(self.records()):
            self.write(self.records())

    def records(self) -> list[Record]:
        """Return the records that count."""
        records: list[Record] = [Ended(line) for line in self.lines.values()]
        records += [Begun(line) for line in self.begun.values()]
        records += [Announced([due]) for due in self.due.values()]
        return records if self.swept is None else [*records, self.swept]

    def write(self, records: Sequence[Record]) -> None:
        """Replace the file, durably; blocks.

        Raises:
            StoreIOError: The old file is still there, or may return after a power cut.
        """
        with self._folder.made() as folder, store_errors(self._folder.path, "write", LOG_NAME):
            replace_file(self._fs, LOG_NAME, b"".join(map(_line, records)), dir_fd=folder)
            sync_directory(self._fs, folder)
        self._grown = 0

    def append(self, records: Sequence[Record]) -> None:
        """Append records, durably; blocks.

        Raises:
            StoreIOError: Some of the records may be in the file.
        """
        data = b"".join(map(_line, records))
        with (
            self._folder.made() as folder,
            store_errors(self._folder.path, "write", LOG_NAME),
            opened_to_write(self._fs, LOG_NAME, _FLAGS, dir_fd=folder) as fd,
        ):
            status = self._fs.fstat(fd)
            if problem := why_no_session_file(status.st_mode):
                raise OSError(problem)
            if is_our_own(status):
                write_all(self._fs, fd, data)
                sync_file(self._fs, fd)
            else:  # a hard link, as from a backup: the content under its other name must not change
                replace_file(self._fs, LOG_NAME, read_whole(self._fs, fd) + data, dir_fd=folder)
            if not status.st_size or not is_our_own(status):
                sync_directory(self._fs, folder)
        self._grown += len(data)

    def _raw_lines(self) -> Iterator[bytes]:
        with store_errors(self._folder.path, "read", LOG_NAME), suppress(FileNotFoundError):
            with self._folder.opened() as folder, opened_to_read(self._fs, LOG_NAME, dir_fd=folder) as (fd, status):
                data = read_whole(self._fs, fd, size=status.st_size)
            yield from filter(None, data.split(b"\n"))


def _line(record: Record) -> bytes:
    text = _encode(record)
    # A line that a crash cut off is ended by the next one.
    return b"\n%08x %b" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> Record:
    checksum, text = line[:8], line[9:]
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("its checksum is wrong")
    record: Record = _decode(text)
    return record
