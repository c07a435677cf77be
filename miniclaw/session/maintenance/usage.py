"""How much lies on the disk: a listing with the sizes, which opens no file.

Done in threads, in batches that are bounded in time, so that nobody waits for it: neither a save nor the event loop.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened, store_errors
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import is_session_file, split_stamped
from miniclaw.session.trash.folder import Sizes

BATCH_SECONDS: Final = 0.05
"""How long a thread lists before it lets others have their turn."""


class FileCount(Struct, frozen=True):
    """Files of one kind.

    Attributes:
        files: How many.
        bytes: Their sizes, added up.
    """

    files: int
    bytes: int


class DiskUsage(Struct, frozen=True):
    """What lies on the disk. What could not be listed is None.

    Attributes:
        sessions: The session files in their places, good and bad.
        trash: The entries of the trash.
        quarantine: The files in quarantine.
        free_bytes: What is free for us on the disk of the sessions; None also where the system does not say.
        problems: What could not be listed, and why.
    """

    sessions: FileCount | None = None
    trash: FileCount | None = None
    quarantine: FileCount | None = None
    free_bytes: int | None = None
    problems: tuple[str, ...] = ()


class UsageMeter:
    """Measures the store of a running program.

    Args:
        store: The store.
        batch_seconds: How long a thread lists at once, positive.
    """

    def __init__(self, store: FileSessionStore, *, batch_seconds: float = BATCH_SECONDS) -> None:
        self._store = store
        self._batch_seconds = batch_seconds
        self._limiter = trio.CapacityLimiter(1)  # its own: a listing that hangs keeps nobody from loading or saving

    async def measure(self) -> DiskUsage:
        """List everything once.

        Cancellation: leaves at once; the batch that a thread is at is completed.
        """
        directory = self._store.directory
        problems: list[str] = []
        sessions = await self._count(lambda: _session_sizes(directory), problems)
        quarantine = await self._count(lambda: _quarantine_sizes(directory), problems)
        trash = await self._count(self._store.trash.sizes, problems)
        free = await self._store.run(directory.free_disk, self._limiter)
        return DiskUsage(sessions, trash, quarantine, free, tuple(problems))

    async def _count(self, sizes: Callable[[], Sizes], problems: list[str]) -> FileCount | None:
        count = _Count(sizes())
        try:
            while not count.complete:
                work = partial(count.go_on, seconds=self._batch_seconds)
                count.begun()
                await self._store.run(work, self._limiter, count.left)
        except StoreError as error:
            problems.append(str(error))
            return None
        finally:
            count.close()
        return FileCount(count.files, count.bytes)


class _Count:
    """A listing in progress."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._busy = self._closing = False  # changed on the trio thread only
        self.files = self.bytes = 0
        self.complete = False

    def go_on(self, *, seconds: float) -> None:
        """Count on for about so long; in a thread."""
        end = perf_counter() + seconds
        for size in self._sizes:
            self.files += 1
            self.bytes += size
            if perf_counter() > end:
                return
        self.complete = True

    def begun(self) -> None:
        """Say that a thread is at it."""
        self._busy = True

    def left(self) -> None:
        """Say that no thread is at it any more."""
        self._busy = False
        if self._closing:
            self._sizes.close()

    def close(self) -> None:
        """End the listing, now or when the thread has left it."""
        self._closing = True
        if not self._busy:
            self._sizes.close()


def _session_sizes(directory: SessionDirectory) -> Sizes:
    return _sizes(directory, ".", is_session_file)


def _quarantine_sizes(directory: SessionDirectory) -> Sizes:
    return _sizes(directory, QUARANTINE_NAME, lambda name: split_stamped(name) is not None)


def _sizes(directory: SessionDirectory, folder: str, is_wanted: Callable[[str], bool]) -> Sizes:
    """Yield the sizes of the regular files of a folder that are wanted by their names; none where there is no folder.

    Raises:
        StoreIOError: It cannot be listed.
    """
    fs = directory.fs
    with store_errors(directory.path / folder, "list"), ExitStack() as resources:
        try:
            # A descriptor of its own: two listings over one descriptor would share their position.
            fd = resources.enter_context(opened(fs, folder, DIRECTORY_FLAGS, dir_fd=directory.fd))
        except FileNotFoundError:
            return  # nothing was ever put there
        entries = resources.enter_context(fs.scandir(fd))
        names: Iterable[str] = (entry.name for entry in entries)
        for name in filter(is_wanted, names):
            try:
                status = fs.stat(name, dir_fd=fd)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield status.st_size
