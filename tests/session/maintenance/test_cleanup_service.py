"""The daily cleanup: when it runs, over restarts and wrong clocks, and at a time of day."""

from __future__ import annotations

import os
import time as system_time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.session.runtime import SessionRuntime, open_runtime
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import COMPLETE, Daily
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import settle, wait_in_thread

HOUR = 1 / 24
SECOND = HOUR / 3600


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


async def test_run_due_at_start_deletes_what_was_announced(daily: Daily, clock: WallClock, days_pass: DaysPass) -> None:
    """A run that fell due while nobody was there happens at the start."""
    daily.write("telegram_1", idle=31)
    await daily.sweep()
    clock.move(days=1)
    async with daily.open() as runtime:
        assert runtime.cleanup_service.runs == 1
        assert runtime.cleanup_service.next_run_at == clock.now + timedelta(days=1)
    assert daily.left() == []


async def test_run_every_24_hours_exactly(daily: Daily, logs: LogRecorder, days_pass: DaysPass) -> None:
    """From beginning to beginning there are 24 hours: not a second less, and no drift."""
    async with daily.open() as runtime:
        for day in range(1, 4):
            await days_pass(1 - SECOND)
            assert runtime.cleanup_service.runs == day
            await days_pass(SECOND)
            assert runtime.cleanup_service.runs == day + 1
    assert len(logs.named(COMPLETE)) == 4


async def test_run_that_begins_late_makes_the_next_one_no_later(
    daily: Daily, clock: WallClock, days_pass: DaysPass
) -> None:
    """A program that was busy, or not there, for an hour at the time of a run comes back to its time."""
    await daily.sweep()
    clock.move(days=1, hours=1)
    async with daily.open() as runtime:
        assert runtime.cleanup_service.next_run_at == clock.now + timedelta(hours=23)


async def test_restarted_often_still_runs_once_a_day(daily: Daily, logs: LogRecorder, days_pass: DaysPass) -> None:
    """A gateway that is restarted every few hours cleans up once a day, no more and no less."""
    for _ in range(12):
        async with daily.open():
            await days_pass(0.25)
    assert len(logs.named(COMPLETE)) == 4  # at the start, and after one, two and three days


async def test_first_run_with_nothing_expired_is_a_run(daily: Daily, days_pass: DaysPass) -> None:
    """A new installation tells nothing with a WARNING, then or later."""
    daily.write("telegram_1", idle=29.9)
    async with daily.open():
        await days_pass(1)
    assert (daily.left(), daily.warnings()) == ([], [])


async def test_run_after_a_clock_that_was_ahead_is_postponed_once(
    daily: Daily, clock: WallClock, days_pass: DaysPass
) -> None:
    """A run that a wrong clock dated into the future does not let each restart wait anew."""
    clock.jump(days=900)
    await daily.sweep()
    clock.jump(days=-900)
    runs = []
    for _ in range(4):
        async with daily.open() as runtime:
            await days_pass(0.5)
            runs.append(runtime.cleanup_service.runs)
    assert runs == [0, 1, 0, 1]


async def test_interval_never_runs_nothing(daily: Daily, days_pass: DaysPass) -> None:
    """Switched off, the service waits to be stopped."""
    daily.write("telegram_1", idle=31)
    async with daily.open(cleanup_interval_seconds=None) as runtime:
        await days_pass(100)
        assert (runtime.cleanup_service.next_run_at, runtime.cleanup_service.runs) == (None, 0)
    assert daily.left() == ["telegram_1"]


async def test_short_interval_has_a_notice_that_is_shorter(daily: Daily, days_pass: DaysPass) -> None:
    """Where the cleanup runs each hour, what one run announces goes with the next one."""
    daily.write("telegram_1", idle=31)
    async with daily.open(cleanup_interval_seconds=3600):
        await days_pass(HOUR - SECOND)
        assert daily.left() == ["telegram_1"]
        await days_pass(SECOND)
        assert daily.left() == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_senseless_interval_is_refused(sessions_dir: Path, seconds: float) -> None:
    """An interval is positive, or never."""
    with pytest.raises(ValueError, match="interval_seconds"):
        async with open_runtime(sessions_dir, cleanup_interval_seconds=seconds):
            pass


@pytest.mark.parametrize("at", ["04:00", time(4, tzinfo=UTC), 4])
async def test_senseless_time_of_day_is_refused(sessions_dir: Path, at: Any) -> None:
    """A time of day is naive, and a time; else it is refused before anything runs."""
    with pytest.raises(ValueError, match=r"cleanup_at is a datetime\.time without a zone"):
        async with open_runtime(sessions_dir, cleanup_at=at):
            pass
    assert not sessions_dir.exists()


