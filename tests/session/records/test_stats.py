"""What the session runtime counts, at the parts that do it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from miniclaw.errors import StoreError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.maintenance.service import CleanupService
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.stats import CleanupStats, SaveStats
from miniclaw.session.timekeeper import Timekeeper, open_time
from tests.fakes.clock import WallClock
from tests.fakes.desk import IDS, Desk
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import settle, wait_in_thread

NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


def some(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def stopped(manager: SessionManager) -> dict[str, int]:
    return some(manager.stats.cleanups.runs)


async def announce_daily(cleanup: Cleanup, time: Timekeeper) -> None:
    """Have the daily service make the run that is due, in the mode that removes nothing."""
    service = CleanupService(cleanup, time=time, removes=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        await settle()
        service.stop()
    assert service.runs == 1


# Saves ----------------------------------------------------------------------------------------------------------


def test_save_age_goes_by_the_monotonic_clock(clock: WallClock) -> None:
    """How long nothing was saved does not depend on a wall clock that somebody sets."""
    now = 100.0
    stats = SaveStats(clock, monotonic=lambda: now)
    assert (stats.last_save_age(), stats.last_saved_at) == (None, None)
    stats.settled(saved=True)
    assert stats.last_saved_at == clock.now
    clock.move(days=-400)
    now += 7
    assert stats.last_save_age() == 7
    stats.settled(saved=False)
    assert stats.last_save_age() == 7, "a save that failed saved nothing"


async def test_saves_are_counted_whoever_asks_for_them(
    manager: SessionManager, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Autosave, prompt save and the save of one session: each session that is durable, or is not, counts once."""
    logs.expect_error(NOT_SAVED)
    for chat in ("1", "2"):
        await manager.get_or_create_session("web", chat)
    await manager.save_sessions(["web_1"])
    assert (manager.stats.saves.saved, manager.stats.saves.failed) == (1, 0)
    fs.fail("rename", errno.EIO)
    await manager.save_all_sessions()
    fs.clear()
    assert (manager.stats.saves.saved, manager.stats.saves.failed) == (1, 1)
    await manager.save_all_sessions()
    await manager.save_all_sessions()
    assert (manager.stats.saves.saved, manager.stats.saves.failed) == (2, 1), "what is clean is not saved again"


# Cleanups -------------------------------------------------------------------------------------------------------


