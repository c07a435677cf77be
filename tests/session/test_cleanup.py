"""The cleanup: what goes, what stays, what is said."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.errors import SessionsDirectoryError, StoreError, StoreIOError, WorkspaceHeldError
from miniclaw.session.cleanup import CLEANUP_INTERVAL_SECS, SESSION_TTL_DAYS, Cleanup
from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import at_once
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread
from tests.fakes.work_folder import left_in_work


def left(sessions_dir: Path) -> list[str]:
    return sorted(path.stem for path in sessions_dir.glob("*.json"))


def test_constants_are_those_of_the_specification() -> None:
    """Thirty days, and every 24 hours exactly."""
    assert (SESSION_TTL_DAYS, CLEANUP_INTERVAL_SECS) == (30, 86_400)


async def test_run_31_30_29_days_at_a_frozen_clock(sessions_dir: Path, clock: WallClock) -> None:
    """Expired means older than 30 days: 31 is removed, exactly 30 is kept, 29 is kept."""
    for days in (31, 30, 29):
        write_session(sessions_dir, f"telegram_{days}", clock.ago(days=days))
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert left(sessions_dir) == ["telegram_29", "telegram_30"]
    assert (result.sessions_scanned, result.sessions_deleted) == (3, 1)


async def test_run_logs_and_returns_what_was_done(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """The result and the log say how many were scanned and deleted and what the disk got back; each one at DEBUG."""
    path = write_session(sessions_dir, "telegram_1", clock.ago(days=45))
    write_session(sessions_dir, "telegram_2", clock.now)
    size = path.stat().st_size
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert result.bytes_freed == size
    event = logs.one("Session cleanup complete")
    assert event["level"] == "info"
    assert (event["sessions_scanned"], event["sessions_deleted"], event["bytes_freed"]) == (2, 1, size)
    removed = logs.one("Session removed")
    assert removed["level"] == "debug"
    assert removed["session_id"] == "telegram_1"
    assert removed["age_days"] == 45
    assert removed["last_accessed"] == clock.ago(days=45).isoformat()


async def test_run_many_in_batches(sessions_dir: Path, clock: WallClock) -> None:
    """More than a batch are all removed, by one listing."""
    for number in range(REMOVAL_BATCH * 2 + 5):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert result.sessions_deleted == REMOVAL_BATCH * 2 + 5
    assert left(sessions_dir) == []


async def test_run_judges_by_content_not_by_file_times(sessions_dir: Path, clock: WallClock) -> None:
    """A file's own times say nothing: an old file of a fresh session stays, a new file of an old one goes."""
    old_file = write_session(sessions_dir, "telegram_fresh", clock.ago(days=1))
    os.utime(old_file, (0, 0))
    write_session(sessions_dir, "telegram_old", clock.ago(days=31))
    await Cleanup(sessions_dir, clock=clock).run()
    assert left(sessions_dir) == ["telegram_fresh"]


async def test_run_by_channel_and_never(sessions_dir: Path, clock: WallClock) -> None:
    """Each channel has its own TTL; never is never."""
    for channel in ("web", "telegram", "slack"):
        write_session(sessions_dir, f"{channel}_1", clock.ago(days=10))
    policy = RetentionPolicy(ttl_by_channel={"web": timedelta(days=7), "telegram": None})
    await Cleanup(sessions_dir, policy=policy, clock=clock).run()
    assert left(sessions_dir) == ["slack_1", "telegram_1"]
    assert (await Cleanup(sessions_dir, policy=RetentionPolicy(ttl=None), clock=clock).run()).sessions_deleted == 0