async def test_turn_while_a_run_is_going_follows_it(
    daily: Daily, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """Where a run that was ordered is going at the time, the service's comes after it, and the next one a day later."""
    fs = FaultyOs()
    async with daily.open(fs=fs) as runtime:
        daily.write("telegram_1", idle=31)
        gate = fs.block("scandir")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.cleanup.run)
            await wait_in_thread(gate.reached)
            clock.move(days=1)
            days_pass._seconds += 24 * 60 * 60
            await trio.testing.wait_all_tasks_blocked()
            assert len(logs.named(COMPLETE)) == 1
            gate.opened.set()
        await settle()
        assert len(logs.named(COMPLETE)) == 3
        assert runtime.cleanup_service.next_run_at == clock.now + timedelta(days=1)
        assert daily.left() == []


# At a time of day -----------------------------------------------------------------------------------------------


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


def at_four(daily: Daily) -> AbstractAsyncContextManager[SessionRuntime]:
    """Open the program, with its cleanup at four in the morning."""
    return daily.open(cleanup_at=time(4), cleanup_interval_seconds=None)


async def ran_at(daily: Daily, at: datetime) -> None:
    """Have a run at a time of the wall clock."""
    daily.clock.now = at
    await daily.sweep()


async def test_time_of_day_runs_then_and_only_then(
    daily: Daily, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """At four in the morning, where the machine is, once a day."""
    await ran_at(daily, datetime(2026, 6, 10, 12, 0, tzinfo=UTC))  # 14:00 there
    async with at_four(daily) as runtime:
        service = runtime.cleanup_service
        assert service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)
        runs = []
        for passed in (14 * HOUR - SECOND, SECOND, 1 - SECOND, SECOND):
            await days_pass(passed)
            runs.append(service.runs)
        assert runs == [0, 1, 1, 2]


async def test_time_of_day_missed_is_caught_up_at_the_start(
    daily: Daily, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A run that nobody was there for happens at the start, once, and the next at its time."""
    await ran_at(daily, datetime(2026, 6, 10, 1, 59, tzinfo=UTC))
    clock.move(hours=10)
    for expected in (1, 0):
        async with at_four(daily) as runtime:
            assert runtime.cleanup_service.runs == expected
            assert runtime.cleanup_service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 28, 3, 0, tzinfo=UTC), 23), (datetime(2026, 10, 24, 2, 0, tzinfo=UTC), 25)]
)
async def test_time_of_day_over_a_change_of_the_clocks(
    daily: Daily, berlin: None, days_pass: DaysPass, day: datetime, hours: int
) -> None:
    """In the night of a change it runs at four by the clock on the wall, after 23 or 25 hours."""
    await ran_at(daily, day)
    async with at_four(daily) as runtime:
        await days_pass(hours * HOUR - SECOND)
        assert runtime.cleanup_service.runs == 0
        await days_pass(2 * SECOND)
        assert runtime.cleanup_service.runs == 1


async def test_time_of_day_with_a_clock_set_back_runs_when_it_is_time_again(
    daily: Daily, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A clock that was years ahead at the start and is corrected costs no years of waiting."""
    await ran_at(daily, datetime(2036, 6, 10, 12, 0, tzinfo=UTC))
    async with at_four(daily) as runtime:
        clock.now = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
        await days_pass(HOUR)
        assert runtime.cleanup_service.next_run_at == datetime(2026, 6, 11, 2, 0, tzinfo=UTC)
        await days_pass(13 * HOUR)
        assert runtime.cleanup_service.runs == 1


async def test_time_of_day_with_a_clock_set_back_by_seconds_runs_once(
    daily: Daily, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A clock that is set back a little in the last hour makes the run wait for it, and does not make it run twice."""
    await ran_at(daily, datetime(2026, 6, 11, 1, 30, tzinfo=UTC))
    async with at_four(daily) as runtime:
        clock.jump(seconds=-10)
        runs = []
        for passed in (HOUR / 2, 10 * SECOND, HOUR):
            await days_pass(passed)
            runs.append(runtime.cleanup_service.runs)
        assert runs == [0, 1, 1]


async def test_time_of_day_with_a_clock_set_forward_runs_within_a_quarter_of_an_hour(
    daily: Daily, clock: WallClock, berlin: None, days_pass: DaysPass
) -> None:
    """A clock that is set over the time is noticed at the next look."""
    await ran_at(daily, datetime(2026, 6, 10, 12, 0, tzinfo=UTC))
    async with at_four(daily) as runtime:
        clock.jump(hours=15)
        await days_pass(HOUR / 4)
        assert runtime.cleanup_service.runs == 1
