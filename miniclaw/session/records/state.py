"""The state of the services that survives a restart: the time that passed, the last run, and the sessions due.

Three small files in a hidden folder of the sessions directory. None is ever a reason to delete: missing or damaged,
they equal a first installation, and the next run announces the sessions that it finds due.

``retention.json``
    A `RetentionState`, replaced atomically after each run, at the program's end, and after a jump of the clock.
``last-seen``
    The part of the state that changes with time, a `_Tick`, overwritten in place by every autosave tick and not synced:
    less than a sector, to spare an SD card.
``due``
    The sessions and files that the last run found due, or ahead of the clock; see `Noted`.
"""

from __future__ import annotations

import errno
import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec
from msgspec import Struct, field

from miniclaw.errors import SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import (
    READ_FLAGS,
    TEMPORARY_PREFIX,
    opened_to_write,
    read_whole,
    replace_file,
    store_errors,
    unlink_quietly,
    write_all,
)
from miniclaw.session.disk.directories import is_our_own, opened_to_read
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import Bytes
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import STATE_NAME, Folder
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun
from miniclaw.session.retention.timeline import Floor, Frame, Seen, Timeline

if TYPE_CHECKING:
    from miniclaw.session.records.history import History

STATE_FILE: Final = "retention.json"
LAST_SEEN_NAME: Final = "last-seen"
DUE_NAME: Final = "due"
LANDMARK_NAME: Final = "landmark"

EARLIER_NAMES: Final = ("cleanup.json",)
"""Files that earlier versions kept here; none of them is needed."""

_TICK_BYTES: Final = 512
_MAX_READ_BYTES: Final = 256 * 1024 * 1024  # of one file: millions of sessions that are due
_MAGIC: Final = b"miniclaw-due-1\n"
_ORDER: Final = b"<" if sys.byteorder == "little" else b">"

log: Final = get_logger("miniclaw.session.state")


class Landmark(Struct, frozen=True, array_like=True):
    """A file that is made once. Another inode with the same times shows that inodes do not last."""

    inode: int
    mtime_ns: int
    ctime_ns: int


class RetentionState(Struct):
    """The facts known about the time and about earlier runs.

    Attributes:
        id: The identity of this state, by which its other two files are recognised.
        serial: Counts the writes of the state and its ticks; it distinguishes an earlier tick from a later one.
        last_run: The last run of the daily cleanup that came to its end; None: none is known.
        held: Why it was held, if it was; see `miniclaw.session.retention.plan.CleanupPlan.held`.
        landmark: The landmark at the last start.
        inodes_last: True if files keep their inodes from one start to the next.
    """

    id: str = field(default_factory=lambda: os.urandom(8).hex())
    serial: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    last_run: LastRun | None = None
    held: str = ""
    landmark: Landmark | None = None
    inodes_last: bool = True


class _Tick(Struct):
    id: str
    serial: int
    lived: int
    count: int
    short_gap: int
    unconfirmed: int
    seen: Seen
    floor: Floor | None
    frame: Frame


class _Sealed(Struct):
    """Written content with its checksum: a damaged number in it could delete sessions in use."""

    checksum: str
    content: msgspec.Raw


_decode_seal: Final = msgspec.json.Decoder(_Sealed).decode
_decode_state: Final = msgspec.json.Decoder(RetentionState).decode
_decode_tick: Final = msgspec.json.Decoder(_Tick).decode


