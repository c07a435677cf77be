"""The store's system calls, with a power switch beside them; and versions of them that are broken on purpose."""

from __future__ import annotations

import itertools
import os
import random
import stat
from collections.abc import Callable
from typing import Any, Final

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.os_calls import CALLS

_COMMITTED_CALLS: Final = 5_000
"""After so many the kernel is left to itself."""


class CuttingOs(OsCalls):
    """Counts the calls, cuts the power before one of them, and has the kernel write out before some.

    Attributes:
        cut_before: The call before which the power goes, counted from 1; None: somebody else cuts it.
    """

    def __init__(self, commit: Callable[[], None]) -> None:
        self.cut_before: int | None = None
        self._commit = commit
        self._cut: Callable[[], None] = lambda: None
        self._calls = itertools.count(1)  # next() is atomic: any thread may call
        self._commits: frozenset[int] = frozenset()

    def arm(self, cut: Callable[[], None], *, before: int | None, chance: random.Random) -> None:
        """Begin to count anew; have the kernel write out before one call in fifty."""
        self._calls = itertools.count(1)
        self._cut, self.cut_before = cut, before
        self._commits = frozenset(call for call in range(1, _COMMITTED_CALLS) if chance.random() < 0.02)

    def disarm(self) -> None:
        """No cut from now on."""
        self._cut, self.cut_before, self._commits = (lambda: None), None, frozenset()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            number = next(self._calls)
            if number in self._commits:
                self._commit()
            if number == self.cut_before:
                self._cut()
            return value(*args, **kwargs)

        return call


class NoFsync(CuttingOs):
    """Broken: nothing is ever synced."""

    def fsync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)


class NoJournalSync(CuttingOs):
    """Broken: what is said is written to the journal, and not synced."""

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)


class NoDirectoryFsync(CuttingOs):
    """Broken: files are synced, directories are not."""

    def fsync(self, fd: int) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.fsync(fd)


KINDS: Final[dict[str, type[CuttingOs]]] = {
    "nothing": CuttingOs,
    "no-fsync": NoFsync,
    "no-journal-sync": NoJournalSync,
    "no-dirsync": NoDirectoryFsync,
}
