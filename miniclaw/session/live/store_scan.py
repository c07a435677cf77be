"""The asynchronous scan of a store over files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from miniclaw.session.entries import ScanRow, Tally
from miniclaw.session.files.ledger import Ledger, LedgerFile
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.live.locks import Lease

SCAN_BATCH_SECONDS: Final = 0.05
"""Duration of one batch in a worker thread; other work gets its turn between batches."""


class FileScan:
    """A scan in worker threads: the first batch loads the ledger, the last one saves it.

    Args:
        begin: Makes the listing, in a worker thread.
        ledger_file: The stored ledger; None: every file is read.
        run: Runs work in a worker thread, which joins the lease.
    """

    def __init__(
        self,
        begin: Callable[[Ledger | None], DirectoryScan],
        ledger_file: LedgerFile | None,
        run: Callable[[Callable[[], list[ScanRow]], Lease], Awaitable[list[ScanRow]]],
    ) -> None:
        self._begin = begin
        self._ledger_file = ledger_file
        self._run = run
        self._ledger: Ledger | None = None
        self._scan: DirectoryScan | None = None  # made in a thread, as its ledger is read there
        self._lease = Lease(self._close)

    @property
    def complete(self) -> bool:
        """True once every entry is listed."""
        return self._scan is not None and self._scan.complete

    async def next_batch(self) -> list[ScanRow]:
        """Return the next rows; none, maybe, before the end, if every listed session is only counted."""
        return await self._run(self._read_on, self._lease)

    def _read_on(self) -> list[ScanRow]:
        if self._scan is None:
            if self._ledger_file is not None:
                self._ledger = self._ledger_file.load()
            self._scan = self._begin(self._ledger)
        rows = self._scan.next_batch(seconds=SCAN_BATCH_SECONDS)
        if self._scan.complete and self._ledger is not None and self._ledger_file is not None:
            self._ledger_file.save(self._ledger)
            self._ledger = None
        return rows

    def take_kept(self) -> Tally:
        """Return the sessions that were only counted since the last call."""
        return Tally() if self._scan is None else self._scan.take_kept()

    def _close(self) -> None:
        if self._scan is not None:
            self._scan.close()

    def close(self) -> None:
        """End the scan: at once, or after the batch that a worker thread is reading."""
        self._lease.leave()
