"""The journal over the session files: what a session is when the records that its file lacks are added to it.

Who owns the sessions directory applies the journal once, at the start (`miniclaw.session.journal.replay`), and has the
sessions in memory from then on. Every other reader sees the files through an `Overlay`. Both use `continued`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from miniclaw.errors import JournalFormatError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened, read_whole
from miniclaw.session.disk.directories import RACY_SECONDS, opened_to_read, why_no_directory
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import StoredSession, Verify
from miniclaw.session.format import codec
from miniclaw.session.format.footprint import append_message
from miniclaw.session.journal.records import (
    FORMAT,
    JOURNAL_NAME,
    SEGMENT_SUFFIX,
    Record,
    digest,
    has_news,
    live_records,
    read_segment,
)
from miniclaw.session.names import file_name, parts_of
from miniclaw.session.types import NO_TIME, Session, SessionHeader

PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})
"""Errors that say nothing about a file: the next try may read it."""

log: Final = get_logger("miniclaw.session.store")


class Segment(Struct):
    """A segment as it was read.

    Attributes:
        name: The name of its file.
        records: The records that count.
        problem: Why records may be missing that were acknowledged, in a sentence; empty: none are.
    """

    name: str
    records: list[Record]
    problem: str = ""

    @property
    def number(self) -> int:
        """The number of the segment, in its name."""
        return number_of(self.name) or 0


class Continuation(Struct):
    """A session with the records that its file lacks.

    Attributes:
        session: The session; None: there is none.
        changed: True if it is not as its file has it.
        unfit: The records that do not fit the file, because another program has changed, restored or deleted it.
    """

    session: Session | None
    changed: bool
    unfit: Sequence[Record]


def number_of(name: str) -> int | None:
    """Return the number of the segment of this name; None: it is no segment."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    if not (stem.isascii() and stem.isdecimal()):
        return None
    number = int(stem)
    return number if name == segment_name(number) else None


def segment_name(number: int) -> str:
    """Return the name of the segment of this number."""
    return f"{number:012}{SEGMENT_SUFFIX}"


class KnownSegments:
    """The segments of one journal that a process has read, for its next reading; any thread.

    A segment is read again if its file has another inode, size or time, and as long as its last change was less than
    `RACY_SECONDS` before it was read. One with a problem is always read again. The segments take as much memory as
    their files; those that are no longer there are dropped.
    """

    def __init__(self) -> None:
        # Changed by any thread, in single steps: a name has the status of its file and the segment, or is missing.
        self._known: dict[str, tuple[tuple[int, ...], Segment]] = {}

    def find(self, name: str, status: os.stat_result) -> Segment | None:
        """Return the segment of this name if its file, with this status, is the one that was read."""
        identity, segment = self._known.get(name, ((), None))
        return segment if identity == _identity(status) else None

    def add(self, segment: Segment, status: os.stat_result, began: int) -> None:
        """Enter a segment, whose file had this status when its reading began, in ns since 1970."""
        newest = began - RACY_SECONDS * 1_000_000_000
        if not segment.problem and status.st_mtime_ns < newest and status.st_ctime_ns < newest:
            self._known[segment.name] = (_identity(status), segment)

    def keep(self, names: Collection[str]) -> None:
        """Drop all but the segments of these names."""
        for name in [*self._known]:
            if name not in names:
                self._known.pop(name, None)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_segments(fs: OsCalls, dir_fd: int, path: Path, known: KnownSegments | None = None) -> list[Segment]:
    """Read the segments of a sessions directory, oldest first; none if it has no journal.

    Args:
        fs: The system calls.
        dir_fd: The sessions directory.
        path: Its path, for messages.
        known: The segments that were read before; None: all are read.

    Raises:
        JournalFormatError: A segment was written by a newer version.
        StoreIOError: The journal cannot be listed.
    """
    try:
        with opened(fs, JOURNAL_NAME, DIRECTORY_FLAGS, dir_fd=dir_fd) as folder:
            with fs.scandir(folder) as entries:
                found = sorted((number, entry.name) for entry in entries if (number := number_of(entry.name)))
            read = (_read(fs, name, folder, path / JOURNAL_NAME, known) for _, name in found)
            segments = [segment for segment in read if segment is not None]
            if known is not None:
                known.keep({segment.name for segment in segments})
            return segments
    except FileNotFoundError:
        return []
    except OSError as error:
        if problem := _why_no_folder(fs, dir_fd):
            error = OSError(error.errno, f"{problem}; move it out of the way")
        raise StoreIOError(path / JOURNAL_NAME, "list", error) from error


