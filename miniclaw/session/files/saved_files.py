"""What this process has saved since the last scan, so that the next one need not open it.

The rule of the ledger about files that are just new does not hold here: between the rename and the look at the file
nobody else writes it, for this process owns the directory. Another program that edits a session in place, in the tick
of the clock in which it was saved and without a change of its size, is not noticed before the next change; like all
that the ledger says, this leads to no removal.
"""

from __future__ import annotations

import os
from typing import Final

from msgspec import Struct

from miniclaw.session.files.ledger import can_be_told_apart, encode_use, fingerprint
from miniclaw.session.types import Session

MAX_NOTES: Final = 4096
"""So many files are remembered; what is saved beyond is opened by the next scan. About 1.5 MB."""


class SavedFile(Struct, frozen=True, gc=False):
    """A session file as it was just after it was saved.

    Attributes:
        inode: The file's.
        entry: What the ledger has about it: times, size, and when it was used.
    """

    inode: int
    entry: tuple[int, int, int]


class SavedFiles:
    """The files that were saved lately, by their names. Any thread may call; what a race loses is read once more."""

    def __init__(self) -> None:
        self._files: dict[str, SavedFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    def note(self, name: str, session: Session, status: os.stat_result) -> None:
        """Remember a file that was just saved.

        Args:
            name: The file's.
            session: What it holds.
            status: What it is like in its place.
        """
        if not can_be_told_apart(status.st_mtime_ns, status.st_ctime_ns):
            return
        if name in self._files or len(self._files) < MAX_NOTES:
            used = encode_use(session.last_accessed, pinned=bool(session.pinned))
            times = fingerprint(status.st_mtime_ns, status.st_ctime_ns)
            self._files[name] = SavedFile(status.st_ino, (times, status.st_size, used))

    def all(self) -> dict[str, SavedFile]:
        """Return all that is remembered, for a scan."""
        return self._files.copy()

    def forget(self, files: dict[str, SavedFile]) -> None:
        """Forget what a scan has found, unless it was saved again meanwhile."""
        for name, file in files.items():
            if self._files.get(name) is file:
                self._files.pop(name, None)