async def test_run_future_is_kept_and_reported(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A time in the future is kept, counted and named."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=-400))
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert (result.future, result.sessions_deleted) == (1, 0)
    assert logs.one("Session kept, it is ahead of the clock")["session_id"] == "telegram_1"


async def test_plan_changes_nothing_and_is_what_run_does(sessions_dir: Path, clock: WallClock) -> None:
    """A plan touches no file, the lock and the work folder aside, and lists just what a run then removes."""
    for days in range(0, 60, 3):
        write_session(sessions_dir, f"telegram_{days}", clock.ago(days=days))
    torn = write_session(sessions_dir, "telegram_torn", clock.ago(days=50), messages=["x" * 9000])
    os.truncate(torn, 7000)
    before = left(sessions_dir)
    cleanup = Cleanup(sessions_dir, clock=clock)
    plan = await cleanup.plan()
    assert left(sessions_dir) == before
    with SessionDirectory.open(sessions_dir) as directory:
        same = scan_sync(directory, cleanup.policy, at_once(clock.now, cleanup.policy))
    assert {row.session for row in same.removals} == {row.session for row in plan.removals}
    assert [(problem.key, problem.kind) for problem in plan.problems] == [("telegram_torn.json", "corrupt")]


async def test_run_torn_file_is_reported_and_kept(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """An expired file that turns out to be torn when it is to be removed is kept, counted and named."""
    logs.expect_error("Session not removed")
    torn = write_session(sessions_dir, "telegram_torn", clock.ago(days=50), messages=["x" * 9000])
    os.truncate(torn, 7000)
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert (result.corrupt, result.sessions_deleted) == (1, 0)
    assert logs.one("Session not removed")["path"] == str(torn)
    assert torn.exists()


async def test_scan_expired_sessions_lists_them(sessions_dir: Path, clock: WallClock) -> None:
    """The expired ones are listed, with header and size."""
    path = write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    write_session(sessions_dir, "telegram_2", clock.now)
    cleanup = Cleanup(sessions_dir, clock=clock)
    (found,) = await cleanup.scan_expired_sessions()
    assert (found.key, found.size) == (path.name, path.stat().st_size)
    assert cleanup.is_expired(found.header)


async def test_delete_session_verifies_first(sessions_dir: Path, clock: WallClock) -> None:
    """A single deletion re-verifies: what was used since the scan stays; what is gone frees nothing."""
    path = write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, clock=clock)
    (found,) = await cleanup.scan_expired_sessions()
    write_session(sessions_dir, "telegram_1", clock.now)
    assert await cleanup.delete_session(found) == 0
    assert path.exists()
    size = write_session(sessions_dir, "telegram_1", clock.ago(days=31)).stat().st_size
    assert await cleanup.delete_session(found) == size
    assert await cleanup.delete_session(found) == 0


async def test_delete_session_refused_is_an_error(
    store: FileSessionStore, manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """Where the system refuses, the caller hears of it."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, clock=clock, manager=manager)
    (found,) = await cleanup.scan_expired_sessions()
    fs.fail("unlink", errno.EACCES)
    with pytest.raises(StoreError, match="Permission denied"):
        await cleanup.delete_session(found)


async def test_run_goes_on_after_a_failure(
    store: FileSessionStore,
    manager: SessionManager,
    fs: FaultyOs,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
) -> None:
    """A file that cannot be removed is an ERROR with its path, and the others go."""
    logs.expect_error("Session not removed")
    for number in range(5):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    fs.fail("unlink", errno.EIO, path="telegram_3.json")
    result = await Cleanup(sessions_dir, clock=clock, manager=manager).run()
    assert (result.sessions_deleted, result.failed) == (4, 1)
    assert logs.one("Session not removed")["path"] == str(sessions_dir / "telegram_3.json")
    assert left(sessions_dir) == ["telegram_3"]


async def test_run_keeps_what_memory_knows_to_be_used(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """A session that was used and is not saved yet is kept and counted, its old file notwithstanding."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    write_session(sessions_dir, "telegram_2", clock.ago(days=31))
    await manager.get_session("telegram_1")
    result = await Cleanup(sessions_dir, clock=clock, manager=manager).run()
    assert (result.kept_active, result.sessions_deleted) == (1, 1)
    assert left(sessions_dir) == ["telegram_1"]


async def test_run_clock_that_jumps_condemns_nobody(
    store: FileSessionStore, manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """A session that is read while the clock jumps a year ahead is judged by the time of the plan."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    write_session(sessions_dir, "telegram_2", clock.ago(days=1))
    fs.on(lambda name, _: setattr(clock, "now", clock.now + timedelta(days=1)) if name == "fstat" else None)
    result = await Cleanup(sessions_dir, clock=clock, manager=manager).run()
    assert result.sessions_deleted == 1
    assert left(sessions_dir) == ["telegram_2"]


async def test_run_cancelled_completes_its_batch_and_begins_no_other(
    store: FileSessionStore,
    manager: SessionManager,
    fs: FaultyOs,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
) -> None:
    """A cancellation in the middle of the sweep finishes the batch, begins none, and the log says what was done."""
    for number in range(REMOVAL_BATCH * 3):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    gate = fs.block("unlink", path="telegram_")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Cleanup(sessions_dir, clock=clock, manager=manager).run)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert len(left(sessions_dir)) == REMOVAL_BATCH * 2
    event = logs.one("Session cleanup interrupted")
    assert (event["sessions_deleted"], event["interrupted"]) == (REMOVAL_BATCH, True)
    assert left_in_work(sessions_dir) == []


async def test_stop_ends_a_run_after_its_batch(
    store: FileSessionStore, manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """Asked to stop, a run returns what it has done so far."""
    for number in range(REMOVAL_BATCH * 3):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, clock=clock, manager=manager)
    gate = fs.block("unlink", path="telegram_")
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            result = await cleanup.run()
            assert result.interrupted
            assert result.sessions_deleted == REMOVAL_BATCH

        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        cleanup.stop()
        gate.opened.set()


async def test_run_directory_unlistable_is_an_error(
    store: FileSessionStore, manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """A directory that cannot be listed is no empty directory."""
    fs.fail("scandir", errno.EIO)
    with pytest.raises(StoreIOError, match="list"):
        await Cleanup(sessions_dir, clock=clock, manager=manager).run()


async def test_run_missing_or_held_directory_is_an_error(sessions_dir: Path, store: FileSessionStore) -> None:
    """On its own, a cleanup needs the directory, and to be its owner."""
    with pytest.raises(WorkspaceHeldError):
        await Cleanup(sessions_dir).run()
    with pytest.raises(SessionsDirectoryError, match="no such directory"):
        await Cleanup(sessions_dir / "nowhere").run()


async def test_run_many_problems_are_logged_up_to_a_bound(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A directory full of damage does not flood the log: the first are named, the rest are counted."""
    logs.expect_error("Session file kept, it cannot be judged")
    logs.expect_error("More session files cannot be judged")
    sessions_dir.mkdir(parents=True, mode=0o700)
    for number in range(25):
        (sessions_dir / f"telegram_{number}.json").write_text("")
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert (result.corrupt, result.sessions_scanned) == (25, 25)
    assert len(logs.named("Session file kept, it cannot be judged")) == 20
    assert logs.one("More session files cannot be judged")["more"] == 5


async def test_progress_is_told_while_scanning(sessions_dir: Path, clock: WallClock) -> None:
    """Who wants to show progress hears of it."""
    write_session(sessions_dir, "telegram_1", clock.now)
    heard: list[int] = []
    await Cleanup(sessions_dir, clock=clock).run(on_progress=heard.append)
    assert heard[-1] == 1
