"""A directory that one process can own: opening it, owning it, and looking after both.

Everything is relative to one descriptor of the directory. `miniclaw.session.files.directory` has the sessions in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from miniclaw.clock import Now, utc_now
from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import close_quietly, open_directory, store_errors, why_no_directory
from miniclaw.session.disk.spelling import tells_apart
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.ownership.holder import Holder, find_holder

if TYPE_CHECKING:
    from queue import SimpleQueue

    from miniclaw.session.files.saved_files import SavedFiles
    from miniclaw.session.ownership.ownership import Ownership


class Place(Struct, frozen=True):
    """What a look at an owned directory has found.

    Attributes:
        problem: Why its path does not lead to it any more; None: it does.
        lost_to: The process that has become its owner meanwhile; None: this one still is.
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
        self.fd = fd
        self._ownership: Ownership | None = None  # there while owned
        self._work = Folder.within(self, WORK_NAME)
        # File name -> the folder in which a removal that the system refused has left it, beside its place or instead.
        # Only `removal` uses it; each entry belongs to who holds the lock of that session.
        self.captured: dict[str, str] = {}
        # Names of the temporary files that saves are writing; changed by any thread, one atomic step at a time.
        self.under_way: set[str] = set()
        self.saved_files: SavedFiles | None = None  # set by who keeps a ledger
        self.now: Now = (
            utc_now  # what is quarantined is stamped with it; set by who keeps the time; any thread may call
        )
        self.ignores_case = False  # whether it finds a file under other spellings of its name; known once it is owned
        self.inodes_last = True  # whether a file keeps its inode over mounts; set by who has seen that it does not
        # Folders of `.work` that no removal is using; there while owned, and only `work_folders` uses it.
        self.free_folders: SimpleQueue[str]

    @classmethod
    def open(cls, path: Path, *, create: bool = False, fs: OsCalls | None = None) -> Self:
        """Open the directory.

        Args:
            path: The directory; its last component may not be a link.
            create: Make it where it is missing, mode 0700.
            fs: The system calls; the real ones where None.

        Raises:
            SessionsDirectoryError: It is missing, a link, no directory, or cannot be opened.
        """
        fs = fs or OsCalls()
        return cls(path, open_directory(fs, path, create=create), fs)

    def close(self) -> None:
        """Give up the locks, if held, and close the descriptor."""
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
        """Become the one process that writes here, for as long as the directory stays open.

        Args:
            briefly: Whether that is only for a moment; who wants to own the directory waits for it.

        Raises:
            WorkspaceHeldError: Another process is; nothing was changed.
            StoreIOError: The lock or the work folder could not be made.
        """
        from queue import SimpleQueue  # noqa: PLC0415 - start-up time: not for who only looks

        from miniclaw.session.disk.privacy import keep_others_out  # noqa: PLC0415 - likewise
        from miniclaw.session.ownership.ownership import Ownership  # noqa: PLC0415 - likewise

        self.free_folders = SimpleQueue()
        ownership = Ownership(self.fs, self.fd, self.path, briefly=briefly)
        ownership.take()
        self._ownership = ownership
        # The work folder is made, or refused, before anything is accepted.
        with self.work(), store_errors(self.path / WORK_NAME, "look at"):
            self.ignores_case = not tells_apart(self.fs, self.fd, WORK_NAME)
        with store_errors(self.path, "make private"):
            keep_others_out(self.fs, self.fd, self.path)

    @property
    def is_owned(self) -> bool:
        """Whether this process has become the owner."""
        return self._ownership is not None

    def check_owned(self) -> None:
        """Refuse to change anything in a directory whose owner this process is no more.

        Raises:
            OwnershipLostError: Another process has locked a new `.lock`.
            ForkedRuntimeError: This is a forked child of the owner.
        """
        if self._ownership is not None:
            self._ownership.check_owned()

    def check_place(self) -> Place:
        """Look whether the directory is where its path leads to, and see to it that `.lock` is the owner's."""
        return Place(self.misplaced(), None if self._ownership is None else self._ownership.check())

    def say_stopping(self) -> None:
        """Let others know that this process is about to give up the directory."""
        if self._ownership is not None:
            self._ownership.say_stopping()

    def work(self) -> AbstractContextManager[int]:
        """Open the work folder for a block, to change something in it; it is made again where it has vanished.

        Raises:
            StoreIOError: It cannot be opened or made.
            OwnershipLostError, ForkedRuntimeError: As `check_owned`.
        """
        # Its name need not be on the disk for a temporary file; removals sync it (`WorkFolders`).
        return self._work.made(durable=False)

    def holder(self) -> Holder | None:
        """Return who owns the directory; None: nobody does.

        Raises:
            StoreIOError: The lock cannot be read.
        """
        return find_holder(self.fs, self.fd, self.path)

    def misplaced(self) -> str | None:
        """Return why the path does not lead to this directory any more; None where it does.

        It was renamed, replaced or unmounted meanwhile. What is open is written on: nothing is lost by that, but nobody
        finds it by the path.
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
        """Return how many bytes are free on the disk for us; None where the system does not say."""
        try:
            status = self.fs.fstatvfs(self.fd)
        except OSError:
            return None
        # A file system that does not know says 0 of everything: that must not look like a full disk.
        block = status.f_frsize or status.f_bsize
        return status.f_bavail * block if status.f_blocks and block else None

    def is_nobodys(self) -> bool:
        """Return whether nobody owns the directory, as far as can be told."""
        try:
            return self.holder() is None
        except StoreError:
            return False
