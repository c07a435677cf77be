"""The daily cleanup that only announces, at a time of day, held, or under a clock that may be wrong."""

from __future__ import annotations

import os
import time as system_time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from miniclaw.session.clock_guard import ClockGuard

from miniclaw.session.cleanup_service import CleanupService
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import open_runtime
from miniclaw.session.state import CleanupState
from miniclaw.session.store import FileSessionStore
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs
from tests.fakes.samples import write_session
from tests.fakes.threads import settle, wait_in_thread

ANNOUNCED = "Session cleanup announced; nothing is removed yet"
COMPLETE = "Session cleanup complete"
HOUR = 1 / 24
SECOND = HOUR / 3600
TRASH = RetentionPolicy(trash_for=timedelta(days=7), quarantine_for=timedelta(days=10))

Start = Callable[..., AbstractAsyncContextManager[CleanupService]]


@pytest.fixture
def runs(store: FileSessionStore, manager: SessionManager, clock: WallClock) -> Runs:
    runs = Runs(store, manager, clock)
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(days=1)))
    return runs


@pytest.fixture
def start(runs: Runs, clock: WallClock) -> Start:
    """Start the service, as after a start of the program; at the end it stops."""

    @asynccontextmanager
    async def start(policy: RetentionPolicy = TRASH, **options: Any) -> AsyncIterator[CleanupService]:
        cleanup = runs.by(policy)
        guard = ClockGuard(runs.state, clock, cleanup.policy.shortest_ttl())
        await guard.start()
        service = CleanupService(cleanup, state=runs.state, guard=guard, clock=clock, **options)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            await settle()
            yield service
            service.stop()

    return start


@pytest.fixture
def berlin() -> Iterator[None]:
    """The machine stands in Berlin."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    system_time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    system_time.tzset()


def quarantined(runs: Runs, days: int) -> Path:
    folder = runs.store.directory.path / ".quarantine"
    folder.mkdir(exist_ok=True)
    path = folder / f"telegram_1.json.{runs.clock.ago(days=days):%Y%m%dT%H%M%SZ}-0a1b2c3d"
    path.write_bytes(b"12345")
    return path


async def trashed(runs: Runs) -> None:
    """Have an entry in the trash that expired a day ago."""
    runs.write(60)
    runs.clock.move(days=-8)
    await runs.by(TRASH).run()
    runs.clock.move(days=8)


# Announcing only ------------------------------------------------------------------------------------------------


async def test_mode_announce_never_removes_anything(
    start: Start, runs: Runs, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """Day after day it says what would go, in the log and in the history, and nothing goes: no leftover either."""
    await trashed(runs)
    before = len(runs.told())
    runs.write(31, 40)
    leftover = quarantined(runs, 11)
    async with start(removes=False):
        for _ in range(3):
            await days_pass(1)
    assert runs.left() == [31, 40]
    assert leftover.exists()
    assert len(runs.store.trash.entries()) == 1
    warnings = logs.named(ANNOUNCED)
    assert len(warnings) == 4
    assert (warnings[0]["level"], warnings[0]["sessions"], warnings[0]["leftovers"]) == ("warning", 2, 2)
    assert warnings[0]["reasons"] == {"ttl": 2}
    assert "changes the mode" in warnings[0]["until"]
    told = runs.told()[before:]
    assert [(event.event, len(event.sessions), event.because) for event in told] == [
        ("announced", 2, "the mode is to announce")
    ] * 4


async def test_mode_announce_of_nothing_is_silent(start: Start, runs: Runs, logs: LogRecorder) -> None:
    """Where nothing would go there is nothing to say."""
    runs.write(5)
    async with start(removes=False) as service:
        assert service.runs == 1
    assert not logs.named(ANNOUNCED)
    assert runs.told() == []


async def test_mode_announce_of_the_runtime_removes_nothing(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The runtime hands the mode on, and its history lies in its state directory."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    async with open_runtime(sessions_dir, removes=False, clock=clock):
        await settle()
    assert (sessions_dir / "telegram_1.json").exists()
    assert logs.named(ANNOUNCED)
    assert b'"announced"' in (sessions_dir / ".state" / "history.jsonl").read_bytes()


# Held -----------------------------------------------------------------------------------------------------------


async def test_held_run_is_remembered_until_one_is_not(start: Start, runs: Runs, days_pass: DaysPass) -> None:
    """Why the last run was held can be read from the state, after restarts too; the next one that runs clears it."""
    runs.write(*range(20, 40))
    async with start(RetentionPolicy(max_removed_fraction=0.4)) as service:
        assert service.last_result is not None
        assert "of 20 sessions" in runs.state.read_cleanup().held == service.last_result.held
    assert len(runs.left()) == 20
    runs.write(*range(1, 10))
    async with start(RetentionPolicy(max_removed_fraction=0.4)):
        await days_pass(1)
        assert runs.state.read_cleanup() == CleanupState(last_run_at=runs.clock.now)
    assert len(runs.left()) == 19


# Clocks that may be wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["trash", "quarantine"])
async def test_suspicious_clock_announces_also_for_leftovers_alone(
    start: Start, runs: Runs, logs: LogRecorder, days_pass: DaysPass, what: str
) -> None:
    """By a clock that may be wrong neither trash nor quarantine is emptied; a day later they are."""
    if what == "trash":
        await trashed(runs)
    else:
        quarantined(runs, 11)
    runs.state.write_last_seen(runs.clock.ago(days=20))
    before = len(runs.told())
    async with start():
        assert logs.one(ANNOUNCED)["leftovers"] == 1
        assert runs.told()[before].event == "announced"
        left = (await runs.by(TRASH).plan()).leftovers
        assert [row.leftover.kind for row in left] == ["trash" if what == "trash" else "quarantined"]
        await days_pass(1)
        assert (await runs.by(TRASH).plan()).leftovers == []


async def test_stop_during_an_announcement_removes_nothing(
    start: Start, runs: Runs, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A stop while it is looked at what to announce ends the service; what was not seen is not removed instead."""
    runs.write(31)
    runs.state.write_last_seen(runs.clock.ago(days=20))
    cleanup = runs.by(TRASH)
    guard = ClockGuard(runs.state, runs.clock, TRASH.shortest_ttl())
    await guard.start()
    service = CleanupService(cleanup, state=runs.state, guard=guard, clock=runs.clock)
    before = runs.state.read_cleanup()
    for call in ("scandir", "open"):
        gate = fs.block(call, path="" if call == "scandir" else ".quarantine")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            await wait_in_thread(gate.reached)
            service.stop()
            gate.opened.set()
        assert runs.left() == [31]
        assert runs.state.read_cleanup() == before
        assert not logs.named(COMPLETE)
        assert runs.told() == []
        service = CleanupService(cleanup, state=runs.state, guard=guard, clock=runs.clock)


