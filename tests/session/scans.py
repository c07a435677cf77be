"""What a scan with a ledger tells, for tests."""

from __future__ import annotations

import json
from pathlib import Path

from miniclaw.session.entries import ScanRow, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.moments import at_once
from tests.fakes.samples import session_dict, write_session

POLICY = RetentionPolicy()


def rows_of(scan: DirectoryScan) -> list[ScanRow]:
    """Scan to the end."""
    rows: list[ScanRow] = []
    while not scan.complete:
        rows += scan.next_batch(seconds=9)
    return rows


def scanned(directory: SessionDirectory, ledger: Ledger | None = None) -> dict[str, StoredSession]:
    """Return the sessions by their ids."""
    with DirectoryScan(directory, ledger=ledger) as scan:
        rows = rows_of(scan)
    return {row.header.session_id: row for row in rows if isinstance(row, StoredSession)}


def scan(path: Path, ledger: Ledger | None, **options: object) -> tuple[list[ScanRow], tuple[int, int], int]:
    """Return the rows, what only counted, and how many files were opened."""
    with (
        SessionDirectory.open(path) as directory,
        DirectoryScan(directory, ledger=ledger, **options) as scanning,  # type: ignore[arg-type]
    ):
        rows = rows_of(scanning)
        kept = scanning.take_kept()
        return sorted(rows, key=lambda row: row.key), (kept.sessions, kept.bytes), scanning.opened


def plan(path: Path, clock: WallClock, ledger: Ledger | None, policy: RetentionPolicy = POLICY) -> CleanupPlan:
    with SessionDirectory.open(path) as directory:
        return scan_sync(directory, policy, at_once(clock.now, policy), ledger=ledger)


def told(plan: CleanupPlan) -> tuple[object, ...]:
    removals = sorted((row.session.key, row.reason, row.session.size) for row in plan.removals)
    problems = sorted((problem.key, problem.kind) for problem in plan.problems)
    future = sorted(row.session.key for row in plan.future)
    return removals, problems, future, plan.sessions_scanned, plan.readable, plan.sessions_bytes, plan.pinned


def populate(path: Path, clock: WallClock) -> None:
    for number in range(30):
        write_session(path, f"telegram_{number}", clock.ago(days=number * 2))
    write_session(path, "web_Capital", clock.ago(days=1))
    write_session(path, "web_ahead", clock.ago(days=-1))
    pinned = path / "web_pinned.json"
    pinned.write_text(json.dumps({**session_dict("web_pinned", clock.ago(days=90)), "pinned": True}))
    (path / "web_bad.json").write_text("{")
    (path / "notes.txt").write_text("no session")
