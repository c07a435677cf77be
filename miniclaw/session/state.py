"""What the services remember from one start to the next: when the last cleanup was, and when the program was last seen.

Two small files in a hidden folder of the sessions directory. Neither is ever a reason to delete: missing or damaged,
they make the next cleanup announce instead of remove.

``cleanup.json``
    Replaced atomically and synced after each run.
``last-seen``
    One time, overwritten in place by every autosave tick and not synced: a few bytes in one sector, so that an SD
    card is spared. It tells at the next start for how long nobody was there, as far as the clock is right.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, Self, TypeAlias

import msgspec
from msgspec import Struct

from miniclaw.errors import SessionFileError
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.files import (
    READ_FLAGS,
    TEMPORARY_PREFIX,
    is_our_own,
    opened,
    opened_to_write,
    read_whole,
    replace_file,
    store_errors,
    unlink_quietly,
    write_all,
)
from miniclaw.session.folder import STATE_NAME, Folder
from miniclaw.session.history import History
from miniclaw.session.logs import get_logger
from miniclaw.session.types import AwareDatetime

CLEANUP_NAME: Final = "cleanup.json"
LAST_SEEN_NAME: Final = "last-seen"

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

log = get_logger("miniclaw.session.state")

Suspicion: TypeAlias = Literal["first_sweep", "clock_ran_ahead", "long_absence"]
"""Why a cleanup announces before it removes.

``first_sweep``: this workspace has never been swept. ``clock_ran_ahead``: the wall clock ran more than a day ahead of
the monotonic one. ``long_absence``: by the wall clock, nobody was there for more than half of the TTL.
"""


class Announcement(Struct, frozen=True):
    """A removal that was announced and not yet carried out."""

    at: AwareDatetime
    reason: Suspicion


class CleanupState(Struct, frozen=True):
    """What is known of earlier cleanups.

    Attributes:
        last_run_at: When the last run began that was free to remove; None: there was none.
        announcement: The one that is pending, if any.
        held: Why the last run was held, if it was; see `miniclaw.session.retention.plan.why_held`.
    """

    last_run_at: AwareDatetime | None = None
    announcement: Announcement | None = None
    held: str = ""


_decode: Final = msgspec.json.Decoder(CleanupState).decode


def _last_seen(data: bytes) -> datetime:
    try:
        return datetime.fromisoformat(data.decode().strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        return _LONG_AGO


def merge_last_seen(here: bytes, there: bytes) -> bytes:
    """Return the more cautious one of two ``last-seen``: the earlier one; one that cannot be read is very long ago."""
    return min(here, there, key=_last_seen)


def merge_cleanup(here: bytes, there: bytes) -> bytes:
    """Return the more cautious union of two ``cleanup.json``.

    Where one of the two knows of no run and no announcement, or cannot be read, neither does the union: the next run
    announces. Else the later run counts, and the later announcement is waited for. Merging again changes nothing.
    """
    states = [_decode_or_empty(data) for data in (here, there)]
    if states[0] == states[1]:
        return here
    if CleanupState() in states:
        return msgspec.json.encode(CleanupState())
    newest = max(states, key=lambda state: state.last_run_at or _LONG_AGO)
    announcements = [state.announcement for state in states if state.announcement is not None]
    announcement = max(announcements, key=lambda one: one.at, default=None)
    return msgspec.json.encode(CleanupState(newest.last_run_at, announcement, newest.held))


def _decode_or_empty(data: bytes) -> CleanupState:
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return CleanupState()


class StateDirectory:
    """The state directory, synchronously. Its methods may be called from any thread, one at a time.

    Args:
        folder: The folder, which is made by the first write.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.path = folder.path
        self._fs = folder.fs

    @classmethod
    def within(cls, directory: SessionDirectory) -> Self:
        """Return the state directory of a sessions directory."""
        return cls(Folder.within(directory, STATE_NAME))

    def history(self) -> History:
        """Return the history that lies here."""
        return History(self.folder)

    def sweep(self) -> None:
        """Remove the temporary files that a program that died has left. Only for the owner of the sessions."""
        # There may be no folder; what else is wrong with it is told when it is read.
        with suppress(OSError), self.folder.opened() as fd, self._fs.scandir(fd) as entries:
            for name in [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]:
                unlink_quietly(self._fs, name, dir_fd=fd)

    def load_cleanup(self) -> CleanupState:
        """Return the state; an empty one where there is none.

        Raises:
            SessionFileError: There is one, and it cannot be read.
        """
        path = self.path / CLEANUP_NAME
        with store_errors(path, "read"):
            data = self._read(CLEANUP_NAME)
        try:
            return CleanupState() if data is None else _decode(data)
        except (ValueError, RecursionError) as error:
            raise SessionFileError(path, f"it is no state of a cleanup: {error}") from error

    def read_cleanup(self) -> CleanupState:
        """Return the state; an empty one where there is none, or none that can be read (an ERROR says so)."""
        try:
            return self.load_cleanup()
        except SessionFileError as error:
            log.error("Cleanup state could not be read", path=str(error.path), error=error.reason)
            return CleanupState()

    def write_cleanup(self, state: CleanupState) -> None:
        """Write the state, durably.

        Raises:
            StoreError: The old one is still there.
        """
        with self.folder.made() as fd, store_errors(self.path / CLEANUP_NAME, "write"):
            replace_file(self._fs, CLEANUP_NAME, msgspec.json.encode(state), dir_fd=fd, work_fd=fd)
            self._fs.fsync(fd)

    def read_last_seen(self) -> datetime | None:
        """Return when the program was last seen; None where that was never recorded.

        A record that cannot be read counts as very long ago, so that the next cleanup announces.
        """
        try:
            data = self._read(LAST_SEEN_NAME)
        except OSError:
            return _LONG_AGO
        return None if data is None else _last_seen(data)

    def write_last_seen(self, now: datetime) -> None:
        """Write that the program is there.

        Raises:
            StoreError: It could not be written.
        """
        text = f"{now.astimezone(UTC).isoformat(timespec='microseconds')}\n".encode()  # always of one length
        # O_NONBLOCK: a FIFO of that name is an error, and not a wait for its reader.
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with (
            self.folder.made(durable=False) as fd,
            store_errors(self.path / LAST_SEEN_NAME, "write"),
            opened_to_write(self._fs, LAST_SEEN_NAME, flags, dir_fd=fd) as file,
        ):
            status = self._fs.fstat(file)
            if not is_our_own(status):
                # A hard link, as from a backup: its other name is not ours to write to.
                replace_file(self._fs, LAST_SEEN_NAME, text, dir_fd=fd, work_fd=fd)
                return
            write_all(self._fs, file, text)
            if status.st_size > len(text):
                self._fs.ftruncate(file, len(text))

    def _read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        try:
            with self.folder.opened() as folder, opened(self._fs, name, READ_FLAGS, dir_fd=folder) as fd:
                return read_whole(self._fs, fd)
        except FileNotFoundError:
            return None
