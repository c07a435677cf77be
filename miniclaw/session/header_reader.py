"""Reading the headers of many files, by a few threads as soon as the disk must be behind it."""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter
from typing import Final, TypeAlias

from miniclaw.session.codec import HEADER_PREFIX_BYTES
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.rows import ScanRow, Verify

COLD_SECONDS: Final = 150e-6
"""A file that takes longer to read, on average, comes from the disk and not from memory."""

COLD_THREADS: Final = 8
"""So many threads read files that come from the disk."""

_FIRST_GO: Final = 64  # files; then it is known where they come from
_LATER_GO: Final = 1024

Found: TypeAlias = tuple[ScanRow | None, int, int, int]
"""What became of a file: its row, if it is still there, and its inode, mtime and ctime, in nanoseconds.

The last three are 0 where they do not tell which file it is: where it was not read, or has another name as well.
"""


class HeaderReader:
    """Reads headers. Used by one thread at a time, which others help.

    Args:
        directory: Where the files lie.
        verify: See `SessionDirectory.read_row`.
    """

    def __init__(self, directory: SessionDirectory, verify: Verify | None) -> None:
        self._directory = directory
        self._verify = verify
        self._cold = False
        self._at_once = _FIRST_GO

    def read(self, unread: deque[tuple[int, str]], end: float) -> list[Found]:
        """Read some files, at least one, until `end` on the clock of `perf_counter`.

        Args:
            unread: Inodes and names, in the order in which they are to be read. What is read is taken out.
            end: When to stop.
        """
        found: list[Found] = []  # appended to by any of the threads
        began = perf_counter()
        helpers = [_Helper(self, unread, found, end) for _ in range(COLD_THREADS - 1 if self._cold else 0)]
        for helper in helpers:
            helper.start()
        self.read_some(unread, found, end)
        for helper in helpers:
            helper.join()
            if helper.error is not None:
                raise helper.error
        self._cold = (perf_counter() - began) * (len(helpers) + 1) > COLD_SECONDS * len(found)
        self._at_once = _LATER_GO
        return found

    def read_some(self, unread: deque[tuple[int, str]], found: list[Found], end: float) -> None:
        """Read files until none is left or there are enough, at least one; in any of the threads."""
        read, verify, at_once = self._directory.read_entry, self._verify, self._at_once
        # Not a new one for each file: every thread would keep a megabyte of them.
        buffer = bytearray(HEADER_PREFIX_BYTES)
        while True:
            try:
                _, name = unread.popleft()
            except IndexError:
                return
            row, status = read(name, verify=verify, buffer=buffer)
            if status is not None and status.st_nlink == 1:
                # Not the status itself: a thousand of them take a megabyte.
                found.append((row, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
            else:
                found.append((row, 0, 0, 0))
            if len(found) >= at_once or perf_counter() > end:
                return


class _Helper(threading.Thread):
    """A thread that reads along for one go. Nobody waits for it at the end of the program."""

    def __init__(self, reader: HeaderReader, unread: deque[tuple[int, str]], found: list[Found], end: float) -> None:
        super().__init__(name="miniclaw-scan", daemon=True)
        self._reader = reader
        self._unread = unread
        self._found = found
        self._end = end
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._reader.read_some(self._unread, self._found, self._end)
        except Exception as error:  # noqa: BLE001 - raised by who started the thread
            self.error = error
