"""A directory of our own that is found anew at each use, so that one that was removed is made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from miniclaw.session.directory import SessionDirectory
from miniclaw.session.files import DIRECTORY_FLAGS, close_quietly, open_directory, open_subdirectory, store_errors
from miniclaw.session.fs import OsCalls


class Folder:
    """A private directory beside the sessions, or among them.

    Args:
        path: Where it is. Its last component may not be a link.
        within: The sessions directory of which it is a hidden folder. It is then found by its name through that one's
            descriptor, and not by the path: whatever is put in place of the sessions directory, nothing gets out.
        fs: The system calls; the real ones where None.
    """

    def __init__(self, path: Path, *, within: SessionDirectory | None = None, fs: OsCalls | None = None) -> None:
        self.path = path
        self.fs = fs or (within.fs if within else OsCalls())
        self._within = within

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open it to read.

        Raises:
            OSError: It cannot be opened; `FileNotFoundError`: there is none.
        """
        if self._within is None:
            fd = self.fs.open(str(self.path), DIRECTORY_FLAGS)
        else:
            fd = self.fs.open(self.path.name, DIRECTORY_FLAGS, dir_fd=self._within.fd)
        try:
            yield fd
        finally:
            close_quietly(self.fs, fd)

    @contextmanager
    def made(self) -> Iterator[int]:
        """Open it to write; made where it is missing, mode 0700.

        Raises:
            StoreError: It cannot be opened or made.
        """
        if self._within is None:
            fd = open_directory(self.fs, self.path, create=True)
        else:
            with store_errors(self.path, "open"):
                fd = open_subdirectory(self.fs, self.path.name, dir_fd=self._within.fd)
        try:
            yield fd
        finally:
            close_quietly(self.fs, fd)
