"""Disk usage of the sessions: a listing with the sizes, which opens no file.

The listing runs in worker threads, in batches that are bounded in time, so that it delays neither a save nor the event
loop.
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
from miniclaw.session.entries import FileTally
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.live.locks import Lease
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import is_session_file
from miniclaw.session.removal.quarantine_files import is_quarantined
from miniclaw.session.trash.folder import Sizes

BATCH_SECONDS: Final = 0.05
"""Duration of one batch in a worker thread; other work gets its turn between batches."""


class DiskUsage(Struct, frozen=True):
    """Disk usage by kind. A count is None if its folder could not be listed.

    Attributes:
        sessions: The session files in their places, good and bad.
        trash: The entries of the trash.
        quarantine: The files in quarantine.
        free_bytes: Bytes available to this process on the disk of the sessions; None if the system does not report it.
        problems: One message for each folder that could not be listed.
    """

    sessions: FileTally | None = None
    trash: FileTally | None = None
    quarantine: FileTally | None = None
    free_bytes: int | None = None
    problems: tuple[str, ...] = ()


class UsageMeter:
    """Measures the store of a running program.

    Args:
        batch_seconds: Duration of one batch, positive.
        check_open: Raises `RuntimeClosedError` once the program ends its runtime.
    """

    def __init__(
        self,
        store: FileSessionStore,
        *,
        batch_seconds: float = BATCH_SECONDS,
        check_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._batch_seconds = batch_seconds
        self._check_open = check_open
        self._limiter = trio.CapacityLimiter(1)  # its own: a listing that hangs must not block loads and saves

    async def measure(self) -> DiskUsage:
        """List everything once.

        Raises:
            RuntimeClosedError: The runtime has ended or is ending.

        Cancellation: returns at once; a batch under way in a worker thread is completed.
        """
        self._check_open()
        directory = self._store.directory
        problems: list[str] = []
        sessions = await self._count(partial(_sizes, directory, ".", is_session_file), problems)
        kept = partial(_sizes, directory, QUARANTINE_NAME, is_quarantined, only_files=False)
        quarantine = await self._count(kept, problems)
        trash = await self._count(self._store.trash.sizes, problems)
        free = await self._store.run(directory.free_disk, self._limiter)
        return DiskUsage(sessions, trash, quarantine, free, tuple(problems))

    async def _count(self, sizes: Callable[[], Sizes], problems: list[str]) -> FileTally | None:
        listing = sizes()
        lease = Lease(listing.close)  # shared with the worker thread that uses the listing
        files = total = 0

        def go_on() -> bool:
            """Continue the listing for about `batch_seconds`; return whether it is complete."""
            nonlocal files, total
            end = perf_counter() + self._batch_seconds
            for size in listing:
                files += 1
                total += size
                if perf_counter() > end:
                    return False
            return True

        try:
            while not await self._store.run(go_on, self._limiter, lease):
                pass
        except StoreError as error:
            problems.append(str(error))
            return None
        finally:
            lease.leave()
        return FileTally(files, total)


def _sizes(
    directory: SessionDirectory, folder: str, is_wanted: Callable[[str], bool], *, only_files: bool = True
) -> Sizes:
    """Yield the sizes of the regular files with wanted names in a folder; a missing folder counts as empty.

    Without `only_files` any other entry counts as well, with 0 bytes.
    """
    fs = directory.fs
    with store_errors(directory.path / folder, "list"), ExitStack() as resources:
        try:
            # A descriptor of its own: two listings over one descriptor would share their position.
            fd = resources.enter_context(opened(fs, folder, DIRECTORY_FLAGS, dir_fd=directory.fd))
        except FileNotFoundError:
            return  # the folder is made when it is first needed
        entries = resources.enter_context(fs.scandir(fd))
        names: Iterable[str] = (entry.name for entry in entries)
        for name in filter(is_wanted, names):
            try:
                status = fs.stat(name, dir_fd=fd)
            except FileNotFoundError:
                continue
            is_file = stat.S_ISREG(status.st_mode)
            if is_file or not only_files:
                yield status.st_size if is_file else 0
