"""The files that this process has saved since the last scan, so that the next scan need not open them.

The ledger's rule about files that were changed just before does not apply here: this process owns the directory, and no
other process writes the file between its rename and the stat() that follows. If another program edits a session in
place, in the clock tick of its save and without a change of its size, that is not noticed before the next change. As
with all entries of the ledger, this leads to no removal.
"""

from __future__ import annotations

import os
from typing import Final, TypeAlias

from miniclaw.session.files.ledger import can_be_told_apart, encode_use, fingerprint
from miniclaw.session.types import Session

MAX_NOTES: Final = 4096
"""Maximum number of entries, about 1.5 MB; the next scan opens files that are saved beyond it."""


SavedFile: TypeAlias = tuple[int, tuple[int, int]]
"""The inode of a file just after it was saved, and its entry in the ledger: the fingerprint, and the encoded use."""


class SavedFiles:
    """The recently saved files, by their names. Any thread may call; an entry lost in a race costs one more read."""

    def __init__(self) -> None:
        self._files: dict[str, SavedFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    def note(self, name: str, session: Session, status: os.stat_result) -> None:
        """Add a file that was just saved.

        Args:
            name: The file's.
            session: Its content.
            status: Its status after the rename.
        """
        if not can_be_told_apart(status.st_mtime_ns, status.st_ctime_ns):
            return
        if name in self._files or len(self._files) < MAX_NOTES:
            used = encode_use(session.last_accessed, pinned=bool(session.pinned))
            state = fingerprint(status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            self._files[name] = status.st_ino, (state, used)

    def all(self) -> dict[str, SavedFile]:
        """Return a copy of all entries, for a scan."""
        return self._files.copy()

    def forget(self, files: dict[str, SavedFile]) -> None:
        """Drop the entries that a scan has taken over, except those of files that were saved again meanwhile."""
        for name, file in files.items():
            if self._files.get(name) is file:
                self._files.pop(name, None)
