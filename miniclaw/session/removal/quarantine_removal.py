"""Removing files from quarantine, synchronously: for good, or by way of the trash.

Order on the disk, so that a crash or a power cut at any point leaves each file in quarantine or in the trash, maybe in
both: copy to the trash · turn the copies into entries · unlink · sync the folder. A file that was changed after it was
judged is kept. A link, a FIFO, a socket or an empty directory is removed for good; a directory that is not empty is
kept.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from miniclaw.errors import StoreError
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import Leftover, LeftoverRemoval, QuarantinedFile
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine_folder
from miniclaw.session.removal.quarantine_files import examine, is_quarantined, is_same_file
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.trash.entries import Prepared
from miniclaw.session.trash.trash import Trash

NOT_OURS: Final = "its name is not one that miniclaw gives to such a file"
_NOT_EMPTY: Final = "it is a directory with files in it; move them elsewhere or delete them first"
_CHANGED: Final = "it was changed since it was looked at"


def leftover_of(file: QuarantinedFile) -> Leftover:
    """Return a file in quarantine as a leftover."""
    return Leftover("quarantined", file.id, file.size, file.since, header=file.header, readable=file.readable)


def synced(fs: OsCalls, folder: int, removals: list[LeftoverRemoval]) -> list[LeftoverRemoval]:
    """Sync the folder of removed files; return the removals, with ``removed`` made ``failed`` if that fails."""
    try:
        sync_directory(fs, folder)
    except OSError as error:
        reason = f"removed, but a power cut may bring it back: {error.strerror}"
        return [
            replace(removal, outcome="failed", bytes_freed=0, reason=reason)
            if removal.outcome == "removed"
            else removal
            for removal in removals
        ]
    return removals


def remove_quarantined(
    directory: SessionDirectory,
    leftovers: Sequence[Leftover],
    *,
    trash: Trash | None = None,
    order: TrashOrder | None = None,
) -> list[LeftoverRemoval]:
    """Remove files from quarantine, each after a final check.

    Args:
        directory: Owned by this process.
        leftovers: The files, as they were judged.
        trash: The trash. A file in `order` that cannot be copied there is kept.
        order: None: no file is moved to the trash.

    Returns:
        One removal for each, in their order. Refusals by the system are reported there, not raised.

    Raises:
        OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.check_owned`; nothing was removed.
    """
    try:
        with quarantine_folder(directory).opened(to_change=True) as folder:
            return _Batch(directory, folder, trash, order).run(leftovers)
    except FileNotFoundError:
        return [LeftoverRemoval(leftover, "vanished") for leftover in leftovers]
    except OSError as error:
        reason = f"could not open {quarantine_folder(directory).path}: {error.strerror}"
        return [LeftoverRemoval(leftover, "failed", reason=reason) for leftover in leftovers]


class _Batch:
    def __init__(self, directory: SessionDirectory, folder: int, trash: Trash | None, order: TrashOrder | None) -> None:
        self._directory = directory
        self._fs = directory.fs
        self._folder = folder
        self._trash = trash
        self._order = order
        self._judged: dict[str, os.stat_result] = {}  # key -> status of a file that may be removed
        self._copies: dict[str, Prepared] = {}

    def run(self, leftovers: Sequence[Leftover]) -> list[LeftoverRemoval]:
        staying: dict[str, LeftoverRemoval] = {}
        for leftover in {each.key: each for each in leftovers}.values():
            try:
                self._judged[leftover.key] = self._judge(leftover)
                self._copy(leftover)
            except (OSError, StoreError) as error:
                staying[leftover.key] = _stays(leftover, error)
        try:
            if self._trash is not None:
                self._trash.commit([*self._copies.values()])
        except StoreError as error:
            staying |= {each.key: _stays(each, error) for each in leftovers if each.key in self._copies}
            self._copies.clear()
        removals = [staying.get(leftover.key) or self._remove(leftover) for leftover in leftovers]
        removed = {removal.leftover.key for removal in removals if removal.outcome == "removed"}
        if self._trash is not None:
            self._trash.abandon([copy for key, copy in self._copies.items() if key not in removed])
        return synced(self._fs, self._folder, removals)

    def _judge(self, leftover: Leftover) -> os.stat_result:
        """Return the status of a file that may be removed.

        Raises:
            OSError: The file cannot be examined.
            StoreError: The file is kept for another reason.
        """
        if not is_quarantined(leftover.key):
            raise StoreError(NOT_OURS)
        status = self._fs.stat(leftover.key, dir_fd=self._folder)
        file = examine(self._directory, leftover.key, dir_fd=self._folder)
        if file is None or leftover_of(file) != leftover:
            raise StoreError(_CHANGED)
        return status

    def _copy(self, leftover: Leftover) -> None:
        trash, order = self._trash, self._order
        is_file = stat.S_ISREG(self._judged[leftover.key].st_mode)  # the trash can hold nothing else
        if trash is not None and order is not None and leftover.key in order.reasons and is_file:
            self._copies[leftover.key] = trash.prepare(
                leftover.key, leftover.header, dir_fd=self._folder, reason=order.reasons[leftover.key],
                by=order.by, now=order.now, keep_for=order.keep_for, from_quarantine=True,
            )  # fmt: skip

    def _remove(self, leftover: Leftover) -> LeftoverRemoval:
        try:
            freed = self._unlink(leftover.key)
        except (OSError, StoreError) as error:
            return _stays(leftover, error)
        if copy := self._copies.get(leftover.key):
            return LeftoverRemoval(leftover, "removed", freed - copy.stored_size, entry_id=copy.entry_id)
        return LeftoverRemoval(leftover, "removed", freed)

    def _unlink(self, key: str) -> int:
        """Unlink a file, and return the bytes freed on the disk; raises as `_judge`."""
        status = self._fs.stat(key, dir_fd=self._folder)
        if not is_same_file(status, self._judged[key]):
            raise StoreError(_CHANGED)
        if not stat.S_ISDIR(status.st_mode):
            self._fs.unlink(key, dir_fd=self._folder)
            return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
        try:
            self._fs.rmdir(key, dir_fd=self._folder)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise StoreError(_NOT_EMPTY) from error
            raise
        return 0


def _stays(leftover: Leftover, error: OSError | StoreError) -> LeftoverRemoval:
    """Return the removal of a file that is kept."""
    if isinstance(error, FileNotFoundError):
        return LeftoverRemoval(leftover, "vanished")
    reason = f"could not remove it: {error.strerror}" if isinstance(error, OSError) else str(error)
    return LeftoverRemoval(leftover, "failed", reason=reason)