def _checksum(content: Bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _seal(content: RetentionState | _Tick) -> bytes:
    encoded = msgspec.json.encode(content)
    return msgspec.json.encode(_Sealed(_checksum(encoded), msgspec.Raw(encoded)))


def _unseal(data: bytes) -> bytes:
    """Return the content of a sealed file.

    Raises:
        ValueError: The file is damaged.
    """
    sealed = _decode_seal(data)
    content = bytes(sealed.content)
    if _checksum(content) != sealed.checksum:
        raise ValueError("its checksum is wrong")
    return content


def tick_of(state: RetentionState) -> bytes:
    """Return the bytes that each tick writes; on the thread that changes the state."""
    timeline = state.timeline
    assert timeline.seen is not None  # noqa: S101 - for mypy: it was observed
    tick = _Tick(
        state.id, state.serial, timeline.lived, timeline.count, timeline.short_gap, timeline.unconfirmed,
        timeline.seen, timeline.floor, timeline.frames[-1],
    )  # fmt: skip
    return _seal(tick).ljust(_TICK_BYTES - 1) + b"\n"  # always of one length


def _with_tick(state: RetentionState, data: bytes) -> None:
    """Apply a tick to a state; a damaged tick, one of another state and one that is not newer are ignored."""
    try:
        tick = _decode_tick(_unseal(data))
    except (ValueError, RecursionError):
        return
    timeline = state.timeline
    if tick.id != state.id or tick.serial <= state.serial:
        return
    state.serial = tick.serial
    timeline.lived, timeline.count = tick.lived, tick.count
    timeline.short_gap, timeline.unconfirmed = tick.short_gap, tick.unconfirmed
    timeline.seen, timeline.floor = tick.seen, tick.floor
    if timeline.frames and timeline.frames[-1].offset == tick.frame.offset:
        timeline.frames[-1] = tick.frame
    else:
        timeline.frames.append(tick.frame)


class StateDirectory:
    """The state directory, synchronously; the first write creates it.

    Its methods may be called from any thread, one at a time.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.path: Path = folder.path
        self._fs = folder.fs

    @classmethod
    def within(cls, directory: SessionDirectory) -> Self:
        """Return the state directory of a sessions directory."""
        return cls(Folder.within(directory, STATE_NAME))

    def history(self) -> History:
        """Return the history in this directory."""
        from miniclaw.session.records.history import History  # noqa: PLC0415 - start-up time: listing needs none

        return History(self.folder)

    def sweep(self) -> None:
        """Delete the files that a dead process or an earlier version left. Only for the owner of the sessions."""
        # The folder may be missing; any other error is reported when it is read.
        with suppress(OSError), self.folder.opened() as fd, self._fs.scandir(fd) as entries:
            names = [entry.name for entry in entries]
            for name in names:
                if name.startswith(TEMPORARY_PREFIX) or name in EARLIER_NAMES:
                    unlink_quietly(self._fs, name, dir_fd=fd)

    def load(self) -> RetentionState | None:
        """Return the state, updated by the last tick; None if there is none.

        Raises:
            SessionFileError: There is a state, and it cannot be read.
        """
        path = self.path / STATE_FILE
        with store_errors(path, "read"):
            data = self._read(STATE_FILE)
        if data is None:
            return None
        try:
            state = _decode_state(_unseal(data))
        except (ValueError, RecursionError) as error:
            raise SessionFileError(path, f"it is no state of the cleanup: {error}") from error
        if state.timeline.seen is None or not state.timeline.frames:
            raise SessionFileError(path, "it is no state of the cleanup: nothing was ever seen")
        with suppress(OSError):
            _with_tick(state, self._read(LAST_SEEN_NAME) or b"")
        return state

    def read(self) -> RetentionState | None:
        """Return the state; None if there is none, or if it cannot be read, which is logged as an ERROR."""
        try:
            return self.load()
        except StoreError as error:
            log.error("Cleanup state could not be read; what is due is announced anew", error=str(error))
            return None

    def write(self, state: RetentionState) -> None:
        """Write the state, durably; `state` is read in one step.

        Raises:
            StoreError: The old state is still there, or may return after a power cut.
        """
        self._replace(STATE_FILE, _seal(state))

    def write_due(self, state_id: str, due: Noted, ahead: Noted) -> None:
        """Write the lists of due sessions and of those ahead of the clock, durably.

        The caller does so before it writes the state that records the run.

        Raises:
            StoreError: The old lists are still there, or may return after a power cut.
        """
        parts = [due.encoded(), ahead.encoded()]
        body = b"".join([state_id.encode(), *(len(part).to_bytes(8, "big") for part in parts), *parts])
        self._replace(DUE_NAME, _MAGIC + _ORDER + zlib.crc32(body).to_bytes(4, "big") + body)

    def read_due(self, state: RetentionState) -> tuple[Noted, Noted]:
        """Return the lists of due sessions and of those ahead of the clock; empty if unreadable or of another state."""
        try:
            data = self._read(DUE_NAME)
            return (Noted(), Noted()) if data is None else _decode_due(data, state.id)
        except (OSError, StoreError, ValueError) as error:
            problem = str(getattr(error, "strerror", None) or error)
            log.warning("List of what is due could not be read; it is announced anew", error=problem)
            return Noted(), Noted()

    def inodes_last(self, state: RetentionState) -> bool:
        """Return whether files keep their inodes here, and record the landmark; only for the owner.

        Raises:
            StoreError: The landmark cannot be made.
        """
        with (
            self.folder.made(durable=False) as fd,
            store_errors(self.path / LANDMARK_NAME, "make"),
            opened_to_write(self._fs, LANDMARK_NAME, READ_FLAGS, dir_fd=fd) as file,
        ):
            status = self._fs.fstat(file)
        found, before = Landmark(status.st_ino, status.st_mtime_ns, status.st_ctime_ns), state.landmark
        # A copy of the whole directory has other change times, except on a file system without them.
        is_another = before is not None and found.inode != before.inode
        is_the_same = before is not None and (found.mtime_ns, found.ctime_ns) == (before.mtime_ns, before.ctime_ns)
        state.landmark = found
        return state.inodes_last and not (is_another and is_the_same)

    def write_last_seen(self, text: bytes) -> None:
        """Write the bytes that `tick_of` returned.

        Raises:
            StoreError: They could not be written.
        """
        # O_NONBLOCK: a FIFO of that name is an error instead of a wait for its reader.
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with (
            self.folder.made(durable=False) as fd,
            store_errors(self.path / LAST_SEEN_NAME, "write"),
            opened_to_write(self._fs, LAST_SEEN_NAME, flags, dir_fd=fd) as file,
        ):
            status = self._fs.fstat(file)
            if not is_our_own(status):
                # A hard link, as from a backup: the content under its other name must not change.
                replace_file(self._fs, LAST_SEEN_NAME, text, dir_fd=fd)
                return
            write_all(self._fs, file, text)
            if status.st_size > len(text):
                self._fs.ftruncate(file, len(text))

    def _replace(self, name: str, data: bytes) -> None:
        with self.folder.made() as fd, store_errors(self.path / name, "write"):
            replace_file(self._fs, name, data, dir_fd=fd)
            sync_directory(self._fs, fd)

    def _read(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none."""
        try:
            with self.folder.opened() as folder, opened_to_read(self._fs, name, dir_fd=folder) as (fd, status):
                if status.st_size > _MAX_READ_BYTES:
                    raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, which are too many")
                return read_whole(self._fs, fd)
        except FileNotFoundError:
            return None


def _decode_due(data: bytes, state_id: str) -> tuple[Noted, Noted]:
    head = len(_MAGIC)
    body = data[head + 5 :]
    if data[: head + 1] != _MAGIC + _ORDER or zlib.crc32(body).to_bytes(4, "big") != data[head + 1 : head + 5]:
        raise ValueError("it is damaged, or of another kind of machine")
    begin = len(state_id) + 16
    if body[: len(state_id)] != state_id.encode():
        return Noted(), Noted()
    length = int.from_bytes(body[len(state_id) : begin - 8], "big")
    return Noted.decoded(body[begin : begin + length]), Noted.decoded(body[begin + length :])
