"""What is measured: the scan of the daily cleanup, with the ledger and without, and the cleanup itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from miniclaw import RetentionPolicy
from miniclaw.clock import SystemClock
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger, LedgerFile
from miniclaw.session.files.subdirectory import STATE_NAME, Folder
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.records.moment import by_wall_clock
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.workspace.plan import scan_sync

POLICY: Final = RetentionPolicy()


def _present() -> Notice:
    return by_wall_clock(SystemClock()).notice(POLICY, None, waits=False)


def scan(directory: Path) -> int:
    """Scan a directory of which nothing is known, as the first cleanup does; return how many sessions there are.

    What is read is entered into a new ledger, which is not written.

    Raises:
        RuntimeError: The files are not in order.
    """
    with SessionDirectory.open(directory) as sessions:
        return _checked(scan_sync(sessions, POLICY, _present(), ledger=Ledger()))


def scan_known(directory: Path, state: Path) -> int:
    """Scan a directory by its ledger, whose folder lies in `state`; return how many sessions there are."""
    with _ledger_file(state) as file, SessionDirectory.open(directory) as sessions:
        return _checked(scan_sync(sessions, POLICY, _present(), ledger=file.load()))


def write_ledger(directory: Path, state: Path) -> None:
    """Scan a directory and write its ledger into a folder in `state`; the files have to be old enough.

    Raises:
        RuntimeError: The ledger does not know all of them.
    """
    with _ledger_file(state) as file, SessionDirectory.open(directory) as sessions:
        ledger = file.load()
        count = _checked(scan_sync(sessions, POLICY, _present(), ledger=ledger))
        file.save(ledger)
        if len(file.load()) != count:
            raise RuntimeError(f"the ledger knows {len(ledger)} of {count} sessions")


def read_rows(directory: Path) -> int:
    """Read the header of every file by one thread, in the order of the directory; return how many there are."""
    with SessionDirectory.open(directory) as sessions, sessions.fs.scandir(sessions.fd) as entries:
        return sum(sessions.read_row(entry.name) is not None for entry in entries)


def clean_up(directory: Path) -> int:
    """Remove what is expired, by the ledger in the directory, and return how many sessions that were."""

    async def run() -> int:
        async with open_operations(directory, policy=POLICY) as operations:
            return (await operations.cleanup(confirmed=True)).sessions_deleted

    return trio.run(run)


def _checked(plan: CleanupPlan) -> int:
    if plan.problems or plan.future or plan.removals:
        raise RuntimeError(f"the benchmark's own files are not in order: {[*plan.problems, *plan.future][:3]}")
    return plan.sessions_scanned


@contextmanager
def _ledger_file(state: Path) -> Iterator[LedgerFile]:
    with SessionDirectory.open(state, create=True) as directory:
        yield LedgerFile(Folder.within(directory, STATE_NAME))
