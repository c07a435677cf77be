"""The journal of an owned sessions directory: commits, the segments that they need, and the deletion of the others.

Promises, in this order of rules:

1. A record counts as written only after its segment is synced.
2. After any error a segment is never written to again: a failed sync cannot be repeated, and what is half written
   cannot be trusted. The whole batch is written once more, to a new segment.
3. Segments are deleted oldest first, each deletion synced before the next one, and only if for every session in them a
   synced file holds what they hold.
4. The index counts every segment that a commit has touched, also in vain: what it wrote may be on the disk.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from miniclaw.errors import StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import close_quietly, create_exclusively, store_errors
from miniclaw.session.disk.sync import sync_data, sync_directory
from miniclaw.session.files.ownable import OwnableDirectory
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.journal.overlay import segment_name
from miniclaw.session.journal.records import FORMAT, JOURNAL_NAME, Body, body, lines
from miniclaw.session.names import file_name_of_live

SEGMENT_BYTES: Final = 1024 * 1024
"""Size of a segment. A batch that is larger than the rest of it begins a new one, which it may exceed."""

MAX_SEGMENTS: Final = 8
"""Number of segments beyond which the sessions that keep the older ones are saved, due or not: it bounds a start."""

WAIT_SECONDS: Final = 2.0
"""Time after which a commit counts as hung."""

# In pieces: a larger write would make one large folio, all of which each later commit would write.
_PIECE: Final = b"\n" * 4096
_FRAME_BYTES: Final = 64  # of a line beside its body, at most

log = get_logger("miniclaw.session.store")


class Batch(Struct):
    """Records that are committed together.

    Attributes:
        bodies: The records.
        ids: The ids of their sessions.
        needs: Id -> whether a synced file holds what the batch has of that session; asked on the trio thread.
        is_given_up: True once it may not be written any more: its caller has written it again.
    """

    bodies: list[Body] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    needs: dict[str, Callable[[], bool]] = field(default_factory=dict)
    is_given_up: bool = False


class _Segment(Struct):
    ids: set[str] = field(default_factory=set)
    needs: dict[str, list[Callable[[], bool]]] = field(default_factory=dict)
    is_suspect: bool = False  # a write to it has failed: what it holds has to be in files soon


class _Writer:
    """The open segment, and the lock that its one committing thread holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0
        self.fd = -1
        self.at = 0
        self.is_given_up = False