def _why_no_folder(fs: OsCalls, dir_fd: int) -> str | None:
    with suppress(OSError):
        return why_no_directory(fs.stat(JOURNAL_NAME, dir_fd=dir_fd).st_mode)
    return None


def _read(fs: OsCalls, name: str, folder: int, path: Path, known: KnownSegments | None) -> Segment | None:
    try:
        with opened_to_read(fs, name, dir_fd=folder) as (fd, status):
            if known is not None and (segment := known.find(name, status)) is not None:
                return segment
            began = time_ns()
            records, is_damaged = read_segment(read_whole(fs, fd, size=status.st_size))
    except FileNotFoundError:
        return None  # its owner has just deleted it, because files hold all of it
    except OSError as error:
        if error.errno in PASSING:
            raise
        return Segment(name, [], f"could not read it: {error.strerror}")
    if records and records[0].v > FORMAT:
        raise JournalFormatError(path / name, records[0].v, FORMAT)
    segment = Segment(name, records, "some of its lines are damaged" if is_damaged else "")
    if known is not None:
        known.add(segment, status, began)
    return segment


def continued(session: Session | None, records: Sequence[Record]) -> Continuation:
    """Apply the live records of a session to what its file has.

    A record fits where the file ends as the journal says that it did. What the file holds already is passed over, and
    earlier messages may have been edited by hand. A missing file is made only of records that begin with the first
    message, and only if there never was a file: otherwise it was deleted by hand. A file that a record describes lacks
    nothing that was recorded before that: messages of it were removed since then.

    Args:
        session: The content of the file, which is changed; None: there is no file.
        records: The live records of the session, in their order (`live_records`).
    """
    had_file = any(record.op == "saved" for record in records)
    rest = _behind_file(session, [record for record in records if record.op != "saved"])
    unfit: Sequence[Record] = ()
    before = _state_of(session)
    joins = _ends_as_recorded(session, rest)
    for at, record in enumerate(rest):
        is_first = record.n == 0 and not record.describes_file
        if session is None and is_first and not had_file and record.life and record.la:
            session = Session(record.s, *parts_of(record.s), record.life, record.la)
        if session is None or session.created_at != record.life or not _fits(session, record, joins=joins):
            unfit = unfit_of(rest[at:])
            break
        if record.op == "add" and record.n == len(session.messages):
            size = len(memoryview(record.m)) + 1  # and a comma
            append_message(session, codec.read_message(record.m, session.last_accessed), size)
        session.last_accessed = max(session.last_accessed, record.la or session.last_accessed)
        session.pinned = record.pinned
    return Continuation(session, _state_of(session) != before, unfit)


def _behind_file(session: Session | None, records: Sequence[Record]) -> Sequence[Record]:
    """Return the records that still count for a file: if one of them describes it, only those behind its `upto`."""
    if session is None:
        return records
    for record in reversed(records):
        if (
            record.describes_file
            and (record.life, record.la) == (session.created_at, session.last_accessed)
            and (record.pinned, record.count) == (bool(session.pinned), len(session.messages))
            and record.prev == _last_digest(session)
        ):
            return [each for each in records if each.i > record.upto]
    return records


def _state_of(session: Session | None) -> tuple[int, datetime, bool] | None:
    """Return all that records change of a session."""
    return None if session is None else (len(session.messages), session.last_accessed, bool(session.pinned))


def unfit_of(records: Sequence[Record]) -> Sequence[Record]:
    """Return those of records that fit nowhere which have to be kept: all, or none if they have no message."""
    rest = [record for record in records if record.op != "saved"]
    return rest if any(record.op == "add" for record in rest) else ()


