"""Subfolders of a sessions directory: each is opened anew at each use, and created again if it was deleted.

Earlier versions kept state and trash outside of the sessions directory, in `EarlierFolders`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct

from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, close_quietly, store_errors
from miniclaw.session.disk.directories import open_subdirectory, why_no_directory
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import OsCalls

if TYPE_CHECKING:
    from miniclaw.session.files.ownable import OwnableDirectory

STATE_NAME: Final = ".state"
"""The hidden folder with the state of the services, the history and the ledger."""

TRASH_NAME: Final = ".trash"
"""The hidden folder of removed sessions."""

_IN_THE_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP})


class Folder:
    """A hidden folder of a sessions directory; or a folder of an earlier version beside it, to read and to empty.

    Args:
        path: The folder; its last component may not be a link.
        dir_fd: Returns the descriptor of the sessions directory. The folder is found by its name through that one and
            not by the path: no file gets outside, even if the directory is replaced. None: the folder is found by its
            path, and no file can be put into it.
        fs: The system calls; None: the real ones.
        check: Raises if the folder may not be changed; called before each change.
    """

    def __init__(
        self,
        path: Path,
        *,
        dir_fd: Callable[[], int] | None = None,
        fs: OsCalls | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.fs: OsCalls = fs or OsCalls()
        self._dir_fd = dir_fd
        self._check = check
        self._name_is_durable = False  # set by any thread that writes; reset when the folder is created

    @classmethod
    def within(cls, directory: OwnableDirectory, name: str) -> Self:
        """Return a hidden folder of a sessions directory. It is changed only while the directory is owned."""
        return cls(directory.path / name, dir_fd=lambda: directory.fd, fs=directory.fs, check=directory.check_owned)

    def is_there(self) -> bool:
        """Return whether the folder's name is taken, by a file of any kind."""
        try:
            self._status()
        except FileNotFoundError:
            return False
        except OSError:
            pass  # opening it reports the error
        return True

    def open(self, *, create: bool) -> int:
        """Return a descriptor of the folder, for the caller to close.

        Args:
            create: Open it for a change; a missing folder is created, with mode 0700.

        Raises:
            FileNotFoundError: It is missing, and `create` is false.
            OSError: It cannot be opened, and `create` is false.
            StoreError: `create` is true, and it cannot be opened or created, or it may not be changed.
        """
        if not create:
            return self._open()
        self._check()
        with store_errors(self.path, "open"):
            try:
                return self._open()
            except FileNotFoundError:
                return self._make()

    @contextmanager
    def opened(self, *, to_change: bool = False) -> Iterator[int]:
        """Open the existing folder for a block, as `open`.

        Args:
            to_change: True if the block may rename or delete files in it.
        """
        if to_change:
            self._check()
        fd = self.open(create=False)
        try:
            yield fd
        finally:
            close_quietly(self.fs, fd)

    @contextmanager
    def made(self, *, durable: bool = True) -> Iterator[int]:
        """Open the folder for a block that writes, as `open`; a missing folder is created.

        Args:
            durable: True if the folder's own name is to be on the disk before the block begins.
        """
        fd = self.open(create=True)
        try:
            if durable and not self._name_is_durable:
                # Also for an existing folder: its creator may have died before this.
                with store_errors(self.path, "sync the name of"):
                    sync_directory(self.fs, self._parent())
                self._name_is_durable = True
            yield fd
        finally:
            close_quietly(self.fs, fd)

    def _open(self) -> int:
        try:
            return self.fs.open(self._name(), DIRECTORY_FLAGS, dir_fd=self._dir_fd and self._dir_fd())
        except OSError as error:
            if error.errno in _IN_THE_WAY and (problem := self._why_no_directory()):
                raise OSError(error.errno, f"{problem}; move it out of the way") from error
            raise

    def _make(self) -> int:
        self._name_is_durable = False
        return open_subdirectory(self.fs, self.path.name, dir_fd=self._parent())

    def _parent(self) -> int:
        if self._dir_fd is None:
            raise OSError(errno.EROFS, "nothing is put into a folder of an earlier version")
        return self._dir_fd()

    def _why_no_directory(self) -> str | None:
        try:
            return why_no_directory(self._status().st_mode)
        except OSError:
            return None

    def _status(self) -> os.stat_result:
        return self.fs.stat(self._name(), dir_fd=self._dir_fd and self._dir_fd())

    def _name(self) -> str:
        return str(self.path) if self._dir_fd is None else self.path.name


class EarlierFolders(Struct, frozen=True):
    """Folders whose content the next owner of a sessions directory moves in; see `miniclaw.session.records.migration`.

    Attributes:
        state: The folder with the times of the services, the history and the ledger; absolute. None: there was none.
        trash: The folder with the removed sessions; likewise.
        may_be_shared: True if other sessions directories may have used the same folders. Then an entry of the trash is
            moved only if the history says that it was removed here.
    """

    state: Path | None = None
    trash: Path | None = None
    may_be_shared: bool = False
