"""The staging area: the folders of the work folder in which removals happen, and the sessions captured in them.

Each folder is made once, synced before any file is moved into it, and reused. One of them always exists beforehand: a
full disk has no room for a new folder, and needs removals most.
"""

from __future__ import annotations

import errno
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import (
    DIRECTORY_FLAGS,
    TEMPORARY_PREFIX,
    close_quietly,
    opened,
    store_errors,
    unlink_quietly,
)
from miniclaw.session.disk.directories import open_subdirectory
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.places import forget_capture
from miniclaw.session.files.stranded import BATCH_PREFIX, WORK_NAME
from miniclaw.session.removal.put_back import put_back

log: Final = get_logger("miniclaw.session.store")

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_OTHERS_SECONDS: Final = 5.0
"""How long a batch waits for the folder of another one if the disk has no room for its own."""


class Recovery(Struct, frozen=True):
    """Counts of one recovery: sessions that were put back, and temporary files that were deleted."""

    put_back: int = 0
    temporary: int = 0


class StagingArea:
    """The staging area of one owned directory. `SessionDirectory` holds its state. Any thread may use it."""

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

    def settle(self, name: str) -> None:
        """Put back the file of a session that an earlier removal left captured, and unlink its captured name.

        Raises:
            OSError: The file is still captured.
            StoreError: Likewise.
        """
        directory = self._directory
        folder = directory.captured.get(name)
        if folder is None:
            return
        fs = directory.fs
        with ExitStack() as resources:
            work = resources.enter_context(directory.work())
            try:
                fd = resources.enter_context(opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work))
                fs.stat(name, dir_fd=fd)
            except FileNotFoundError:
                pass  # its folder, or the whole work folder, was removed as well
            else:
                put_back(directory, name, dir_fd=fd)
                sync_directory(fs, directory.fd)
                forget_capture(directory, name, dir_fd=fd)
                sync_directory(fs, fd)
        del directory.captured[name]
        self.give_back(folder)

    def recover(self) -> Recovery:
        """Resolve the files that a dead process left in the work folder. None of them has a live owner.

        Temporary files were never sessions, and are deleted. Captured sessions are put back: an unfinished removal was
        not reported, and the next run decides anew.

        Raises:
            StoreIOError: The work folder cannot be read. A session that cannot be put back is logged and remains there.
        """
        fs, path = self._directory.fs, self._path
        empty: list[str] = []
        temporary = put = 0
        with self._directory.work() as work:
            with store_errors(path, "list"), fs.scandir(work) as entries:
                found = [entry.name for entry in entries]
            for name in found:
                if name.startswith(TEMPORARY_PREFIX):
                    unlink_quietly(fs, name, dir_fd=work)
                    temporary += 1
                elif name.startswith(BATCH_PREFIX):
                    try:
                        put += self._recover_folder(name, work)
                        empty.append(name)
                    except (OSError, StoreError) as error:
                        log.error("Unfinished removal could not be resolved", path=str(path / name), error=str(error))
        self._keep_one_ready(empty)
        if temporary or put:
            log.warning("Resolved what an earlier process left", put_back=put, temporary=temporary, path=str(path))
        return Recovery(put, temporary)

    def _recover_folder(self, folder: str, work: int) -> int:
        directory, fs = self._directory, self._directory.fs
        with opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work) as fd:
            with fs.scandir(fd) as entries:
                # NFS and FUSE keep a file that was unlinked while open, under a hidden name: it is not captured.
                captured = [entry.name for entry in entries if names.is_session_file(entry.name)]
            if not captured:
                return 0
            for name in captured:
                put_back(directory, name, dir_fd=fd)
            sync_directory(fs, directory.fd)
            for name in captured:
                with suppress(OSError):
                    forget_capture(directory, name, dir_fd=fd)
            sync_directory(fs, fd)
        return len(captured)

    def _keep_one_ready(self, found: Sequence[str]) -> None:
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
