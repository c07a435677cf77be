"""A reader of the headers of many files, with read-ahead as soon as reads seem to wait for the disk.

The kernel fetches the files of the read-ahead while files before them are read. That is faster than threads: a few of
them spend more time on handing the interpreter's lock to one another than a file takes, and each takes a megabyte of
memory.
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
"""Reads may wait for the disk if they take more than this many times their CPU time."""

LEAST_WAITS: Final = 1 / 8
"""Fraction of the files, inclusive, at which the thread has to wait; for fewer, only other programs delay it."""

AHEAD: Final = 16
"""Maximum number of files that are open for read-ahead."""

_PROBE: Final = 64  # files that are read without read-ahead, to measure the wait
_GO: Final = 1024  # files that are read before their rows are judged
_GOES: Final = 16  # runs of read-ahead between two probes; the wait cannot be measured during them

Found: TypeAlias = tuple[ScanRow | None, int, int, int]
"""The result for one file: its row (None if it is gone), its inode, and its mtime and ctime in nanoseconds.

The last three are 0 if they do not identify the file: it was not read, or it has another name as well.
"""


class HeaderReader:
    """A reader of headers. Used by one thread at a time.

    Args:
        directory: The directory of the files.
        verify: As for `SessionDirectory.read_opened`.
    """

    def __init__(self, directory: SessionDirectory, verify: Verify | None) -> None:
        self._directory = directory
        self._overlay = directory.overlay
        self._verify = verify
        self._buffer = bytearray(HEADER_PREFIX_BYTES)
        self._goes = 0  # runs of read-ahead until the next probe
        self._probes = True  # the next run is a probe, not a long one

    def read(self, unread: deque[tuple[int, str]], end: float) -> list[Found]:
        """Read some files, at least one, until `end` on the clock of `perf_counter`.

        Args:
            unread: Inodes and names, in the order of reading. Files that are read are removed from it.
            end: The time to stop, in seconds on that clock.
        """
        found: list[Found] = []
        if self._goes:
            self._goes -= 1
            self._read_ahead(unread, found, end)
            return found
        began, worked, waits = perf_counter(), thread_time(), _waits()
        self._read(unread, found, end, most=_PROBE if self._probes else _GO)
        is_slow = perf_counter() - began > WAIT_FACTOR * (thread_time() - worked)
        self._probes = is_slow and _waits() - waits >= LEAST_WAITS * len(found)
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
                        # Perhaps the process has no descriptors left: try again when these files are closed.
                        unread.appendleft(file)
                        goes_on = False
                        break
                    opened.append((fd, name))
                    if isinstance(fd, int):
                        with suppress(OSError):  # only advice to the kernel
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
        """Read an open file, or take the problem from its opening."""
        if not isinstance(fd, int):
            found.append((fd, 0, 0, 0))
            return
        row, status = self._directory.read_opened(
            fd, name, verify=self._verify, buffer=self._buffer, overlay=self._overlay
        )
        if status is not None and status.st_nlink == 1:
            # Not the status itself: a thousand of them take a megabyte.
            found.append((row, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
        else:
            found.append((row, 0, 0, 0))


def _waits() -> int:
    """Return how many times this thread has waited, for the disk or a lock; being displaced by others is no wait.

    Where the system does not count for a thread, the whole process is counted.
    """
    import resource  # noqa: PLC0415 - start-up time

    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_nvcsw
