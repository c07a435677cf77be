"""What the services remember from one start to the next: when the last cleanup was, and when the program was last seen.

Two small files in a state directory. Neither is ever a reason to delete: missing or damaged, they make the next
cleanup announce instead of remove.

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
from pathlib import Path
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
from miniclaw.session.folder import Folder
from miniclaw.session.fs import OsCalls
from miniclaw.session.history import History
from miniclaw.session.logs import get_logger
from miniclaw.session.types import AwareDatetime

CLEANUP_NAME: Final = "cleanup.json"
LAST_SEEN_NAME: Final = "last-seen"
STATE_NAME: Final = ".state"

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
        held: Why the last run was held, if it was; see `miniclaw.session.cleanup_plan.why_held`.
    """

    last_run_at: AwareDatetime | None = None
    announcement: Announcement | None = None
    held: str = ""


class StateDirectory:
    """The state directory, synchronously. Its methods may be called from any thread, one at a time.

    Args:
        path: Where it is.
        fs: The system calls; the real ones where None.
        folder: The folder itself, where it is not found by its path.
    """

    def __init__(self, path: Path, *, fs: OsCalls | None = None, folder: Folder | None = None) -> None:
        self.folder = folder or Folder(path, fs=fs)
        self.path = path
        self._fs = self.folder.fs

    @classmethod
    def within(cls, directory: SessionDirectory) -> Self:
        """Return the state directory of a sessions directory that has no workspace around it: a hidden folder."""
        folder = Folder.within(directory, STATE_NAME)
        return cls(folder.path, folder=folder)

    def history(self) -> History:
        """Return the history that lies here."""
        return History(lambda create: self.folder.open(create=create), self.path, self._fs)

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
            return CleanupState() if data is None else msgspec.json.decode(data, type=CleanupState)
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
            return None if data is None else datetime.fromisoformat(data.decode().strip()).astimezone(UTC)
        except (OSError, ValueError, OverflowError):
            return datetime.min.replace(tzinfo=UTC)

    def write_last_seen(self, now: datetime) -> None:
        """Write that the program is there.

        Raises:
            StoreError: It could not be written.
        """
        text = f"{now.astimezone(UTC).isoformat(timespec='microseconds')}\n".encode()  # always of one length
        # O_NONBLOCK: a FIFO of that name is an error, and not a wait for its reader.
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with (
            self.folder.made() as fd,
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
