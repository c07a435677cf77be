"""The journal of an owned sessions directory: commits, and the deletion of segments.

Promises, in this order of rules:

1. A record counts as written only after its segment is synced.
2. After any error a segment is never written to again: a failed sync cannot be repeated, and what is half written
   cannot be trusted. The whole batch is written once more, to a new segment.
3. Segments are deleted oldest first, each deletion synced before the next one, and only if for every session in them a
   synced file holds what they hold (`miniclaw.session.journal.index`).
4. The order of the records is that of the moments at which their batches got numbers. A batch that was given up before
   that gets none.
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
from miniclaw.session.journal.index import Index
from miniclaw.session.journal.overlay import segment_name
from miniclaw.session.journal.records import FORMAT, JOURNAL_NAME, Body, body, lines
from miniclaw.session.names import file_name_of_live

SEGMENT_BYTES: Final = 1024 * 1024
"""Size of a segment. A batch that is larger than the rest of it begins a new one, which it may exceed."""

WAIT_SECONDS: Final = 2.0
"""Time after which a commit counts as hung."""

# In pieces: a larger write would make one large folio, all of which each later commit would write.
_PIECE: Final = b"\n" * 4096
_FRAME_BYTES: Final = 64  # of a line beside its body, at most

log: Final = get_logger("miniclaw.session.store")


class Batch(Struct):
    """Records that are committed together.

    Attributes:
        records: The records, each with the id of its session.
        needs: Id -> whether a synced file holds what the batch has of that session; asked on the trio thread.
        is_given_up: True once it may not be written any more: its caller has written it again.
    """

    records: list[tuple[str, Body]] = field(default_factory=list)
    needs: dict[str, Callable[[], bool]] = field(default_factory=dict)
    is_given_up: bool = False

    @property
    def size(self) -> int:
        """The bytes of its lines, at most."""
        return sum(len(each) + _FRAME_BYTES for _, each in self.records)


class _Writer:
    """The open segment, and the lock that its one committing thread holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0
        self.fd = -1
        self.at = 0
        self.is_given_up = False


