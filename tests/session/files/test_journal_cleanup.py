"""A cleanup goes by the journal over the files, in a dry run as in the run of the next owner."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.channels import channels_of
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.journalled import NOW, OLD, Journalled, crashed, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import at_once
from tests.fakes.replayed import MISFIT
from tests.fakes.samples import write_session
from tests.session.scans import scanned

LATER = NOW + timedelta(minutes=1)


def dry_run(path: Path, policy: RetentionPolicy | None = None) -> CleanupPlan:
    policy = policy or RetentionPolicy()
    with SessionDirectory.open(path) as reader:
        return scan_sync(reader, policy, at_once(LATER, policy))


async def run(path: Path, clock: WallClock, policy: RetentionPolicy | None = None) -> set[str]:
    """Run a cleanup as the next owner; return the names of the removed files."""
    clock.now = LATER
    before = {row.key for row in rows_at(path)}
    await Cleanup(path, policy=policy, clock=clock).run(confirmed=True)
    return before - {row.key for row in rows_at(path)}


def rows_at(path: Path) -> list[StoredSession]:
    with SessionDirectory.open(path) as reader:
        return list(scanned(reader).values())


def removed_by(plan: CleanupPlan) -> set[str]:
    return {row.session.key for row in plan.removals}


@pytest.mark.parametrize("long", [False, True], ids=["small", "large"])
async def test_session_that_is_fresh_by_the_journal_is_not_listed_for_deletion(
    sessions_dir: Path, clock: WallClock, long: bool
) -> None:
    """Its file alone says that it has expired; the next owner applies the journal and keeps it."""
    crashed(sessions_dir, saved=["x" * 9000 if long else "x"])
    write_session(sessions_dir, "web_b", OLD)
    assert removed_by(dry_run(sessions_dir)) == {"web_b.json"}
    assert [row.key for row in await Cleanup(sessions_dir, clock=WallClock(LATER)).scan_expired_sessions()] == [
        "web_b.json"
    ]
    assert await run(sessions_dir, clock) == {"web_b.json"}


async def test_session_that_is_unpinned_by_the_journal_is_listed_for_deletion(
    sessions_dir: Path, clock: WallClock
) -> None:
    """The file still has the pin; the next owner's run deletes the session, and the dry run says so."""
    told = Journalled().add("x" * 9000).use(pinned=True).forget_records()
    told.save(sessions_dir)
    write_segment(sessions_dir, told.use(pinned=False).take())
    assert removed_by(dry_run(sessions_dir)) == {"web_a.json"}
    assert await run(sessions_dir, clock) == {"web_a.json"}


@pytest.mark.parametrize("policy", [RetentionPolicy(), RetentionPolicy(ttl=None, max_sessions=1, min_idle=None)])
async def test_records_that_do_not_fit_the_file_keep_no_session(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, policy: RetentionPolicy
) -> None:
    """Somebody has put another session in its place: the next owner leaves that as it is, and judges it alone."""
    logs.expect_error(MISFIT)
    crashed(sessions_dir)
    write_session(sessions_dir, "web_a", OLD - timedelta(days=1), messages=[{"role": "user", "content": "x" * 9000}])
    write_session(sessions_dir, "web_b", NOW - timedelta(days=1))
    assert removed_by(dry_run(sessions_dir, policy)) == {"web_a.json"}
    assert await run(sessions_dir, clock, policy) == {"web_a.json"}


async def test_budget_spares_the_session_that_the_journal_makes_the_youngest(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Which sessions are beyond `max_sessions` depends on uses that only the journal has, also without a file."""
    crashed(sessions_dir)
    other = Journalled("web_c").add("only in the journal", at=NOW)
    write_segment(sessions_dir, other.take(), number=2, first=10)
    for name in ("web_b", "web_d"):
        write_session(sessions_dir, name, NOW - timedelta(days=1))
    policy = RetentionPolicy(ttl=None, max_sessions=2, min_idle=None)
    assert removed_by(dry_run(sessions_dir, policy)) == {"web_b.json", "web_d.json"}
    assert await run(sessions_dir, clock, policy) == {"web_b.json", "web_d.json"}


async def test_session_without_a_file_that_has_expired_is_listed_and_deleted(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A gateway that died long ago, and nobody has started it since."""
    crashed(sessions_dir, saved=[], at=OLD)
    plan = dry_run(sessions_dir)
    assert (removed_by(plan), plan.readable) == ({"web_a.json"}, 1)
    assert await run(sessions_dir, clock) == {"web_a.json"}


def test_channel_of_a_session_without_a_file_is_known(sessions_dir: Path) -> None:
    """A TTL for it is no misspelling."""
    crashed(sessions_dir, saved=[])
    with SessionDirectory.open(sessions_dir) as reader:
        assert channels_of(reader) == {"web"}


def test_session_that_stays_by_its_file_gets_a_row_if_it_is_in_the_journal(sessions_dir: Path) -> None:
    """A pin that only the journal has counts as one."""
    told = Journalled(begun=NOW).add("one").forget_records()
    told.save(sessions_dir)
    write_session(sessions_dir, "web_b", NOW)
    write_segment(sessions_dir, told.use(pinned=True).take())
    plan = dry_run(sessions_dir)
    assert (plan.pinned, plan.readable) == (1, 2)
