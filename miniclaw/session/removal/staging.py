"""The folders in which removals happen: made once, on the disk before anything is moved into them, and used again.

One is always there beforehand: a full disk has no room for a folder, and nothing is needed more there than a removal.
"""

from __future__ import annotations

import errno
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, close_quietly, open_subdirectory, store_errors
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory, log
from miniclaw.session.files.stranded import BATCH_PREFIX, WORK_NAME

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_OTHERS_SECONDS: Final = 5.0
"""How long a batch waits for the folder of another one where the disk has no room for its own."""


class WorkFolders:
    """The folders of one owned directory. Any thread may use them; which are free stands in `SessionDirectory`."""

    def __init__(self, directory: SessionDirectory) -> None:
        self._directory = directory
        self._path = directory.path / WORK_NAME

    @contextmanager
    def taken(self) -> Iterator[tuple[str, int]]:
        """Have a folder for oneself; yield its name and an open descriptor.

        Durability: the folder itself is on the disk.

        Raises:
            StoreIOError: None is free and none can be made.
        """
        with self._directory.work() as work:
            name, fd = self._take(work)
        try:
            yield name, fd
        finally:
            close_quietly(self._directory.fs, fd)
            self.give_back(name)

    def give_back(self, name: str) -> None:
        """Let others have the folder, unless a removal that the system refused has left something in it."""
        if name not in self._directory.captured.values():
            self._directory.free_folders.put(name)

    def keep_one_ready(self, found: Sequence[str]) -> None:
        """Keep one of the empty folders of an earlier process, or make one; a failure is an ERROR in the log."""
        directory = self._directory
        try:
            with directory.work() as work, store_errors(self._path, "prepare"):
                for surplus in found[1:]:
                    with suppress(OSError):  # it costs nothing, and the next start tries again
                        directory.fs.rmdir(surplus, dir_fd=work)
                if found:
                    self._sync_names(work)
                    directory.free_folders.put(found[0])
                else:
                    name, fd = self._make(work)
                    close_quietly(directory.fs, fd)
                    directory.free_folders.put(name)
        except StoreError as error:
            log.error("Folder for removals could not be prepared", path=str(self._path), error=str(error))

    def _take(self, work: int) -> tuple[str, int]:
        directory = self._directory
        fs = directory.fs
        while True:
            try:
                name = directory.free_folders.get_nowait()
            except queue.Empty:
                break
            try:
                return name, fs.open(name, DIRECTORY_FLAGS, dir_fd=work)
            except OSError as error:  # removed or replaced, or the whole work folder was
                log.warning("Folder for removals is gone", path=str(self._path / name), error=str(error))
        with store_errors(self._path, "make a folder for removals"):
            try:
                return self._make(work)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                try:
                    name = directory.free_folders.get(timeout=_OTHERS_SECONDS)
                except queue.Empty:
                    raise error from None
            return name, fs.open(name, DIRECTORY_FLAGS, dir_fd=work)

    def _make(self, work: int) -> tuple[str, int]:
        fs = self._directory.fs
        name = BATCH_PREFIX + os.urandom(8).hex()
        try:
            fd = open_subdirectory(fs, name, dir_fd=work)
            try:
                self._sync_names(work)
            except BaseException:
                close_quietly(fs, fd)
                raise
        except BaseException:
            with suppress(OSError):
                fs.rmdir(name, dir_fd=work)
            raise
        return name, fd

    def _sync_names(self, work: int) -> None:
        """Bring the names of the folders to the disk, up to the sessions directory: the work folder may be new, too."""
        for fd in (work, self._directory.fd):
            sync_directory(self._directory.fs, fd)
