"""The move of files between two open folders, maybe across file systems; no file is overwritten or lost."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from miniclaw.session.disk.atomic import create_exclusively, read_whole, replace_file, temporary_name, unlink_quietly
from miniclaw.session.disk.directories import opened_to_read
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import OsCalls

_MAX_MERGED_BYTES: Final = 64 * 1024 * 1024  # of one file; a history is limited to a sixteenth
_PIECE_BYTES: Final = 1024 * 1024


class FolderMove:
    """The move of files from one open folder into another one.

    Attributes:
        moved: Number of files that are durably in the new place, and only there.
        failed: Name -> reason why the file is still in the old place, or may reappear there after a power cut.
    """

    def __init__(self, fs: OsCalls, source: int, target: int) -> None:
        self.moved: int = 0
        self.failed: dict[str, str] = {}
        self._fs = fs
        self._source = source
        self._target = target
        self._renamed: list[str] = []  # since the last sync
        self._complete: dict[str, str] = {}  # name to unlink in the old place -> name of its copy, or empty

    def is_taken(self, new_name: str) -> bool:
        """Return whether a name is taken in the new place."""
        try:
            self._fs.stat(new_name, dir_fd=self._target)
        except FileNotFoundError:
            return False
        return True

    def is_copy(self, name: str, new_name: str) -> bool:
        """Return whether a file in the old place and one in the new place have the same content."""
        with self._opened(name, self._source) as old, self._opened(new_name, self._target) as new:
            return self._are_equal(old, new)

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of a file in the old place."""
        value = 0
        with self._opened(name, self._source) as fd:
            for piece in self._pieces(fd):
                value = zlib.crc32(piece, value)
        return value

    def put(self, name: str, new_name: str) -> None:
        """Move a file to a name that is free."""
        try:
            self._fs.rename(name, new_name, src_dir_fd=self._source, dst_dir_fd=self._target)
            self._renamed.append(name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(name, new_name)
            self.drop(name, new_name)

    def merge(self, name: str, merge: Callable[[bytes, bytes], bytes]) -> None:
        """Merge a file that is in both places into the new one; `merge` gets the new place's content first."""
        here, there = self._read(name, self._target), self._read(name, self._source)
        merged = merge(here, there)
        if merged != here:
            replace_file(self._fs, name, merged, dir_fd=self._target)

    def drop(self, name: str, copy: str = "") -> None:
        """Schedule a file in the old place for deletion, once the new place is synced to the disk.

        Args:
            name: The file.
            copy: Its copy in the new place, if only one of the two may exist: it is deleted if the file cannot be.
        """
        self._complete[name] = copy

    def settle(self) -> None:
        """Sync the new names to the disk, then delete the copied and merged files from the old place.

        Raises:
            OSError: A folder cannot be synced; `failed` has the files. No file is deleted whose new name may not be on
                the disk.
        """
        if not (self._renamed or self._complete):
            return
        fs = self._fs
        moved, self._renamed = self._renamed, []
        complete, self._complete = self._complete, {}
        try:
            sync_directory(fs, self._target)
        except OSError as error:
            self.failed |= dict.fromkeys([*moved, *complete], f"could not sync its new folder: {error.strerror}")
            raise
        for name, copy in complete.items():
            try:
                with suppress(FileNotFoundError):
                    fs.unlink(name, dir_fd=self._source)
                moved.append(name)
            except OSError as error:
                self.failed[name] = f"could not remove it from its old place: {error.strerror}"
                with suppress(OSError):
                    fs.stat(name, dir_fd=self._source)
                    if copy:
                        # With a copy in both places, a restored or erased session would reappear.
                        fs.unlink(copy, dir_fd=self._target)
        try:
            sync_directory(fs, self._source)
        except OSError as error:
            self.failed |= dict.fromkeys(moved, f"could not sync its old folder: {error.strerror}")
            raise
        self.moved += len(moved)

    def _copy(self, name: str, new_name: str) -> None:
        fs = self._fs
        with self._opened(name, self._source) as old, temporary_name(None) as temporary:
            create_exclusively(fs, temporary, self._pieces(old), dir_fd=self._target)
            try:
                with self._opened(temporary, self._target) as new:
                    self._check_copy(old, new)
                fs.rename(temporary, new_name, src_dir_fd=self._target, dst_dir_fd=self._target)
            except BaseException:
                unlink_quietly(fs, temporary, dir_fd=self._target)
                raise

    def _read(self, name: str, folder: int) -> bytes:
        with opened_to_read(self._fs, name, dir_fd=folder) as (fd, status):
            if status.st_size > _MAX_MERGED_BYTES:
                raise OSError(errno.EFBIG, f"{status.st_size} bytes are too many to be merged")
            return read_whole(self._fs, fd, size=status.st_size)

    def _pieces(self, fd: int) -> Iterator[bytes]:
        at = 0
        while piece := self._fs.pread(fd, _PIECE_BYTES, at):
            yield piece
            at += len(piece)

    def _check_copy(self, old: int, new: int) -> None:
        if not self._are_equal(old, new):
            raise OSError(errno.EIO, "the copy is not what was copied")

    def _are_equal(self, old: int, new: int) -> bool:
        at = 0
        while True:
            one, other = (self._fs.pread(fd, _PIECE_BYTES, at) for fd in (old, new))
            size = min(len(one), len(other))  # a read may be short
            if one[:size] != other[:size]:
                return False
            if not size:
                return one == other
            at += size

    @contextmanager
    def _opened(self, name: str, folder: int) -> Iterator[int]:
        with opened_to_read(self._fs, name, dir_fd=folder) as (fd, _):
            yield fd
