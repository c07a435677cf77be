"""The plan of a real directory: what would go is read whole, and what turns out otherwise is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import Leftover
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.moments import at_once
from tests.fakes.samples import write_session

LONG = [{"role": "user", "content": "x" * 5_000, "timestamp": "2026-02-14T10:30:00Z"}]  # more than one page


def scan(sessions_dir: Path, clock: WallClock, policy: RetentionPolicy, **known: Any) -> CleanupPlan:
    with SessionDirectory.open(sessions_dir) as directory:
        return scan_sync(directory, policy, at_once(clock.now, policy), **known)


def going(plan: CleanupPlan) -> list[tuple[str, str]]:
    return [(row.session.header.chat_id, row.reason) for row in plan.removals]


def test_scan_sync_with_budget_replaces_what_is_damaged_or_pinned_behind_its_head(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A budget is met by sessions that can go: neither one that is torn further on, nor one that is pinned there."""
    for number in range(6):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=20 - number), messages=LONG)
    write_session(sessions_dir, "telegram_0", clock.ago(days=20), messages=LONG, pinned=True)
    torn = sessions_dir / "telegram_1.json"
    torn.write_bytes(torn.read_bytes()[:-5])
    plan = scan(sessions_dir, clock, RetentionPolicy(max_sessions=3))
    assert going(plan) == [("2", "max_sessions"), ("3", "max_sessions")]
    assert (plan.pinned, plan.readable, plan.sessions_scanned, plan.unmet) == (1, 5, 6, [])
    assert [(problem.key, problem.kind) for problem in plan.problems] == [("telegram_1.json", "corrupt")]


def test_scan_sync_with_leftovers_and_the_disk_plans_them_too(sessions_dir: Path, clock: WallClock) -> None:
    """What lies beside the sessions, and what is free on the disk, are part of the same plan."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=9))
    trash = Leftover("trash", "telegram_2.json.gz", 10, clock.ago(days=3))
    policy = RetentionPolicy(min_free_disk=8192)
    plan = scan(sessions_dir, clock, policy, leftovers=[trash], free_disk=4096)
    assert (plan.leftovers, going(plan)) == ([LeftoverRow(trash, "min_free_disk")], [])
    plan = scan(sessions_dir, clock, policy, leftovers=[trash], free_disk=4095)
    assert going(plan) == [("1", "min_free_disk")]


async def test_cleanup_run_with_budget_removes_what_the_scan_lists(sessions_dir: Path, clock: WallClock) -> None:
    """The run takes by the same plan as the dry run, the TTL's sessions and the budget's."""
    for number, days in enumerate([40, 20, 10, 5, 2]):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=days))
    policy = RetentionPolicy(max_sessions=2)
    plan = await trio.to_thread.run_sync(scan, sessions_dir, clock, policy)
    assert going(plan) == [("0", "ttl"), ("1", "max_sessions"), ("2", "max_sessions")]
    result = await Cleanup(sessions_dir, policy=policy, clock=clock).run()
    assert (result.sessions_deleted, result.sessions_scanned) == (3, 5)
    assert {path.name for path in sessions_dir.glob("*.json")} == {"telegram_3.json", "telegram_4.json"}


async def test_cleanup_run_of_pinned_session_keeps_it(sessions_dir: Path, clock: WallClock) -> None:
    """A pin protects from a removal wherever in the file it stands."""
    for number, messages in enumerate([LONG, []]):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=90), messages=messages, pinned=True)
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert result.sessions_deleted == 0
    assert len(list(sessions_dir.glob("*.json"))) == 2
