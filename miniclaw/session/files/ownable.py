"""A directory that one process can own: opening, ownership, and the checks of path and lock.

Every access is relative to one descriptor of the directory. `miniclaw.session.files.directory` adds the sessions in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from miniclaw.clock import Now, utc_now
from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import close_quietly, store_errors
from miniclaw.session.disk.directories import open_directory, why_no_directory
from miniclaw.session.disk.spelling import tells_apart
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.journal.overlay import NOTHING, KnownSegments, Overlay
from miniclaw.session.ownership.holder import Holder, find_holder

if TYPE_CHECKING:
    from queue import SimpleQueue

    from miniclaw.session.files.saved_files import SavedFiles
    from miniclaw.session.ownership.ownership import Ownership


class Place(Struct, frozen=True):
    """The result of a check of an owned directory.

    Attributes:
        problem: The reason why its path no longer leads to it; None: it does.
        lost_to: The process that has become its owner meanwhile; None: this process still is.
    """

    problem: str | None = None
    lost_to: str | None = None


class OwnableDirectory:
    """One open directory. Its methods block and may be called from any thread.

    Opened without `own`, it is only read, which needs no lock.
    """

    def __init__(self, path: Path, fd: int, fs: OsCalls) -> None:
        self.path = path
        self.fs = fs
        self.fd: int = fd
        self._ownership: Ownership | None = None  # set while owned
        self._work = Folder.within(self, WORK_NAME)
        # File name -> folder in `.work` in which a failed removal has left the file, beside its place or instead of it.
        # Only `removal` changes it; the holder of a session's lock may change the entry of that session.
        self.captured: dict[str, str] = {}
        # Names of the temporary files that saves are writing; changed by any thread, one atomic step at a time.
        self.under_way: set[str] = set()
        self.saved_files: SavedFiles | None = None  # set by a store that keeps a ledger
        self.now: Now = utc_now  # stamps quarantined files; set by the timekeeper; called by any thread
        # True: it finds a file under other spellings of its name; known once it is owned.
        self.ignores_case: bool = False
        self.inodes_last = True  # True: a file keeps its inode over mounts; the timekeeper sets False if it does not
        # Makes the journal's records of session files of these names count no more, before the files vanish or others
        # take their places; any thread. Set by the store of an owner.
        self.void: Callable[[Iterable[str]], None] = lambda _: None
        self._overlay: Overlay | None = None  # read by the first thread that needs it
        self.known_segments: KnownSegments | None = None  # set before that, by a process that reads again and again
        # Folders of `.work` that no removal is using; set while owned, and used only by `StagingArea`.
        self.free_folders: SimpleQueue[str]

    @classmethod
    def open(cls, path: Path, *, create: bool = False, fs: OsCalls | None = None) -> Self:
        """Open the directory.

        Args:
            path: The directory; its last component may not be a link.
            create: Create it if it is missing, with mode 0700.
            fs: The system calls; None: the real ones.

        Raises:
            SessionsDirectoryError: It is missing, a link, no directory, or cannot be opened.
        """
        fs = fs or OsCalls()
        return cls(path, open_directory(fs, path, create=create), fs)

    def close(self) -> None:
        """Release the locks, if held, and close the descriptor."""
        if self._ownership is not None:
            self._ownership.release()
            self._ownership = None
        if self.fd >= 0:
            close_quietly(self.fs, self.fd)
        self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def own(self, *, briefly: bool = False) -> None:
        """Become the owner, the one process that writes here, until the directory is closed.

        Args:
            briefly: True if that is only for a moment; a process that wants to own the directory waits for it.

        Raises:
            WorkspaceHeldError: Another process is the owner; nothing was changed.
            StoreIOError: The lock or the work folder could not be made.
        """
        from queue import SimpleQueue  # noqa: PLC0415 - start-up time: readers do not need it

        from miniclaw.session.disk.privacy import keep_others_out  # noqa: PLC0415 - likewise
        from miniclaw.session.ownership.ownership import Ownership  # noqa: PLC0415 - likewise

        self.free_folders = SimpleQueue()
        ownership = Ownership(self.fs, self.fd, self.path, briefly=briefly)
        ownership.take()
        self._ownership = ownership
        # The work folder is created, or an error raised, before the owner accepts any message.
        with self.work(), store_errors(self.path / WORK_NAME, "look at"):
            self.ignores_case = not tells_apart(self.fs, self.fd, WORK_NAME)
        with store_errors(self.path, "make private"):
            keep_others_out(self.fs, self.fd, self.path)

    @property
    def is_owned(self) -> bool:
        """True if this process has become the owner."""
        return self._ownership is not None

    @property
    def overlay(self) -> Overlay:
        """The journal over the files, read once, at the first use, which has to precede that of any file.

        The owner's is empty: its memory is newer.

        Raises:
            JournalFormatError: A newer version has written the journal.
            StoreIOError: The journal cannot be listed.
        """
        if self.is_owned:
            return NOTHING
        if self._overlay is None:
            self._overlay = Overlay.read(self.fs, self.fd, self.path, self.known_segments)
        return self._overlay

    def check_owned(self) -> None:
        """Raise if this process has lost its ownership; called before each change of the directory.

        Raises:
            OwnershipLostError: Another process has locked a new `.lock`.
            ForkedRuntimeError: This is a forked child of the owner.
        """
        if self._ownership is not None:
            self._ownership.check_owned()

    def check_place(self) -> Place:
        """Check that the path still leads to the directory, and check `.lock` as `Ownership.check`."""
        return Place(self.misplaced(), None if self._ownership is None else self._ownership.check())

    def say_stopping(self) -> None:
        """Write into `.lock` that this process is about to release the directory."""
        if self._ownership is not None:
            self._ownership.say_stopping()

    def work(self) -> AbstractContextManager[int]:
        """Open the work folder for a block that changes it; a missing folder is created.

        Raises:
            StoreIOError: It cannot be opened or created.
            OwnershipLostError, ForkedRuntimeError: As `check_owned`.
        """
        # Its name need not be on the disk for a temporary file; removals sync it (`StagingArea`).
        return self._work.made(durable=False)

    def holder(self) -> Holder | None:
        """Return the process that owns the directory, or None.

        Raises:
            StoreIOError: The locks cannot be probed.
        """
        return find_holder(self.fs, self.fd, self.path)

    def misplaced(self) -> str | None:
        """Return the reason why the path no longer leads to this directory, or None.

        The directory was renamed, replaced or unmounted meanwhile. Saves still reach the open directory: no session is
        lost, but none is found by the path.
        """
        here = self.fs.fstat(self.fd)
        try:
            there = self.fs.stat(str(self.path), dir_fd=self.fd)
        except OSError as error:
            return f"nothing can be found there: {error.strerror}"
        if (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev):
            return None
        return why_no_directory(there.st_mode) or "another directory is there"

    def free_disk(self) -> int | None:
        """Return how many bytes of the disk are free for this process; None if the system does not report them."""
        try:
            status = self.fs.fstatvfs(self.fd)
        except OSError:
            return None
        # A file system that does not know reports 0 in every field, which must not look like a full disk.
        block = status.f_frsize or status.f_bsize
        return status.f_bavail * block if status.f_blocks and block else None

    def is_nobodys(self) -> bool:
        """Return whether the directory is known to have no owner; False if the locks cannot be probed."""
        try:
            return self.holder() is None
        except StoreError:
            return False
