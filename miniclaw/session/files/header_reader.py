"""Reading the headers of many files, with some of them asked for ahead as soon as the disk must be behind it.

What is asked for is fetched by the kernel while files before it are read. That is quicker than threads: a few of them
spend more time on handing the interpreter's lock to one another than a file takes, and each has a megabyte of memory.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from time import perf_counter, thread_time
from typing import Final, TypeAlias

from miniclaw.session.disk.atomic import close_quietly
from miniclaw.session.entries import ProblemFile, ScanRow, Verify
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format.codec import HEADER_PREFIX_BYTES

WAIT_FACTOR: Final = 2
"""Where reading takes so many times as long as the work that it is, it waits for the disk."""

AHEAD: Final = 16
"""So many files are open and asked for, then."""

_PROBE: Final = 64  # files that are read without, to see whether that waits
_GO: Final = 1024  # files that are read before what was found in them is judged
_GOES: Final = 16  # between two probes, while files are asked for: of them the waiting cannot be told

Found: TypeAlias = tuple[ScanRow | None, int, int, int]
"""What became of a file: its row, if it is still there, and its inode, mtime and ctime, in nanoseconds.

The last three are 0 where they do not tell which file it is: where it was not read, or has another name as well.
"""


class HeaderReader:
    """Reads headers. Used by one thread at a time.

    Args:
        directory: Where the files lie.
        verify: See `SessionDirectory.read_row`.
    """

    def __init__(self, directory: SessionDirectory, verify: Verify | None) -> None:
        self._directory = directory
        self._verify = verify
        self._buffer = bytearray(HEADER_PREFIX_BYTES)
        self._goes = 0  # ahead, until the next probe
        self._probes = True  # rather than reading much at once

    def read(self, unread: deque[tuple[int, str]], end: float) -> list[Found]:
        """Read some files, at least one, until `end` on the clock of `perf_counter`.

        Args:
            unread: Inodes and names, in the order in which they are to be read. What is read is taken out.
            end: When to stop.
        """
        found: list[Found] = []
        if self._goes:
            self._goes -= 1
            self._read_ahead(unread, found, end)
            return found
        began, worked = perf_counter(), thread_time()
        self._read(unread, found, end, most=_PROBE if self._probes else _GO)
        self._probes = perf_counter() - began > WAIT_FACTOR * (thread_time() - worked)
        self._goes = _GOES if self._probes else 0
        return found

    def _read(self, unread: deque[tuple[int, str]], found: list[Found], end: float, *, most: int) -> None:
        open_entry = self._directory.open_entry
        while unread and len(found) < most:
            _, name = unread.popleft()
            self._take(open_entry(name), name, found)
            if perf_counter() > end:
                break

    def _read_ahead(self, unread: deque[tuple[int, str]], found: list[Found], end: float) -> None:
        fs, open_entry = self._directory.fs, self._directory.open_entry
        opened: deque[tuple[int | ScanRow | None, str]] = deque()
        goes_on = True
        try:
            while True:
                while goes_on and unread and len(opened) < AHEAD:
                    file = unread.popleft()
                    name = file[1]
                    fd = open_entry(name)
                    if opened and isinstance(fd, ProblemFile) and fd.kind == "unreadable":
                        # Perhaps for want of descriptors, of which this has too many: again, when it has none.
                        unread.appendleft(file)
                        goes_on = False
                        break
                    opened.append((fd, name))
                    if isinstance(fd, int):
                        with suppress(OSError):  # it is advice, no more
                            fs.read_ahead(fd, HEADER_PREFIX_BYTES)
                if not opened:
                    break
                self._take(*opened.popleft(), found)
                goes_on = len(found) < _GO and perf_counter() <= end
        finally:
            for left, _ in opened:
                if isinstance(left, int):
                    close_quietly(fs, left)

    def _take(self, fd: int | ScanRow | None, name: str, found: list[Found]) -> None:
        """Read an open file, or take what was wrong with it."""
        if not isinstance(fd, int):
            found.append((fd, 0, 0, 0))
            return
        row, status = self._directory.read_opened(fd, name, verify=self._verify, buffer=self._buffer)
        if status is not None and status.st_nlink == 1:
            # Not the status itself: a thousand of them take a megabyte.
            found.append((row, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
        else:
            found.append((row, 0, 0, 0))
