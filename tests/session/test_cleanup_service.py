"""The daily cleanup: when it runs, when it announces first, what it remembers."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from miniclaw.session.clock_guard import ClockGuard

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.cleanup_service import CleanupService
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.state import CleanupState, StateDirectory
from miniclaw.session.store import FileSessionStore
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

DAY = 24 * 60 * 60
ANNOUNCED = "Session cleanup announced; nothing is removed yet"
COMPLETE = "Session cleanup complete"

Start = Callable[..., AbstractAsyncContextManager[CleanupService]]


@pytest.fixture
def state(sessions_dir: Path) -> StateDirectory:
    return state_in(sessions_dir)


@pytest.fixture
def swept(state: StateDirectory, clock: WallClock) -> None:
    """The workspace was swept a day ago."""
    state.write_cleanup(CleanupState(last_run_at=clock.ago(days=1)))


@pytest.fixture
def start(
    store: FileSessionStore,
    manager: SessionManager,
    state: StateDirectory,
    clock: WallClock,
    sessions_dir: Path,
) -> Start:
    """Start the service, as after a start of the program; at the end it stops."""

    @asynccontextmanager
    async def start(policy: RetentionPolicy | None = None, **options: Any) -> AsyncIterator[CleanupService]:
        cleanup = Cleanup(sessions_dir, policy=policy, clock=clock, manager=manager, store=store)
        guard = ClockGuard(state, clock, cleanup.policy.shortest_age())
        await guard.start()
        service = CleanupService(cleanup, state=state, guard=guard, clock=clock, **options)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            await settle()
            yield service
            service.stop()

    return start


def left(sessions_dir: Path) -> list[str]:
    return sorted(path.stem for path in sessions_dir.glob("*.json"))


async def test_run_due_at_start_removes(
    start: Start, swept: None, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """A run that fell due while nobody was there happens at the start."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with start() as service:
        assert service.runs == 1
        assert service.next_run_at == clock.now + timedelta(days=1)
    assert left(sessions_dir) == []


async def test_run_every_24_hours_exactly(start: Start, swept: None, logs: LogRecorder, days_pass: DaysPass) -> None:
    """From beginning to beginning there are 24 hours: not a second less, and no drift."""
    async with start() as service:
        for day in range(1, 4):
            await days_pass(1 - 1 / DAY)
            assert service.runs == day
            await days_pass(1 / DAY)
            assert service.runs == day + 1
    assert len(logs.named(COMPLETE)) == 4


