"""The autosave service."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.clock import MICROSECOND
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS, Persistence
from miniclaw.session.records.state import LAST_SEEN_NAME, STATE_FILE
from miniclaw.session.timekeeper import Timekeeper
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import settle, wait_in_thread


@pytest.fixture
async def service(
    manager: SessionManager, clock: WallClock, tmp_path: Path, mock_clock: MockClock, nursery: trio.Nursery
) -> AsyncIterator[Persistence]:
    """A running service, on a clock that stands still."""
    time = Timekeeper(state_in(tmp_path / "elsewhere"), clock, timedelta(days=30))
    await time.start()
    service = Persistence(manager, time=time)
    await nursery.start(service.run)
    yield service
    service.stop()


async def tick(mock_clock: MockClock) -> None:
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
    await settle()


async def test_run_saves_every_thirty_seconds(
    service: Persistence, manager: SessionManager, mock_clock: MockClock, sessions_dir: Path
) -> None:
    """A change is on disk after the next tick, and not before."""
    await manager.get_or_create_session("telegram", "1")
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS - 1)
    await settle()
    assert not list(sessions_dir.glob("*.json"))
    mock_clock.jump(1)
    await settle()
    assert list(sessions_dir.glob("*.json"))
    assert service.ticks == 1
    assert PERSISTENCE_INTERVAL_SECS == 30


async def test_run_failing_save_is_retried_at_the_next_tick(
    service: Persistence,
    manager: SessionManager,
    mock_clock: MockClock,
    sessions_dir: Path,
    fs: FaultyOs,
    logs: LogRecorder,
) -> None:
    """A full disk stops nothing: the session stays dirty and is saved when there is room again."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await manager.get_or_create_session("telegram", "1")
    fs.fail("write", errno.ENOSPC)
    await tick(mock_clock)
    await tick(mock_clock)
    assert len(logs.named("Session could not be saved; it stays in memory for the next try")) == 2
    fs.clear()
    await tick(mock_clock)
    assert list(sessions_dir.glob("*.json"))
    assert manager.dirty_sessions() == []


async def test_run_hanging_save_does_not_stop_the_ticks(
    service: Persistence,
    manager: SessionManager,
    mock_clock: MockClock,
    sessions_dir: Path,
    fs: FaultyOs,
    clock: WallClock,
) -> None:
    """While one file hangs, the next tick comes on time and saves the others."""
    await manager.get_or_create_session("telegram", "hung")
    gate = fs.block("rename", path="telegram_hung.json")
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
    await wait_in_thread(gate.reached)
    await manager.get_or_create_session("telegram", "2")
    saved = fs.notice("rename", path="telegram_2.json")
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS)  # the deadline of the hanging tick, and the time of the next one
    await wait_in_thread(saved)
    gate.opened.set()
    await manager.save_all_sessions()  # waits for the one that hung
    assert (sessions_dir / "telegram_2.json").exists()
    assert (sessions_dir / "telegram_hung.json").exists()
    assert manager.dirty_sessions() == []


async def test_run_overfull_memory_is_saved_early(
    store: FileSessionStore, clock: WallClock, mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    """More sessions than may stay are saved before the next tick, and leave."""
    manager = SessionManager(store, clock=clock, max_live_sessions=2)
    service = Persistence(manager)
    await nursery.start(service.run)
    for number in range(5):
        await manager.get_or_create_session("telegram", str(number))
    await settle()
    assert manager.live_sessions() == 2
    service.stop()


async def test_tick_records_the_time(service: Persistence, clock: WallClock, tmp_path: Path) -> None:
    """Each tick leaves the time that passed for the next start; all but the first in place."""
    state = state_in(tmp_path / "elsewhere")
    await service.tick()
    before = (state.path / STATE_FILE).stat()
    clock.move(hours=5)
    await service.tick()
    assert (state.path / STATE_FILE).stat() == before
    known = state.load()
    assert known is not None
    assert known.timeline.lived == timedelta(hours=5) // MICROSECOND
    assert known.timeline.ages().now == clock.now


async def test_tick_records_a_jump_of_the_clock_durably(service: Persistence, clock: WallClock, tmp_path: Path) -> None:
    """Stamps under the new clock can be read by no state that does not know of it."""
    state = state_in(tmp_path / "elsewhere")
    await service.tick()
    clock.jump(days=5)
    await service.tick()
    (state.path / LAST_SEEN_NAME).unlink(missing_ok=True)
    known = state.load()
    assert known is not None
    assert len(known.timeline.frames) == 2


async def test_tick_time_not_recordable_is_an_error_in_the_log(
    manager: SessionManager, clock: WallClock, tmp_path: Path, logs: LogRecorder
) -> None:
    """A state directory that cannot be written stops no save."""
    logs.expect_error("Whether inodes last could not be looked at")
    logs.expect_error("Cleanup state could not be read; what is due is announced anew")
    logs.expect_error("Cleanup state could not be written")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".state").write_text("in the way")
    await manager.get_or_create_session("telegram", "1")
    time = Timekeeper(state_in(tmp_path / "elsewhere"), clock, timedelta(days=30))
    await time.start()
    report = await Persistence(manager, time=time).tick()
    assert report.saved == 1


async def test_run_missed_ticks_are_not_made_up_for(
    service: Persistence, manager: SessionManager, mock_clock: MockClock, clock: WallClock
) -> None:
    """After a suspension there is one tick, and then they come in their rhythm."""
    await manager.get_or_create_session("telegram", "1")
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS * 100 + 1)
    await settle()
    assert service.ticks == 1
    await manager.add_message("telegram_1", Message("user", "x", clock.now))
    mock_clock.jump(PERSISTENCE_INTERVAL_SECS - 1)
    await settle()
    assert service.ticks == 2


async def test_stop_ends_the_service_at_once_when_idle(
    manager: SessionManager, clock: WallClock, mock_clock: MockClock
) -> None:
    """A service that waits ends without waiting on."""
    service = Persistence(manager)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        service.stop()
    assert service.ticks == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_persistence_senseless_interval_is_refused(seconds: float) -> None:
    """An interval is positive."""
    with pytest.raises(ValueError, match="interval_seconds"):
        Persistence(None, interval_seconds=seconds)  # type: ignore[arg-type]
    assert timedelta(seconds=PERSISTENCE_INTERVAL_SECS) == timedelta(seconds=30)