class Journal:
    """The journal. `commit`, `void`, `prepare` and `delete` block, in any thread; all else is for the trio thread.

    Args:
        directory: Owned by this process.
        old: The segments of an earlier process, whose records are all in files, with the sessions in each.
        next_record: A number that no record has.
    """

    def __init__(
        self, directory: OwnableDirectory, old: Mapping[int, Iterable[str]] | None = None, *, next_record: int = 1
    ) -> None:
        self._directory = directory
        self._folder = Folder.within(directory, JOURNAL_NAME)
        self._next_record = next_record
        # Changed under this lock, which is never held during a system call.
        self._index = threading.Lock()
        self._segments: dict[int, _Segment] = {  # oldest first
            number: _Segment(set(ids)) for number, ids in sorted((old or {}).items())
        }
        self._last_number = max(self._segments, default=0)
        # File name -> session id, and number of segments that may hold records of the session.
        self._held: dict[str, tuple[str, int]] = {}
        self._kept: set[str] = set()  # file names, by `keep_records`
        for segment in self._segments.values():
            self._hold(segment.ids)
        self._writer = _Writer()
        self._hung: list[_Writer] = []  # given up; their threads may still be at work
        self._spare: tuple[int, int] | None = None  # number and descriptor of the next segment

    @property
    def path(self) -> Path:
        """The folder of the segments."""
        return self._folder.path

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self._segments)

    @property
    def last_record(self) -> int:
        """The number of the last record so far; later records have higher ones."""
        return self._next_record - 1

    @property
    def needs_spare(self) -> bool:
        """True if it is time for `prepare`."""
        return self._spare is None and self._writer.at > SEGMENT_BYTES // 2

    # Any thread -----------------------------------------------------------------------------------------------

    def holds(self, name: str) -> bool:
        """Return whether a segment may hold records of the session with a file of this name, unless they are kept."""
        return name in self._held and name not in self._kept

    def commit(self, batch: Batch) -> None:
        """Write records and sync them.

        Raises:
            StoreIOError: Also in a second, new segment: nothing counts as written, and what got to the disk does no
                harm.
            OwnershipLostError, ForkedRuntimeError: As `OwnableDirectory.check_owned`.
        """
        self._directory.check_owned()
        size = sum(map(len, batch.bodies)) + _FRAME_BYTES * len(batch.bodies)
        writer = self._lock()
        try:
            try:
                self._write(writer, batch, size)
            except OSError as error:
                log.warning("Journal segment failed; another one is begun", path=self._name_of(writer),
                            error=error.strerror)  # fmt: skip
                self._distrust(writer)
                with store_errors(self.path, "write"):
                    try:
                        self._write(writer, batch, size)
                    except OSError:
                        self._distrust(writer)
                        raise
        finally:
            writer.lock.release()

    def void(self, names: Iterable[str]) -> None:
        """Make the records of some sessions count no more, before their files vanish or are replaced by others.

        Args:
            names: The names of the files. Those of which no segment has records need no sync.

        Raises:
            StoreIOError: The records may still count; the files must stay.
        """
        with self._index:
            held = [self._held[name][0] for name in names if name in self._held]
        if held:
            self.commit(Batch([body("void", {"s": each}) for each in held], set(held)))

    def prepare(self) -> None:
        """Make the next segment, once half of the present one is used: a full disk then has room for a `void`.

        A failure is a WARNING.
        """
        writer = self._lock()
        try:
            number = self._take_number()
            self._spare = number, self._make(number)
        except OSError as error:
            log.warning("Next journal segment could not be made; the next commit tries again",
                        path=str(self.path), error=error.strerror)  # fmt: skip
        finally:
            writer.lock.release()

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete segments from `spent`, in this order.

        Raises:
            StoreIOError: The rest of them remains, and does no harm.
        """
        if not numbers:
            return
        fs = self._directory.fs
        with self._folder.made() as folder, store_errors(self.path, "delete a segment"):
            for number in numbers:
                with suppress(FileNotFoundError):
                    fs.unlink(segment_name(number), dir_fd=folder)
                sync_directory(fs, folder)
                with self._index:
                    self._let_go(self._segments.pop(number).ids)

    def _lock(self) -> _Writer:
        """Take the lock of the present writer; one that is given up meanwhile is not waited for."""
        while True:
            writer = self._writer
            if writer.lock.acquire(timeout=WAIT_SECONDS):
                if not writer.is_given_up:
                    return writer
                writer.lock.release()

    def _write(self, writer: _Writer, batch: Batch, size: int) -> None:
        fs = self._directory.fs
        _check_time(writer, batch)
        if writer.fd < 0 or (writer.at and writer.at + size > SEGMENT_BYTES):
            self._rotate(writer)
            _check_time(writer, batch)
        bodies = batch.bodies if writer.at else [body("open", {"v": FORMAT}), *batch.bodies]
        with self._index:
            segment = self._segments[writer.number]
            self._hold(batch.ids - segment.ids)
            segment.ids |= batch.ids
            first = self._next_record
            self._next_record += len(bodies)  # also if it fails: no number is used twice
        data = memoryview(lines(first, bodies))
        at = writer.at
        while data:
            written = fs.pwrite(writer.fd, data, at)
            data, at = data[written:], at + written
        sync_data(fs, writer.fd)
        if not fs.fstat(writer.fd).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "somebody has deleted it")
        writer.at = at
        with self._index:
            for session_id, is_saved in batch.needs.items():
                segment.needs.setdefault(session_id, []).append(is_saved)

    def _rotate(self, writer: _Writer) -> None:
        self._close(writer)
        spare, self._spare = self._spare, None
        if spare is not None:
            writer.number, writer.fd = spare
            return
        writer.number = self._take_number()
        writer.fd = self._make(writer.number)

    def _take_number(self) -> int:
        with self._index:
            self._last_number += 1
            self._segments[self._last_number] = _Segment()
            return self._last_number

    def _make(self, number: int) -> int:
        """Make a segment, durable and filled with line feeds; return its descriptor."""
        fs = self._directory.fs
        try:
            with self._folder.made() as folder:
                create_exclusively(fs, segment_name(number), _filling(), dir_fd=folder)
                sync_directory(fs, folder)
                return fs.open(segment_name(number), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except StoreIOError as error:
            raise OSError(error.errno, error.reason) from error

    def _distrust(self, writer: _Writer) -> None:
        with self._index:
            if (segment := self._segments.get(writer.number)) is not None:
                segment.is_suspect = True
        self._close(writer)

    def _close(self, writer: _Writer) -> None:
        if writer.fd >= 0:
            close_quietly(self._directory.fs, writer.fd)
        writer.fd, writer.at = -1, 0

    def _hold(self, ids: Iterable[str]) -> None:
        for session_id in ids:
            name = file_name_of_live(session_id)
            self._held[name] = session_id, self._held.get(name, ("", 0))[1] + 1

    def _let_go(self, ids: Iterable[str]) -> None:
        for session_id in ids:
            name = file_name_of_live(session_id)
            count = self._held[name][1]
            if count == 1:
                del self._held[name]
            else:
                self._held[name] = session_id, count - 1

    def _name_of(self, writer: _Writer) -> str:
        return str(self.path / segment_name(writer.number))

    # The trio thread ------------------------------------------------------------------------------------------

    def give_up_writer(self) -> None:
        """Leave the present segment to a thread that hangs, and begin another one with the next commit."""
        hung = self._writer
        hung.is_given_up = True
        self._hung.append(hung)
        with self._index:
            if (segment := self._segments.get(hung.number)) is not None:
                segment.is_suspect = True
        self._writer = _Writer()

    def need(self, session_id: str, is_saved: Callable[[], bool]) -> None:
        """Keep all segments with records of a session until a synced file holds them."""
        with self._index:
            for segment in self._segments.values():
                if session_id in segment.ids:
                    segment.needs.setdefault(session_id, []).append(is_saved)

    def keep_records(self, session_id: str) -> None:
        """Keep the records of a session until the next start: they fit no file, and quarantine has no room for them.

        No save makes them count no more.
        """
        self._kept.add(file_name_of_live(session_id))
        self.need(session_id, lambda: False)

    def keep(self, number: int) -> None:
        """Keep a segment, and all later ones, until the next start."""
        self._segments[number].needs[""] = [lambda: False]

    def wanting(self) -> set[str]:
        """Return the ids of the sessions to be saved at once, due or not: those that keep old or suspect segments."""
        with self._index:
            numbers = list(self._segments)
            late = {*numbers[:-MAX_SEGMENTS], *(each for each in numbers if self._segments[each].is_suspect)}
            return {session_id for number in late for session_id in self._unsaved(number)}

    def spent(self, *, whole: bool = False) -> list[int]:
        """Return the segments that can be deleted, oldest first, for `delete`.

        Args:
            whole: If true, the present segment is closed, and counts as well, unless a commit is under way.
        """
        writer = self._writer
        if whole and writer.lock.acquire(blocking=False):
            self._close(writer)
            writer.number = 0
            if self._spare is not None:
                close_quietly(self._directory.fs, self._spare[1])
                self._spare = None
            writer.lock.release()
        self._hung = [each for each in self._hung if each.lock.locked()]
        kept = {writer.number, self._spare[0] if self._spare else 0, *(each.number for each in self._hung)}
        numbers: list[int] = []
        with self._index:
            for number in self._segments:
                if number in kept or any(True for _ in self._unsaved(number)):
                    break
                numbers.append(number)
        return numbers

    def _unsaved(self, number: int) -> Iterator[str]:
        needs = self._segments[number].needs
        for session_id, questions in list(needs.items()):
            if all(is_saved() for is_saved in questions):
                del needs[session_id]
            else:
                yield session_id

    def close(self) -> None:
        """Close the present segment; what it holds is for the next start."""
        self._close(self._writer)
        if self._spare is not None:
            close_quietly(self._directory.fs, self._spare[1])
            self._spare = None


def _check_time(writer: _Writer, batch: Batch) -> None:
    """Raise if the caller has given up and has written its batch again: records must not come behind later ones."""
    if batch.is_given_up or writer.is_given_up:
        raise TimeoutError(errno.ETIMEDOUT, "the disk took too long")


def _filling() -> Iterator[bytes]:
    return repeat(_PIECE, SEGMENT_BYTES // len(_PIECE))