async def test_restarted_often_still_runs_once_a_day(
    start: Start, swept: None, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """A gateway that is restarted every few hours cleans up once a day, no more and no less."""
    for _ in range(12):
        async with start():
            await days_pass(0.25)
    assert len(logs.named(COMPLETE)) == 4  # at the start, and after one, two and three days


async def test_first_sweep_announces_and_removes_a_day_later(
    start: Start, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A workspace that was never swept loses nothing in silence: a WARNING says what will go, when, and why."""
    size = sum(write_session(sessions_dir, f"telegram_{n}", clock.ago(days=31)).stat().st_size for n in range(3))
    async with start():
        event = logs.one(ANNOUNCED)
        assert event["level"] == "warning"
        assert (event["sessions"], event["bytes"]) == (3, size)
        assert event["until"] == (clock.now + timedelta(days=1)).isoformat()
        assert "never been swept" in event["because"]
        assert "miniclaw sessions cleanup" in event["remove_them_now"]
        await days_pass(0.99)
        assert len(left(sessions_dir)) == 3
        await days_pass(0.01)
        assert left(sessions_dir) == []
    assert len(logs.named(ANNOUNCED)) == 1


async def test_first_sweep_with_nothing_to_remove_counts_as_swept(
    start: Start, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A new installation announces nothing, then or later."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=29, hours=23))
    async with start():
        await days_pass(1)
    assert left(sessions_dir) == []
    assert not logs.named(ANNOUNCED)


async def test_first_sweep_announced_survives_restarts(
    start: Start, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """The day of an announcement goes on over restarts; it neither begins anew nor is it cut short."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    for _ in range(3):
        async with start():
            await days_pass(0.3)
            assert left(sessions_dir) == ["telegram_1"]
    async with start():
        await days_pass(0.1)
        assert left(sessions_dir) == []
    assert len(logs.named(ANNOUNCED)) == 1


async def test_announced_session_that_is_used_meanwhile_stays(
    start: Start,
    manager: SessionManager,
    sessions_dir: Path,
    clock: WallClock,
    days_pass: DaysPass,
) -> None:
    """Who comes back between the announcement and the removal keeps their session."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    write_session(sessions_dir, "telegram_2", clock.ago(days=31))
    async with start():
        await manager.get_session("telegram_1")
        await manager.save_all_sessions()
        await days_pass(1)
    assert left(sessions_dir) == ["telegram_1"]


async def test_announce_first_off_removes_at_once(
    start: Start, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """Switched off, nothing is announced."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with start(announce_first=False):
        assert left(sessions_dir) == []


async def test_clock_that_runs_ahead_announces_and_its_correction_saves_all(
    start: Start,
    swept: None,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    days_pass: DaysPass,
) -> None:
    """A clock that jumps a year ahead removes nothing; when it is right again within the day, nothing is lost."""
    write_session(sessions_dir, "telegram_1", clock.now)
    async with start():
        clock.move(days=365)
        await days_pass(1)
        assert "monotonic" in logs.one(ANNOUNCED)["because"]
        assert left(sessions_dir) == ["telegram_1"]
        clock.move(days=-365)
        await days_pass(1)
        assert left(sessions_dir) == ["telegram_1"]
    assert len(logs.named(ANNOUNCED)) == 1


async def test_clock_that_stays_ahead_removes_a_day_later(
    start: Start, swept: None, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """Where nobody objects for a day, the clock is believed."""
    write_session(sessions_dir, "telegram_1", clock.now)
    async with start():
        clock.move(days=365)
        await days_pass(1)
        await days_pass(1)
    assert left(sessions_dir) == []


async def test_clock_that_steps_by_hours_is_not_suspicious(
    start: Start, swept: None, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """Steps of up to a day are ordinary corrections."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=29))
    async with start():
        clock.move(hours=23)
        await days_pass(1)
    assert left(sessions_dir) == []


async def test_long_absence_announces_first(
    start: Start,
    swept: None,
    state: StateDirectory,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    days_pass: DaysPass,
) -> None:
    """After an absence of more than half of the TTL, by a clock that may be wrong, the first run only announces."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    state.write_last_seen(clock.ago(days=15, seconds=1))
    async with start():
        assert "half of the shortest TTL" in logs.one(ANNOUNCED)["because"]
        assert left(sessions_dir) == ["telegram_1"]
        await days_pass(1)
        assert left(sessions_dir) == []


async def test_run_after_a_clock_that_was_ahead_is_postponed_once(
    start: Start, state: StateDirectory, sessions_dir: Path, clock: WallClock
) -> None:
    """What a wrong clock has written down does not let each restart wait anew: from the first one on it counts as now."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    state.write_cleanup(CleanupState(last_run_at=clock.ago(days=-900)))
    for _ in range(2):
        async with start():
            assert left(sessions_dir) == ["telegram_1"]
        clock.move(hours=12)
    async with start():
        assert left(sessions_dir) == []


@pytest.mark.parametrize("at", ["04:00", time(4, tzinfo=UTC), 4])
def test_service_senseless_time_of_day_is_refused(state: StateDirectory, sessions_dir: Path, at: Any) -> None:
    """A time of day is naive, and a time; else it is refused before anything runs."""
    with pytest.raises(ValueError, match=r"cleanup_at is a datetime\.time without a zone"):
        CleanupService(Cleanup(sessions_dir), state=state, guard=None, at=at)  # type: ignore[arg-type]


async def test_short_absence_removes_at_once(
    start: Start, swept: None, state: StateDirectory, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """At exactly half of the TTL nothing is suspicious."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    state.write_last_seen(clock.ago(days=15))
    async with start():
        assert left(sessions_dir) == []


async def test_run_failing_is_logged_and_follows_as_planned(
    start: Start,
    swept: None,
    fs: FaultyOs,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    days_pass: DaysPass,
) -> None:
    """A directory that cannot be listed is an ERROR and ends nothing: the next run comes a day later."""
    logs.expect_error("Session cleanup failed; the next one follows as planned")
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    fs.fail("scandir", errno.EIO)
    async with start() as service:
        fs.clear()
        assert service.next_run_at == clock.now + timedelta(days=1)
        await days_pass(1)
        assert left(sessions_dir) == []


async def test_announcement_after_a_failed_run_is_not_forgotten(
    start: Start,
    swept: None,
    state: StateDirectory,
    fs: FaultyOs,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    days_pass: DaysPass,
) -> None:
    """What was suspicious before a run that failed is still suspicious at the next one."""
    logs.expect_error("Session cleanup failed; the next one follows as planned")
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    state.write_last_seen(clock.ago(days=20))
    fs.fail("scandir", errno.EIO)
    async with start():
        fs.clear()
        await days_pass(1)
        assert left(sessions_dir) == ["telegram_1"]
        assert logs.named(ANNOUNCED)


async def test_state_that_cannot_be_written_still_waits_its_day(
    start: Start,
    tmp_path: Path,
    sessions_dir: Path,
    clock: WallClock,
    logs: LogRecorder,
    days_pass: DaysPass,
) -> None:
    """Without a state directory the service remembers in memory: it announces once and removes a day later."""
    logs.expect_error("Cleanup state could not be written")
    logs.expect_error("Cleanup state could not be read")
    sessions_dir.mkdir(parents=True, exist_ok=True)
    (sessions_dir / ".state").write_text("in the way")
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with start():
        assert logs.named(ANNOUNCED)
        await days_pass(1)
        assert left(sessions_dir) == []
    assert len(logs.named(ANNOUNCED)) == 1


async def test_interval_never_runs_nothing(
    start: Start, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """Switched off, the service waits to be stopped."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with start(interval_seconds=None) as service:
        await days_pass(100)
        assert service.next_run_at is None
    assert left(sessions_dir) == ["telegram_1"]


async def test_short_interval_waits_the_whole_day_of_an_announcement(
    start: Start, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """The day of an announcement is a day, however often the cleanup runs."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with start(interval_seconds=3600):
        await days_pass(0.5)
        assert left(sessions_dir) == ["telegram_1"]
        await days_pass(0.5)
        assert left(sessions_dir) == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_service_senseless_interval_is_refused(state: StateDirectory, sessions_dir: Path, seconds: float) -> None:
    """An interval is positive, or never."""
    with pytest.raises(ValueError, match="interval_seconds"):
        CleanupService(Cleanup(sessions_dir), state=state, guard=None, interval_seconds=seconds)  # type: ignore[arg-type]