class Journal:
    """The journal. Methods of the part "Any thread" may block; all others are for the trio thread and never do.

    Args:
        directory: Owned by this process.
        old: The segments of an earlier process, whose records are all in files, with the sessions in each.
        next_record: A number that no record has.

    Attributes:
        index: Which segments hold records of which sessions, and which are needed.
    """

    def __init__(
        self, directory: OwnableDirectory, old: Mapping[int, Iterable[str]] | None = None, *, next_record: int = 1
    ) -> None:
        self._directory = directory
        self._folder = Folder.within(directory, JOURNAL_NAME)
        self.index: Index = Index(old or {})
        # Changed under the lock of the index:
        self._next_record = next_record
        self._writer = _Writer()
        self._spare: tuple[int, int] | None = None  # number and descriptor of the next segment
        self.has_removed: bool = False
        self._prepared_in = 0  # the segment in which the last `prepare` began
        # Names of the files that were voided since the present batch was made; None: no batch is under way.
        self._voided: set[str] | None = None

    @property
    def path(self) -> Path:
        """The folder of the segments."""
        return self._folder.path

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self.index)

    @property
    def last_record(self) -> int:
        """The number of the last record so far, at least 1; later records have higher ones.

        The first record of all is an `open`, which no file holds or lacks; 0 says something else, as an `upto`.
        """
        return max(1, self._next_record - 1)

    @property
    def needs_spare(self) -> bool:
        """True if it is time for `prepare`."""
        writer = self._writer
        return self._spare is None and writer.at > SEGMENT_BYTES // 2 and writer.number != self._prepared_in

    # Any thread -----------------------------------------------------------------------------------------------

    def holds(self, name: str) -> bool:
        """Return whether a segment may hold records of the session with a file of this name, unless they are kept."""
        return self.index.holds(name)

    def commit(self, batch: Batch) -> None:
        """Write records and sync them.

        Raises:
            StoreIOError: Also in a second, new segment: nothing counts as written, and what got to the disk does no
                harm.
            OwnershipLostError, ForkedRuntimeError: As `OwnableDirectory.check_owned`.
        """
        self._directory.check_owned()
        writer = self._lock()
        try:
            try:
                self._write(writer, batch)
            except (OSError, MemoryError) as error:
                log.warning("Journal segment failed; another one is begun", path=self._name_of(writer),
                            error=str(error))  # fmt: skip
                self._close(writer, is_suspect=True)
                with store_errors(self.path, "write"):
                    try:
                        self._write(writer, batch)
                    except (OSError, MemoryError):
                        self._close(writer, is_suspect=True)
                        raise
        finally:
            if writer.is_given_up:
                self._close(writer)
            writer.lock.release()

    def void(self, names: Iterable[str]) -> None:
        """Make the records of some sessions count no more, before their files vanish or are replaced by others.

        Records of them that wait to be written are not written any more.

        Args:
            names: The names of the files. Those of which no segment has records need no sync.

        Raises:
            StoreIOError: The records may still count; the files must stay.
        """
        names = set(names)
        with self.index.lock:
            if self._voided is not None:
                self._voided |= names
            held = self.index.held(names)
        if held:
            self.commit(Batch([(each, body("void", {"s": each})) for each in held]))
            self.has_removed = True

    def prepare(self) -> None:
        """Make the next segment, once half of the present one is used: a full disk then has room for a `void`.

        A failure is a WARNING.
        """
        if self._spare is not None:  # the last call was still on its way when this one was made
            return
        self._prepared_in = self._writer.number
        number = self.index.take_number()
        try:
            fd = self._make(number)
        except OSError as error:
            log.warning("Next journal segment could not be made; a later commit tries again",
                        path=str(self.path), error=error.strerror)  # fmt: skip
            return
        with self.index.lock:
            if self.index.is_last(number):  # else a later segment is in use already
                self._spare = number, fd
                return
        close_quietly(self._directory.fs, fd)
        self.index.closed(number)

    def begin_segment(self) -> None:
        """Have the next commit begin another segment; waits for one under way, unless it is given up."""
        writer = self._lock()
        self._close(writer)
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
                self.index.deleted(number)

    def _lock(self) -> _Writer:
        """Take the lock of the present writer; one that is given up meanwhile is not waited for."""
        while True:
            writer = self._writer
            if writer.lock.acquire(timeout=WAIT_SECONDS):
                if not writer.is_given_up:
                    return writer
                writer.lock.release()

    def _write(self, writer: _Writer, batch: Batch) -> None:
        fs = self._directory.fs
        _check_time(writer, batch)
        if writer.fd < 0 or (writer.at and writer.at + batch.size > SEGMENT_BYTES):
            self._rotate(writer)
        with self.index.lock:
            _check_time(writer, batch)
            records = self._still_wanted(batch)
            if not records:
                return
            ids = {session_id for session_id, _ in records}
            bodies = [each for _, each in records]
            if not writer.at:
                bodies.insert(0, body("open", {"v": FORMAT}))
            self.index.touch(writer.number, ids)
            first = self._next_record
            self._next_record += len(bodies)  # also if it fails: no number is used twice
        data = memoryview(lines(first, bodies))
        at = writer.at
        while data:
            written = fs.pwrite(writer.fd, data, at)
            if not written:
                raise OSError(errno.EIO, "the disk takes no more")
            data, at = data[written:], at + written
        sync_data(fs, writer.fd)
        if not fs.fstat(writer.fd).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the segment was deleted")
        writer.at = at
        self.index.written(writer.number, {key: need for key, need in batch.needs.items() if key in ids})

    def _still_wanted(self, batch: Batch) -> list[tuple[str, Body]]:
        voided = self._voided
        if not voided or not batch.needs:  # a void itself has none
            return batch.records
        return [each for each in batch.records if file_name_of_live(each[0]) not in voided]

    def _rotate(self, writer: _Writer) -> None:
        self._close(writer)
        with self.index.lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            writer.number, writer.fd = spare
            return
        writer.number = self.index.take_number()
        writer.fd = self._make(writer.number)

    def _make(self, number: int) -> int:
        """Make a segment, durable and filled with line feeds; return its descriptor."""
        fs = self._directory.fs
        is_there, fd = False, -1
        try:
            with self._folder.made() as folder:
                create_exclusively(fs, segment_name(number), _filling(), dir_fd=folder)
                is_there = True
                sync_directory(fs, folder)
                fd = fs.open(segment_name(number), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                return fd
        except StoreIOError as error:
            raise OSError(error.errno, error.reason) from error
        finally:
            if fd < 0:
                self.index.closed(number) if is_there else self.index.deleted(number)

    def _close(self, writer: _Writer, *, is_suspect: bool = False) -> None:
        if writer.fd >= 0:
            close_quietly(self._directory.fs, writer.fd)
        self.index.closed(writer.number, is_suspect=is_suspect)
        writer.number, writer.fd, writer.at = 0, -1, 0

    def path_of(self, number: int) -> Path:
        """Return the path of a segment."""
        return self.path / segment_name(number)

    def _name_of(self, writer: _Writer) -> str:
        return str(self.path_of(writer.number))

    # The trio thread ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a batch, in the step in which it is made; it is left without sessions that are voided from now on."""
        with self.index.lock:
            self._voided = set()

    def end(self) -> None:
        """End the batch that was begun: it is written, or given up."""
        with self.index.lock:
            self._voided = None

    def give_up(self, batch: Batch) -> None:
        """Leave the present segment to a thread that hangs, and begin another one with the next commit.

        What that thread has begun to write may still get to the disk. It writes nothing else.
        """
        with self.index.lock:
            batch.is_given_up = True
            hung, self._writer = self._writer, _Writer()
            hung.is_given_up = True
            self.index.suspect(hung.number)
        if hung.lock.acquire(blocking=False):  # no thread has it, so none closes it
            self._close(hung)
            hung.lock.release()

    def spent(self, *, whole: bool = False) -> list[int]:
        """Return the segments that can be deleted, oldest first, for `delete`.

        Args:
            whole: If true, the present segment is closed, and counts as well, unless a commit is under way.
        """
        writer = self._writer
        if whole and writer.lock.acquire(blocking=False):
            self._close(writer)
            writer.lock.release()
            self._drop_spare()
            self.has_removed = False
        return self.index.spent()

    def _drop_spare(self) -> None:
        with self.index.lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            close_quietly(self._directory.fs, spare[1])
            self.index.closed(spare[0])

    def close(self) -> None:
        """Close the present segment; what it holds is for the next start."""
        self._close(self._writer)
        self._drop_spare()


def _check_time(writer: _Writer, batch: Batch) -> None:
    """Raise if the caller has given up and has written its batch again: records must not come behind later ones."""
    if batch.is_given_up or writer.is_given_up:
        raise TimeoutError(errno.ETIMEDOUT, "the disk took too long")


def _filling() -> Iterator[bytes]:
    return repeat(_PIECE, SEGMENT_BYTES // len(_PIECE))
