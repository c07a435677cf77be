"""What is measured: the scan of the daily cleanup, with the ledger and without, a dry run, and the cleanup itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from miniclaw import RetentionPolicy
from miniclaw.clock import SystemClock
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger, LedgerFile
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.files.subdirectory import STATE_NAME, Folder
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.records.moment import by_wall_clock
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import Planner
from miniclaw.workspace.plan import scan_sync
from miniclaw.workspace.workspace import STEP_SECONDS

POLICY: Final = RetentionPolicy()


def scan(directory: Path) -> int:
    """Scan a directory of which nothing is known, as the first cleanup does; return how many sessions there are.

    What is read is entered into a new ledger, which is not written, and what is due is announced.

    Raises:
        RuntimeError: The files are not in order.
    """
    with SessionDirectory.open(directory) as sessions:
        return _checked(_plan(sessions, _first(), Ledger()))


def scan_known(directory: Path, state: Path, due: Noted) -> int:
    """Scan a directory by what `write_ledger` left of an earlier run; return how many sessions there are."""
    first = _first()
    notice = replace(first, last=first.ended(), due=due.view())
    with _ledger_file(state) as file, SessionDirectory.open(directory) as sessions:
        return _checked(_plan(sessions, notice, file.load()))


def write_ledger(directory: Path, state: Path) -> Noted:
    """Scan a directory, write its ledger into a folder in `state`, and return the announcements of that run.

    The files have to be old enough.

    Raises:
        RuntimeError: The ledger does not know all of them.
    """
    with _ledger_file(state) as file, SessionDirectory.open(directory) as sessions:
        ledger, notice = file.load(), _first()
        count = _plan(sessions, notice, ledger).sessions_scanned
        file.save(ledger)
        if len(file.load()) != count:
            raise RuntimeError(f"the ledger knows {len(ledger)} of {count} sessions")
        return notice.due.renewed()


def dry_run(directory: Path, state: Path | None) -> int:
    """Plan a cleanup, as `sessions cleanup --dry-run` does; return how many sessions it would remove.

    Args:
        directory: The sessions.
        state: As for `write_ledger`; None: there is no ledger.
    """
    notice = by_wall_clock(SystemClock()).notice(POLICY, None, waits=False)
    with SessionDirectory.open(directory) as sessions:
        if state is None:
            return len(scan_sync(sessions, POLICY, notice, ledger=Ledger()).removals)
        with _ledger_file(state) as file:
            return len(scan_sync(sessions, POLICY, notice, ledger=file.load()).removals)


def _first() -> Notice:
    """Return the notice of a daily run that knows of none before it."""
    return by_wall_clock(SystemClock()).notice(POLICY, None, waits=True)


def _plan(sessions: SessionDirectory, notice: Notice, ledger: Ledger) -> CleanupPlan:
    """Scan and plan as the daily cleanup does, without its threads."""
    planner = Planner(POLICY, notice)
    with DirectoryScan(sessions, ledger=ledger, staying=notice.staying(POLICY)) as scanning:
        while not scanning.complete:
            rows = scanning.next_batch(seconds=STEP_SECONDS)
            planner.feed(rows, scanning.take_kept())
    return planner.plan()


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
