"""The history of removals and their reasons: one line of JSON for each event, kept long after the sessions are deleted.

``history.jsonl`` in the state directory. An event is appended and synced. A caller whose append fails reports that and
continues: a missing record is no reason to stop a cleanup. A line cut off by a crash remains separate: the next event
begins on a line of its own, and a reader counts the lines that it cannot read. Fields and kinds of events from a newer
version are kept in the file, and skipped by readers.

The file is bounded. Beyond `MAX_AGE` or `MAX_BYTES` it is rewritten, atomically, with the newest `KEEP_AGE` of its
events that fit into `KEEP_BYTES`; unreadable lines are left out then.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import opened_to_write, read_whole, replace_file, store_errors, write_all
from miniclaw.session.disk.directories import is_our_own, opened_to_read, why_no_session_file
from miniclaw.session.disk.sync import sync_directory, sync_file
from miniclaw.session.entries import FileTally, Tally
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.types import AwareDatetime

HISTORY_NAME: Final = "history.jsonl"

VERSION: Final = 1

MAX_AGE: Final = timedelta(days=400)
"""Greatest age of the oldest event after an append, inclusive."""

KEEP_AGE: Final = timedelta(days=370)  # less than MAX_AGE, else a file of that age would be rewritten daily

MAX_BYTES: Final = 4 * 1024 * 1024
"""Greatest size of the file after an append, inclusive."""

KEEP_BYTES: Final = 3 * 1024 * 1024

MAX_SESSIONS: Final = 10_000
"""Most sessions that an event names, inclusive; the others are only counted."""

MAX_EVENT_BYTES: Final = 2 * 1024 * 1024
"""Longest line of an event in bytes, inclusive, unless it is longer without sessions; ids may be long."""

_LAST_EVENTS: Final = 3
_READ_BYTES: Final = 2 * MAX_BYTES  # of a larger file only the end is read: it is not ours, or hostile

# O_NONBLOCK: a FIFO of that name is an error instead of a wait for its reader.
_APPEND_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

log: Final = get_logger("miniclaw.session.history")

EventKind: TypeAlias = Literal[
    "cleanup",
    "announced",
    "held",
    "deleted",
    "erased",
    "restored",
    "moved",
    "quarantined",
    "trash_emptied",
    "interrupted",
    "pending",
    "late",
]
"""The kinds of events.

``cleanup``: a run ended. ``announced``: sessions had expired before they were announced, or the mode is to announce.
``held``: the guard against mass removal held a run. ``deleted``, ``erased``: a command removed sessions or files in
quarantine, or all of a person's data. ``restored``: a session was restored from trash or quarantine, or a file was
returned from the trash to quarantine. ``moved``: a session has another id; `because` names it. ``quarantined``: a
command moved files to quarantine. ``trash_emptied``: a command emptied the trash. ``interrupted``: a run was broken
off. ``pending``: a removal was under way when its caller stopped waiting for the disk; ``late``: that removal has
happened. If no ``late`` follows, the program ended first; the next start puts back the sessions that were not yet
removed.
"""

Actor: TypeAlias = Literal["service", "command", "api", "program"]
"""The actor of an event: the cleanup service, a user's command, an API client, or a program that embeds the runtime."""


class HistorySession(Struct, frozen=True):
    """A session that an event names, with the bytes of its file and the rule or the command; None: not known."""

    session_id: str
    last_accessed: AwareDatetime | None = None
    size: int = 0
    reason: str = ""


class HistoryEvent(Struct, frozen=True, kw_only=True):
    """One line of the history.

    Attributes:
        event: A newer version may know more kinds.
        reasons: Reason -> the sessions removed for it, or to be removed.
        bytes_freed: Bytes freed on the disk.
        sessions_scanned: Session files examined.
        because: An explanation, if the event needs one, as for a run that was held.
        sessions: The sessions of the event, at most `MAX_SESSIONS`.
        sessions_omitted: The number of its further sessions.
        leftovers: Kind -> the leftovers removed, or to be removed.
        announced: Sessions that a run has announced.
        goes_at: Time at which the announced sessions are deleted unless they are used; None: not known.
    """

    version: int = VERSION
    at: AwareDatetime
    event: EventKind | str
    by: Actor | str
    reasons: dict[str, Tally] = field(default_factory=dict)
    bytes_freed: int = 0
    duration_seconds: float = 0.0
    sessions_scanned: int = 0
    because: str = ""
    sessions: list[HistorySession] = field(default_factory=list)
    sessions_omitted: int = 0
    leftovers: dict[str, FileTally] = field(default_factory=dict)
    announced: int = 0
    goes_at: AwareDatetime | None = None


class _Moment(Struct, frozen=True):
    at: AwareDatetime


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(HistoryEvent).decode
_decode_moment: Final = msgspec.json.Decoder(_Moment).decode