async def test_run_is_counted_with_what_it_did(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """Sessions by reason, bytes, time and the number of files are those of the result."""
    for number in range(3):
        write_session(sessions_dir, f"web_{number}", clock.ago(days=31))
    write_session(sessions_dir, "web_new", clock.now)
    (sessions_dir / "web_x.json.tmp").write_text("legacy")
    result = await Cleanup(sessions_dir, manager=manager, clock=clock).run()
    stats = manager.stats.cleanups
    assert some(stats.runs) == {"removed": 1}
    assert some(stats.removed) == {"ttl": 3} == result.removed_by_reason
    assert some(stats.leftovers) == result.leftovers_removed
    assert stats.bytes_freed == result.bytes_freed > 0
    assert (stats.last_run_at, stats.last_scanned) == (clock.now, 4)


async def test_run_that_cannot_list_failed(
    store: FileSessionStore, manager: SessionManager, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A cleanup that an error ends is counted as failed, and its error goes on; so is one that only announces."""
    logs.expect_error("Session cleanup failed; the next one follows as planned")
    cleanup = Cleanup(store.directory.path, manager=manager)
    time = await open_time(store, clock, cleanup.policy)
    fs.fail("scandir", errno.EIO)
    with pytest.raises(StoreError):
        await cleanup.run()
    await announce_daily(cleanup, time)
    fs.clear()
    assert stopped(manager) == {"failed": 2}


@pytest.mark.parametrize("end", ["stop", "cancel"])
async def test_run_that_is_stopped_was_interrupted(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock, fs: FaultyOs, end: str
) -> None:
    """Stopped or cancelled, in the middle of a listing, it is one interrupted run."""
    write_session(sessions_dir, "web_1", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, manager=manager, clock=clock)
    gate = fs.block("scandir")

    async def run() -> None:
        await cleanup.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        do: Callable[[], None] = cleanup.stop if end == "stop" else nursery.cancel_scope.cancel
        do()
        gate.opened.set()
    assert stopped(manager) == {"interrupted": 1}


@pytest.mark.parametrize("end", ["stop", "cancel", "change"])
async def test_announcing_run_that_is_stopped_was_interrupted(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock, fs: FaultyOs, end: str
) -> None:
    """A run of the mode that removes nothing is interrupted as any other; with other rules it is repeated at once."""
    write_session(sessions_dir, "web_1", clock.ago(days=24))
    cleanup = Cleanup(sessions_dir, manager=manager)
    service = CleanupService(cleanup, time=await open_time(store, clock, cleanup.policy), removes=False)
    gate = fs.block("scandir")
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        await wait_in_thread(gate.reached)
        if end == "stop":
            service.stop()
        elif end == "cancel":
            nursery.cancel_scope.cancel()
        else:
            service.change_rules(cleanup.schedule, removes=False, notice=True)
        gate.opened.set()
        if end == "change":
            await settle()
            service.stop()
    assert stopped(manager) == {"interrupted": 1}
    assert (service.runs, service.due) == ((2, 1) if end == "change" else (service.runs, 0))


async def test_run_that_is_held_is_counted_as_held(desk: Desk) -> None:
    """The guard against mass removal shows in the counts, and what is confirmed afterwards, too."""
    for number in range(20):
        write_session(desk.store.directory.path, f"telegram_old{number}", desk.clock.ago(days=40))
    assert (await desk.do.cleanup()).held
    assert stopped(desk.manager) == {"held": 1}
    assert desk.manager.stats.cleanups.last_scanned == 20 + len(IDS)
    await desk.do.cleanup(confirmed=True)
    assert stopped(desk.manager) == {"held": 1, "removed": 1}
    assert some(desk.manager.stats.cleanups.removed) == {"ttl": 20}


async def test_announcement_is_counted_where_there_is_something_to_announce(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """Who found nothing that would go has announced nothing, though the time of the look is kept."""
    cleanup = Cleanup(sessions_dir, manager=manager, clock=clock)
    time = await open_time(store, clock, cleanup.policy)
    write_session(sessions_dir, "web_1", clock.ago(days=31))
    await announce_daily(cleanup, time)
    assert stopped(manager) == {}
    assert manager.stats.cleanups.last_run_at == clock.now
    clock.move(days=1)
    await announce_daily(cleanup, time)
    assert stopped(manager) == {"announced": 1}
    assert some(manager.stats.cleanups.removed) == {}


async def test_commands_count_what_they_remove(desk: Desk) -> None:
    """Deleting, erasing and emptying the trash free bytes, and the counts have each of them once."""
    stats = desk.manager.stats.cleanups
    (deleted,) = await desk.do.delete(IDS[:1])
    assert some(stats.removed) == {"deleted": 1}
    assert stats.bytes_freed == max(0, deleted.bytes_freed)
    before = stats.bytes_freed
    (removal,) = await desk.do.empty_trash([deleted.entry_id])
    assert stats.leftovers["trash"] == 1
    assert stats.bytes_freed == before + removal.bytes_freed
    await desk.do.delete(IDS[1:])
    before = stats.bytes_freed
    (erased,) = await desk.do.delete(IDS[1:], erase=True)
    assert erased.bytes_freed > 0, "what was in the trash of it"
    assert stats.bytes_freed == before + erased.bytes_freed
    assert some(stats.removed) == {"deleted": 2}


async def test_session_that_a_program_removes_by_its_age_counts(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """One expired session that is removed by itself is counted like one of a run."""
    size = write_session(sessions_dir, "web_1", clock.ago(days=31)).stat().st_size
    cleanup = Cleanup(sessions_dir, manager=manager, clock=clock)
    (session,) = await cleanup.scan_expired_sessions()
    await cleanup.delete_session(session)
    assert some(manager.stats.cleanups.removed) == {"ttl": 1}
    assert manager.stats.cleanups.bytes_freed == size


async def test_cleanup_without_a_manager_counts_for_itself(sessions_dir: Path, clock: WallClock) -> None:
    """A cleanup on its own has counts of its own."""
    write_session(sessions_dir, "web_1", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, clock=clock)
    await cleanup.run()
    assert some(cleanup.stats.runs) == {"removed": 1}


def test_counts_have_closed_sets(clock: WallClock) -> None:
    """A reason or kind that there is not is counted as other, however many there are."""
    stats = CleanupStats(clock)
    before = len(stats.removed), len(stats.leftovers)
    for number in range(100):
        stats.gone({f"reason{number}": 2}, {f"kind{number}": 1}, -5)
    assert (len(stats.removed), len(stats.leftovers)) == (before[0] + 1, before[1] + 1)
    assert (stats.removed["other"], stats.leftovers["other"], stats.bytes_freed) == (200, 100, 0)
