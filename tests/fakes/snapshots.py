"""What a crash leaves: a copy of a directory tree, taken between two system calls."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.os_calls import CALLS


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree as it is: links as links, two names of one file as two names of one file."""
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
            copied[entry.inode()] = str(to)


class SnapshotOs(OsCalls):
    """The real calls, one at a time, without the wait for the disk; before the n-th one a copy of the tree is made.

    A copy can tell what a crash of the process leaves, and nothing about power cuts: so `fsync` and `sync_data` do nothing here.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.RLock()
        self._calls_left = 0
        self._source = self._target = Path()

    def copy_before(self, call: int, source: Path, target: Path) -> None:
        """Have `source` copied to `target` before that call from now on, the next one being 1."""
        self._calls_left, self._source, self._target = call, source, target

    def copy_now(self) -> None:
        """Make the copy if it was not made yet."""
        with self._one_at_a_time:
            if self._calls_left:
                self._calls_left = 0
                copy_tree(self._source, self._target)

    def fsync(self, fd: int) -> None:
        os.fstat(fd)  # it has to be open

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)

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
