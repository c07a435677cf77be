"""The places of the sessions: all ways in which a session file leaves its place, or gets there by anything but a save.

The journal may have records that a session's file lacks, and the next start applies them. If the file leaves for good,
or another one gets its place, these records have to count no more *before* that, or the next start makes the session
again. So `Voided` alone unlinks and moves such files, and there is none without a synced ``void``. It is the caller's
duty that a synced file holds all of the session that was acknowledged, or that a person has asked for the removal.

The other functions need no ``void``, for the session remains: a captured file returns from the work folder, whatever
happens (`capture`, `return_to_place`), and a file that another program has put into the place of a session in memory
makes way for the session (`make_room`).

Saves are `SessionDirectory.write`. A test of the layers finds every other call that unlinks or renames.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from miniclaw.session.disk.atomic import name_exclusively, rename_exclusively

if TYPE_CHECKING:
    from miniclaw.session.files.ownable import OwnableDirectory


class Voided:
    """The places of some sessions, whose records in the journal count no more.

    Args:
        directory: Owned by this process. The caller holds the locks of the sessions.
        names: The names of the files. Those of which the journal has no records need no sync.

    Durability: after a power cut, the journal adds nothing to these sessions.

    Raises:
        StoreIOError: The records may still count; no file was touched.
        OwnershipLostError, ForkedRuntimeError: As `OwnableDirectory.check_owned`; likewise.
    """

    def __init__(self, directory: OwnableDirectory, names: Iterable[str]) -> None:
        self._directory = directory
        self._names = frozenset(names)
        directory.void(self._names)

    def discard(self, name: str, *, dir_fd: int) -> None:
        """Unlink a captured file.

        Args:
            name: The file.
            dir_fd: The folder in which it was captured.

        Raises:
            OSError: It was not unlinked.
        """
        self._check(name)
        self._directory.fs.unlink(name, dir_fd=dir_fd)

    def move(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Move a file from its place, or from where it was captured, into a folder of ours.

        Raises:
            OSError: It was not moved.
        """
        self._check(name)
        self._directory.fs.rename(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def put(self, source: str, name: str, *, src_dir_fd: int) -> None:
        """Put a file into a place, which must be free; the source may still exist afterwards.

        Raises:
            FileExistsError: The place is taken.
            OSError: The file has its earlier name only.
        """
        self._check(name)
        fs, fd = self._directory.fs, self._directory.fd
        name_exclusively(fs, source, name, src_dir_fd=src_dir_fd, dst_dir_fd=fd)

    def adopt(self, source: str, name: str) -> None:
        """Rename a file of the sessions directory to the name of a place, which must be free; raises as `put`."""
        self._check(name)
        fs, fd = self._directory.fs, self._directory.fd
        rename_exclusively(fs, source, name, src_dir_fd=fd, dst_dir_fd=fd)

    def _check(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"the journal may still have records for {name!r}")


def capture(directory: OwnableDirectory, name: str, *, dir_fd: int) -> None:
    """Move a file from its place into a folder of the work folder, from which the next start returns it.

    Raises:
        OSError: It was not moved.
    """
    directory.fs.rename(name, name, src_dir_fd=directory.fd, dst_dir_fd=dir_fd)


def return_to_place(directory: OwnableDirectory, name: str, place: str, *, dir_fd: int, is_file: bool) -> None:
    """Give a captured file a place, which must be free; its captured name may still exist afterwards.

    Args:
        directory: Owned by this process.
        name: The captured name.
        place: The name in the sessions directory.
        dir_fd: The folder in which it was captured, or the sessions directory itself for a file that another program
            has put there.
        is_file: False if it is no regular file, which cannot be linked.

    Raises:
        FileExistsError: The place is taken.
        OSError: The file is still captured.
    """
    give = name_exclusively if is_file else rename_exclusively
    give(directory.fs, name, place, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)


def forget_capture(directory: OwnableDirectory, name: str, *, dir_fd: int) -> None:
    """Unlink the captured name of a file that is in its place again, durably; no error if it went to quarantine.

    Raises:
        OSError: The name is still there; it does no harm, and the next start unlinks it.
    """
    with suppress(FileNotFoundError):
        directory.fs.unlink(name, dir_fd=dir_fd)


def make_room(directory: OwnableDirectory, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Move a file away, though its session remains in memory, or in another file that gets the place or has it.

    The records in the journal are that session's. With a ``void`` before the other file is synced, a power cut would
    take the messages that only the journal has. If the power cut comes before the other file, the next start makes the
    session from the records, or puts them into quarantine: they never join a file that they do not fit.

    Raises:
        OSError: It was not moved.
    """
    directory.fs.rename(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
