"""What a crash leaves: a copy of a directory tree, taken between two system calls."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miniclaw.session.disk.syscalls import Bytes, OsCalls
from miniclaw.session.journal.records import JOURNAL_NAME
from tests.fakes.os_calls import CALLS


def copy_tree(source: Path, target: Path, lost: Mapping[int, Sequence[tuple[int, int]]] | None = None) -> None:
    """Copy a tree as it is: links as links, two names of one file as two names of one file.

    Args:
        source: The tree.
        target: A directory that is made.
        lost: Offsets and sizes, by the inode of a file, of what the copy has line feeds in place of.
    """
    copied: dict[int, str] = {}
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        found = list(entries)
    pending = [(entry, target / entry.name) for entry in found]
    while pending:
        entry, to = pending.pop()
        if entry.is_symlink():
            to.symlink_to(os.readlink(entry))
        elif entry.is_dir():
            to.mkdir(mode=0o700)
            with os.scandir(entry) as entries:
                pending += [(inner, to / inner.name) for inner in entries]
        elif entry.inode() in copied:
            os.link(copied[entry.inode()], to)
        else:
            shutil.copyfile(entry, to)
            with open(to, "r+b") as file:
                for offset, size in (lost or {}).get(entry.inode(), ()):
                    os.pwrite(file.fileno(), b"\n" * size, offset)
            copied[entry.inode()] = str(to)


class SnapshotOs(OsCalls):
    """The real calls, one at a time, without the wait for the disk; before the n-th one a copy of the tree is made.

    A copy can tell what a crash of the process leaves, and nothing about power cuts: so `fsync` does nothing here. But
    it may lack what the journal has written and not synced.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.RLock()
        self._calls_left = 0
        self._source = self._target = Path()
        self._loses_unsynced = False
        self._unsynced: dict[int, list[tuple[int, int]]] = {}  # inode -> offsets and sizes

    def copy_before(self, call: int, source: Path, target: Path, *, loses_unsynced: bool = False) -> None:
        """Have `source` copied to `target` before that call from now on, the next one being 1."""
        self._calls_left, self._source, self._target = call, source, target
        self._loses_unsynced = loses_unsynced

    def copy_now(self) -> None:
        """Make the copy if it was not made yet."""
        with self._one_at_a_time:
            if self._calls_left:
                self._calls_left = 0
                copy_tree(self._source, self._target, self._unsynced if self._loses_unsynced else None)

    def fsync(self, fd: int) -> None:
        os.fstat(fd)  # it has to be open

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        written = super().pwrite(fd, data, offset)
        if JOURNAL_NAME in self.path_of(fd):  # nothing else is ever synced by `sync_data`
            self._unsynced.setdefault(os.fstat(fd).st_ino, []).append((offset, written))
        return written

    def sync_data(self, fd: int) -> None:
        self._unsynced.pop(os.fstat(fd).st_ino, None)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._one_at_a_time:
                if self._calls_left == 1:
                    self.copy_now()
                elif self._calls_left:
                    self._calls_left -= 1
                return value(*args, **kwargs)

        return call
