"""The folders in which removals happen: each is made once, synced before any file is moved into it, and reused.

One of them always exists beforehand: a full disk has no room for a new folder, and needs removals most.
"""

from __future__ import annotations

import errno
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, close_quietly, store_errors
from miniclaw.session.disk.directories import open_subdirectory
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory, log
from miniclaw.session.files.stranded import BATCH_PREFIX, WORK_NAME

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_OTHERS_SECONDS: Final = 5.0
"""How long a batch waits for the folder of another one if the disk has no room for its own."""


class WorkFolders:
    """The folders of one owned directory. Any thread may use them; `SessionDirectory` holds the free ones."""

    def __init__(self, directory: SessionDirectory) -> None:
        self._directory = directory
        self._path = directory.path / WORK_NAME

    @contextmanager
    def taken(self) -> Iterator[tuple[str, int]]:
        """Take a folder for exclusive use in a block; yield its name and an open descriptor.

        Durability: the folder itself is on the disk.

        Raises:
            StoreIOError: No folder is free and none can be made.
        """
        with self._directory.work() as work:
            name, fd = self._take(work)
        try:
            yield name, fd
        finally:
            close_quietly(self._directory.fs, fd)
            self.give_back(name)

    def give_back(self, name: str) -> None:
        """Free the folder for other removals, unless a removal that the system refused left a session in it."""
        if name not in self._directory.captured.values():
            self._directory.free_folders.put(name)

    def keep_one_ready(self, found: Sequence[str]) -> None:
        """Keep one of the empty folders of an earlier process, or make one; a failure is logged as an ERROR."""
        directory = self._directory
        try:
            with directory.work() as work, store_errors(self._path, "prepare"):
                for surplus in found[1:]:
                    with suppress(OSError):  # a surplus folder is harmless, and the next start tries again
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
            except OSError as error:  # it, or the whole work folder, was removed or replaced
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
        """Sync the names of the folders, and the name of the work folder, which may be new, too."""
        for fd in (work, self._directory.fd):
            sync_directory(self._directory.fs, fd)
