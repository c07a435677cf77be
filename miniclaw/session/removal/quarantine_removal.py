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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session.disk.unlink import unlink_all
from miniclaw.session.entries import Leftover, LeftoverRemoval, QuarantinedFile
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantine_folder
from miniclaw.session.removal.quarantine_files import examine, is_quarantined, is_same_file
from miniclaw.session.removal.transaction import TrashCopies, TrashOrder
from miniclaw.session.trash.trash import Trash

NOT_OURS: Final = "its name is not one that miniclaw gives to such a file"
_NOT_EMPTY: Final = "it is a directory with files in it; move them elsewhere or delete them first"
_CHANGED: Final = "it was changed since it was looked at"


def leftover_of(file: QuarantinedFile) -> Leftover:
    """Return a file in quarantine as a leftover."""
    return Leftover("quarantined", file.id, file.size, file.since, header=file.header, readable=file.readable)


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
    batch = _Batch(directory, leftovers, TrashCopies(trash, order))
    path = directory.path / QUARANTINE_NAME
    done = unlink_all(directory.fs, batch.opened, path, [leftover.key for leftover in leftovers], batch.unlink)
    return [
        LeftoverRemoval(leftover, *each, "" if each[0] == "vanished" else batch.entry_id(leftover.key))
        for leftover, each in zip(leftovers, done, strict=True)
    ]


class _Batch:
    def __init__(self, directory: SessionDirectory, leftovers: Sequence[Leftover], copies: TrashCopies) -> None:
        self._directory = directory
        self._fs = directory.fs
        self._leftovers = {leftover.key: leftover for leftover in leftovers}
        self._judged: dict[str, os.stat_result] = {}  # key -> status of a file that may be removed
        self._kept: dict[str, OSError | StoreError] = {}  # key -> why its file is kept
        self._unlinked: set[str] = set()
        self._copies = copies

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the folder for a block that unlinks: before it, judge the files and copy them to the trash."""
        with quarantine_folder(self._directory).opened(to_change=True) as folder:
            for leftover in self._leftovers.values():
                try:
                    self._judged[leftover.key] = status = self._judge(leftover, folder)
                    if stat.S_ISREG(status.st_mode):  # the trash can hold nothing else
                        self._copies.add(leftover.key, leftover.header, dir_fd=folder, from_quarantine=True)
                except (OSError, StoreError) as error:
                    self._kept[leftover.key] = error
            try:
                self._copies.commit()
            except StoreError as error:
                self._kept |= dict.fromkeys(self._copies.prepared, error)
                self._copies.prepared.clear()
            yield folder
            self._copies.abandon([key for key in self._copies.prepared if key not in self._unlinked])
            self._kept.clear()  # the frames of these errors hold this batch

    def entry_id(self, key: str) -> str:
        """Return the id of a file's entry in the trash; empty: it has none."""
        copy = self._copies.prepared.get(key)
        return copy.entry_id if copy else ""

    def _judge(self, leftover: Leftover, folder: int) -> os.stat_result:
        """Return the status of a file that may be removed; an `OSError` or a `StoreError` says why it is kept."""
        if not is_quarantined(leftover.key):
            raise StoreError(NOT_OURS)
        status = self._fs.stat(leftover.key, dir_fd=folder)
        file = examine(self._directory, leftover.key, dir_fd=folder)
        if file is None or leftover_of(file) != leftover:
            raise StoreError(_CHANGED)
        return status

    def unlink(self, folder: int, key: str) -> int:
        """Unlink a file unless it is kept, and return the bytes that the disk gains; raises as `_judge`."""
        if key in self._kept:
            raise self._kept[key]
        status = self._fs.stat(key, dir_fd=folder)
        if not is_same_file(status, self._judged[key]):
            raise StoreError(_CHANGED)
        if stat.S_ISDIR(status.st_mode):
            try:
                self._fs.rmdir(key, dir_fd=folder)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise StoreError(_NOT_EMPTY) from error
                raise
        else:
            self._fs.unlink(key, dir_fd=folder)
        self._unlinked.add(key)
        freed = status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
        copy = self._copies.prepared.get(key)
        return freed - copy.stored_size if copy else freed