# At a time of day -----------------------------------------------------------------------------------------------


async def test_time_of_day_runs_then_and_only_then(
    start: Start, runs: Runs, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """At four in the morning, where the machine is, once a day."""
    clock.now = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)  # 14:00 there
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(hours=1)))
    async with start(at=time(4), interval_seconds=None) as service:
        assert service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)
        await days_pass(14 * HOUR - SECOND)
        assert service.runs == 0
        await days_pass(SECOND)
        assert service.runs == 1
        await days_pass(1 - SECOND)
        assert service.runs == 1
        await days_pass(SECOND)
        assert service.runs == 2


async def test_time_of_day_missed_is_caught_up_at_the_start(
    start: Start, runs: Runs, clock: WallClock, berlin: None
) -> None:
    """A run that nobody was there for happens at the start, once, and the next at its time."""
    clock.now = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
    runs.state.write_cleanup(CleanupState(last_run_at=datetime(2026, 6, 10, 1, 59, tzinfo=UTC)))
    for expected in (1, 0):
        async with start(at=time(4), interval_seconds=None) as service:
            assert service.runs == expected
            assert service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 28, 3, 0, tzinfo=UTC), 23), (datetime(2026, 10, 24, 2, 0, tzinfo=UTC), 25)]
)
async def test_time_of_day_over_a_change_of_the_clocks(
    start: Start, runs: Runs, clock: WallClock, berlin: None, days_pass: DaysPass, day: datetime, hours: int
) -> None:
    """In the night of a change it runs at four by the clock on the wall, after 23 or 25 hours."""
    clock.now = day
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(days=2)))
    async with start(at=time(4), interval_seconds=None) as service:
        assert service.runs == 1
        await days_pass(hours * HOUR - SECOND)
        assert service.runs == 1
        await days_pass(2 * SECOND)
        assert service.runs == 2


async def test_time_of_day_with_a_clock_set_back_runs_when_it_is_time_again(
    start: Start, runs: Runs, clock: WallClock, berlin: None, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """A clock that was years ahead at the start and is corrected costs no years of waiting."""
    clock.now = datetime(2036, 6, 10, 12, 0, tzinfo=UTC)
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(hours=1)))
    async with start(at=time(4), interval_seconds=None) as service:
        clock.now = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
        await days_pass(HOUR)
        assert service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)
        await days_pass(13 * HOUR)
        assert service.runs == 1


async def test_time_of_day_with_a_clock_set_back_by_seconds_runs_once(
    start: Start, runs: Runs, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A clock that is set back a little in the last hour makes the run wait for it, and does not make it run twice."""
    clock.now = datetime(2026, 6, 11, 1, 30, tzinfo=UTC)
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(hours=1)))
    async with start(at=time(4), interval_seconds=None) as service:
        clock.move(seconds=-10)
        await days_pass(HOUR / 2)
        assert service.runs == 0
        await days_pass(10 * SECOND)
        assert service.runs == 1
        await days_pass(HOUR)
        assert service.runs == 1


async def test_time_of_day_with_a_clock_set_forward_runs_within_the_hour(
    start: Start, runs: Runs, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A clock that is set over the time is noticed at the next look."""
    clock.now = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
    runs.state.write_cleanup(CleanupState(last_run_at=clock.ago(hours=1)))
    async with start(at=time(4), interval_seconds=None) as service:
        clock.move(hours=15)
        await days_pass(HOUR)
        assert service.runs == 1


async def test_turn_while_a_run_is_going_follows_it(
    start: Start, runs: Runs, fs: FaultyOs, logs: LogRecorder, clock: WallClock, days_pass: DaysPass
) -> None:
    """Where a run that was ordered is going at the time, the service's comes after it, and the next one a day later."""
    runs.state.write_cleanup(CleanupState(last_run_at=clock.now))
    async with start() as service:
        runs.write(31)
        gate = fs.block("scandir")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service._cleanup.run)
            await wait_in_thread(gate.reached)
            clock.move(days=1)
            days_pass._seconds += 24 * 60 * 60
            await trio.testing.wait_all_tasks_blocked()
            assert logs.named(COMPLETE) == []
            gate.opened.set()
        await settle()
        assert len(logs.named(COMPLETE)) == 2
        assert service.next_run_at == clock.now + timedelta(days=1)