def _fits(session: Session, record: Record, *, joins: bool) -> bool:
    """Return whether the session has what a record adds, or ends where it goes on."""
    count = len(session.messages)
    if record.op != "add":
        return record.n <= count
    if record.n < count:
        return joins or digest(session.messages[record.n]) == _digest_of(record)
    return record.n == count and record.prev == _last_digest(session)


def _ends_as_recorded(session: Session | None, records: Sequence[Record]) -> bool:
    """Return whether the records go on where the file ends, or end where it does."""
    if session is None:
        return False
    count, last = len(session.messages), None
    for record in records:
        if record.op == "add":
            last = record
            if record.n >= count:
                return record.n == count and record.prev == _last_digest(session)
    return last is not None and digest(session.messages[last.n]) == _digest_of(last)


def _last_digest(session: Session) -> str:
    return digest(session.messages[-1]) if session.messages else ""


def _digest_of(record: Record) -> str:
    return digest(codec.read_message(record.m, record.la or NO_TIME))


class Overlay:
    """The live records of a journal, for a reader who does not own the sessions directory.

    Read before any file: what a save writes into a file meanwhile is passed over then.

    Args:
        records: The live records, by session id.

    Attributes:
        ids: The ids of the sessions that have records, by the names of their files.
    """

    def __init__(self, records: Mapping[str, Sequence[Record]]) -> None:
        self._records = {
            session_id: its_records for session_id, its_records in records.items() if has_news(its_records)
        }
        self.ids: dict[str, str] = {file_name(session_id): session_id for session_id in self._records}

    @classmethod
    def read(cls, fs: OsCalls, dir_fd: int, path: Path, known: KnownSegments | None = None) -> Self:
        """Read the journal of a sessions directory; arguments and errors as for `read_segments`.

        A segment that cannot be read, or is damaged, is a WARNING: the next owner reports it.
        """
        segments = read_segments(fs, dir_fd, path, known)
        if any(segment.problem for segment in segments):
            # Its owner may have written two batches during the first read.
            segments = read_segments(fs, dir_fd, path, known)
        for segment in segments:
            if segment.problem:
                log.warning("Journal cannot be read as a whole; sessions may be shown as they were before",
                            path=str(path / JOURNAL_NAME / segment.name), reason=segment.problem)  # fmt: skip
        return cls(live_records([record for segment in segments for record in segment.records]))

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._records

    def session(self, session_id: str, session: Session | None) -> Continuation:
        """Return a session with its records, as `continued`."""
        return continued(session, self._records.get(session_id, ()))

    def header(self, header: SessionHeader, load: Callable[[], Session] | None = None) -> SessionHeader:
        """Return the header of a session with its records.

        Args:
            header: That of its file.
            load: Returns the content of the file, to judge if the records fit; None: that is assumed.
        """
        records = self._records.get(header.session_id)
        if records is None:
            return header
        if load is not None:
            session = continued(load(), records).session
            return header if session is None else _header_of(session)
        used = max([header.last_accessed, *(record.la for record in records if record.la is not None)])
        return replace(header, last_accessed=used, pinned=records[-1].pinned)

    def verify(self, verify: Verify | None) -> Verify | None:
        """Return a `Verify` that is also true for each session with records: its whole file shows if they fit."""
        if verify is None or not self._records:
            return verify
        return lambda header: header.session_id in self._records or verify(header)

    def unsaved(self, session_id: str) -> StoredSession | None:
        """Return the row of a session that has no file yet; None: the journal has no such session."""
        session = self.session(session_id, None).session
        if session is None:
            return None
        return StoredSession(file_name(session_id), len(codec.encode_session(session)), _header_of(session))


NOTHING: Final = Overlay({})
"""The overlay of an owner, whose memory is newer than the journal."""


def _header_of(session: Session) -> SessionHeader:
    return SessionHeader(
        session.session_id, session.channel, session.chat_id, session.last_accessed, bool(session.pinned)
    )
