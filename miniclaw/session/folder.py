"""A directory of our own that is found anew at each use, so that one that was removed is made again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from miniclaw.errors import SessionsDirectoryError, StoreIOError
from miniclaw.session.files import (
    DIRECTORY_FLAGS,
    close_quietly,
    open_directory,
    open_subdirectory,
    opened,
    store_errors,
)
from miniclaw.session.fs import OsCalls

if TYPE_CHECKING:
    from miniclaw.session.ownable import OwnableDirectory


class Folder:
    """A private directory beside the sessions, or among them.

    Args:
        path: Where it is; its last component may not be a link.
        dir_fd: Returns the descriptor of a directory in which it lies. It is then found by its name through that one,
            and not by the path: whatever is put in place of that directory, nothing gets out.
        fs: The system calls; the real ones where None.
        check: Raises where nothing may be changed in it; called before each change.
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
        self.fs = fs or OsCalls()
        self._dir_fd = dir_fd
        self._check = check
        self._name_is_durable = False  # set once, by any thread that writes

    @classmethod
    def within(cls, directory: OwnableDirectory, name: str) -> Self:
        """Return a hidden folder of a sessions directory. It is changed only while that is owned."""
        return cls(directory.path / name, dir_fd=lambda: directory.fd, fs=directory.fs, check=directory.check_owned)

    def open(self, *, create: bool) -> int:
        """Return a descriptor of the folder, for the caller to close.

        Args:
            create: Open it to change something in it; it is made where it is missing, mode 0700.

        Raises:
            FileNotFoundError: It is missing, and was not to be made.
            OSError: It cannot be opened.
            StoreError: It cannot be opened or made, or nothing may be changed in it.
        """
        if not create:
            return self._open()
        self._check()
        try:
            return self._open()
        except OSError as error:
            if error.errno != errno.ENOENT and self._dir_fd is not None:
                raise StoreIOError(self.path, "open", error) from error
        # Missing, or refused: open_directory says what is wrong with it.
        self._name_is_durable = False
        return self._make()

    @contextmanager
    def opened(self, *, to_change: bool = False) -> Iterator[int]:
        """Open it where it is there, as `open`.

        Args:
            to_change: What is in it may be renamed or removed.
        """
        if to_change:
            self._check()
        fd = self.open(create=False)
        try:
            yield fd
        finally:
            close_quietly(self.fs, fd)

    @contextmanager
    def made(self, *, durable: bool = False) -> Iterator[int]:
        """Open it to write, made where it is missing, as `open`.

        Args:
            durable: Its own name is on the disk before anything can be put into it.
        """
        fd = self.open(create=True)
        try:
            if durable and not self._name_is_durable:
                # Also where it was there: who made it may have died before this.
                self._sync_parent()
                self._name_is_durable = True
            yield fd
        finally:
            close_quietly(self.fs, fd)

    def _open(self) -> int:
        if self._dir_fd is None:
            return self.fs.open(str(self.path), DIRECTORY_FLAGS)
        return self.fs.open(self.path.name, DIRECTORY_FLAGS, dir_fd=self._dir_fd())

    def _make(self) -> int:
        if self._dir_fd is not None:
            with store_errors(self.path, "open"):
                return open_subdirectory(self.fs, self.path.name, dir_fd=self._dir_fd())
        try:
            return open_directory(self.fs, self.path, create=True)
        except SessionsDirectoryError as error:
            if isinstance(error.__cause__, FileExistsError):
                return self._open()  # another thread was quicker
            raise

    def _sync_parent(self) -> None:
        if self._dir_fd is not None:
            self.fs.fsync(self._dir_fd())
            return
        with opened(self.fs, str(self.path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as parent:
            self.fs.fsync(parent)