class History:
    """The history. Its methods block, and may be called from any thread.

    Only the owner of the sessions directory may append.
    """

    def __init__(self, folder: Folder) -> None:
        """Make a history over a folder, which the first event creates."""
        self.path: Path = folder.path / HISTORY_NAME
        self._folder = folder
        self._fs = folder.fs
        self._one_at_a_time = threading.Lock()  # for appends: one may rewrite the file
        self._name_is_durable = False  # of the file; guarded by the lock

    def append(self, event: HistoryEvent) -> None:
        """Append an event, durably, and bound the file.

        Raises:
            StoreIOError: The event is not in the history, or a power cut may delete it. The caller continues: nothing
                else is affected.
        """
        with self._one_at_a_time, store_errors(self.path, "append to"):
            line = _encode_line(event)
            with self._folder.made() as folder:
                self._append(folder, line)
                self._bound(folder, event.at)

    def _append(self, folder: int, line: bytes) -> None:
        fs = self._fs
        with opened_to_write(fs, HISTORY_NAME, _APPEND_FLAGS, dir_fd=folder) as fd:
            status = fs.fstat(fd)
            if problem := why_no_session_file(status.st_mode):
                raise OSError(problem)
            size = status.st_size
            if size and fs.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line that a crash cut off remains separate
            if not is_our_own(status):
                # A hard link, as from a backup: the content under its other name must not change.
                replace_file(fs, HISTORY_NAME, self._tail(fd, size) + line, dir_fd=folder)
                self._name_is_durable = False
            else:
                try:
                    write_all(fs, fd, line)
                    sync_file(fs, fd)
                except BaseException:
                    try:
                        fs.ftruncate(fd, size)
                    except OSError as error:
                        log.warning(
                            "History has an event that was not completed", path=str(self.path), error=error.strerror
                        )
                    raise
        if not (size and self._name_is_durable):
            sync_directory(fs, folder)
            self._name_is_durable = True

    def _bound(self, folder: int, now: datetime) -> None:
        """Rewrite the file if it exceeds its bounds. A failure is logged as a WARNING: the event itself is recorded."""
        try:
            with opened_to_read(self._fs, HISTORY_NAME, dir_fd=folder) as (fd, status):
                size = status.st_size
                lines = _split(self._tail(fd, size))
            if size <= MAX_BYTES and not any(now - (_time_of(line) or now) > MAX_AGE for line in lines):
                return
            kept = _newest(lines)
            if len(kept) == size:
                return
            replace_file(self._fs, HISTORY_NAME, kept, dir_fd=folder)
            sync_directory(self._fs, folder)
        except OSError as error:
            log.warning("History could not be shortened", path=str(self.path), error=str(error.strerror))

    def read(self, limit: int | None = None) -> tuple[list[HistoryEvent], int]:
        """Return the events, at most so many of the newest, the newest last; and the number of unreadable lines.

        Raises:
            StoreIOError: The file cannot be read. A missing file counts as empty.
        """
        events: list[HistoryEvent] = []
        damaged = 0
        with store_errors(self.path, "read"):
            for line in self._lines():
                try:
                    events.append(_decode(line))
                except (ValueError, RecursionError):
                    damaged += 1
        return events if limit is None else events[max(0, len(events) - limit) :], damaged

    def lines(self) -> list[bytes]:
        """Return the lines of the file, oldest first, for `read_lines`; errors as `read`."""
        with store_errors(self.path, "read"):
            return self._lines()

    def _lines(self) -> list[bytes]:
        try:
            with self._folder.opened() as folder, opened_to_read(self._fs, HISTORY_NAME, dir_fd=folder) as (fd, status):
                return _split(self._tail(fd, status.st_size))
        except FileNotFoundError:
            return []

    def _tail(self, fd: int, size: int) -> bytes:
        """Return the file, or the end of a huge one, from the beginning of a line."""
        begin = max(0, size - _READ_BYTES)
        data = read_whole(self._fs, fd, size=size, at=begin)
        return data[data.find(b"\n") + 1 :] if begin else data


def read_lines(lines: Iterable[bytes]) -> list[HistoryEvent]:
    """Return the events of some lines, without unreadable ones."""
    events: list[HistoryEvent] = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            events.append(_decode(line))
    return events


def _encode_line(event: HistoryEvent) -> bytes:
    try:
        named = min(len(event.sessions), MAX_SESSIONS)
        while True:
            more = len(event.sessions) - named
            omitted = event.sessions_omitted + more
            line = _encode(replace(event, sessions=event.sessions[:named], sessions_omitted=omitted))
            if len(line) <= MAX_EVENT_BYTES or not named:
                return line + b"\n"
            named //= 2
    except (ValueError, TypeError, OverflowError) as error:
        raise OSError(f"the event is none that could be read again: {error}") from error


def merge_histories(here: bytes, there: bytes) -> bytes:
    """Return the lines of two files by time; lines of one file keep their order.

    A line of `there` that `here` also has is taken once, so that a repeated merge changes nothing. An unreadable line
    remains behind the line before it.
    """
    ours = _split(here)
    known = Counter(ours)
    new = []
    for line in _split(there):
        if known[line]:
            known[line] -= 1
        else:
            new.append(line)
    if not new:
        return here
    return b"".join(line + b"\n" for _, line in heapq.merge(_timed(ours), _timed(new), key=itemgetter(0)))


def _timed(lines: list[bytes]) -> Iterator[tuple[datetime, bytes]]:
    """Yield each line with its time; an unreadable line has the time of the line before it."""
    time = datetime.min.replace(tzinfo=UTC)
    for line in lines:
        time = _time_of(line) or time
        yield time, line


def _split(data: bytes) -> list[bytes]:
    """Return the lines of a history that are not blank, without their ends."""
    return [line for line in data.split(b"\n") if line.strip()]


def _time_of(line: bytes) -> datetime | None:
    """Return the time of a line's event; None for an unreadable line."""
    try:
        return _decode_moment(line).at
    except (ValueError, RecursionError):
        return None


def _newest(lines: list[bytes]) -> bytes:
    """Return the lines to keep, unchanged."""
    timed = [(time, line) for line in lines if (time := _time_of(line)) is not None]
    # One event after a jump of the clock must not make the others look old: the earliest of the last three counts.
    now = min((time for time, _ in timed[-_LAST_EVENTS:]), default=datetime.min.replace(tzinfo=UTC))
    kept: list[bytes] = []
    size = 0
    for time, line in reversed(timed):
        size += len(line) + 1
        if size > KEEP_BYTES:
            break
        if now - time <= KEEP_AGE:
            kept.append(line + b"\n")
    return b"".join(reversed(kept))
