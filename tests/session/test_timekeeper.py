"""The time of a running program, over its restarts, the machine's, and whatever is done to the wall clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from miniclaw.clock import MICROSECOND
from miniclaw.session.records.state import DUE_NAME, LAST_SEEN_NAME, STATE_FILE
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.timekeeper import Timekeeper
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEEPS = timedelta(days=30)
CLOCK_FAILED = "Clock failed; time stands still until it works again"
DAMAGED = "Cleanup state could not be read; what is due is announced anew"

Start: TypeAlias = Callable[[], Awaitable[Timekeeper]]


@pytest.fixture
def start(sessions_dir: Path, clock: WallClock) -> Start:
    """Starts a program anew, which goes on from what the one before has written down."""

    async def begin() -> Timekeeper:
        time = Timekeeper(state_in(sessions_dir), clock, KEEPS)
        await time.start()
        return time

    return begin


def age(time: Timekeeper, stamp: datetime) -> timedelta | None:
    return time.ages().age(stamp)


async def test_time_goes_on_after_a_kill_from_the_last_tick(start: Start, clock: WallClock) -> None:
    """A program that is killed loses no more than the time since its last tick, and ages go on without a break."""
    time = await start()
    stamp = time.now()
    await time.tick()
    clock.move(hours=5)
    await time.tick()
    clock.move(minutes=10)
    time = await start()
    assert age(time, stamp) == 5 * HOUR + timedelta(minutes=10)
    assert time.state.timeline.lived == (5 * HOUR + timedelta(minutes=10)) // MICROSECOND


async def test_stamp_that_two_clocks_may_have_made_is_the_younger_one(start: Start, clock: WallClock) -> None:
    """Where the clock was set back, a time that it has shown twice counts from the second time."""
    time = await start()
    begin = time.now()
    clock.move(days=10)
    time.look()
    clock.jump(days=-5)
    time.look()
    clock.move(days=3)
    assert age(time, begin + 6 * DAY) == 2 * DAY
    assert age(time, begin + 4 * DAY) == 9 * DAY, "shown once only"
    await time.save()
    assert age(await start(), begin + 6 * DAY) == 2 * DAY


async def test_stamp_made_under_a_wrong_clock_has_its_true_age(start: Start, clock: WallClock) -> None:
    """What was used while the clock was ahead is as old as it is, and neither ahead nor expired."""
    time = await start()
    clock.move(days=1)
    time.look()
    clock.jump(days=400)
    stamp = time.now()
    clock.move(days=2)
    time.look()
    clock.jump(days=-400)
    clock.move(days=3)
    assert age(time, stamp) == 5 * DAY
    assert age(time, time.now() - 4 * DAY) == 4 * DAY
    assert time.now() == clock.now


@pytest.mark.parametrize(
    ("off", "server", "counts"), [(9 * HOUR, False, True), (9 * DAY, False, False), (9 * DAY, True, True)]
)
async def test_gap_counts_where_it_is_short_or_a_server_vouches_for_it(
    start: Start, clock: WallClock, off: timedelta, server: bool, counts: bool
) -> None:
    """A long gap may be a wrong clock: it makes nothing older unless both sides of it are vouched for."""
    clock.server = server
    time = await start()
    stamp = time.now()
    await time.save()
    clock.reboot(off=off, uptime=HOUR)
    time = await start()
    assert age(time, stamp) == (off + HOUR if counts else HOUR)
    assert time.now() == clock.now


async def test_uptime_of_another_machine_is_no_time_that_passed(start: Start, clock: WallClock) -> None:
    """A directory that is moved to a machine which has run for months has lived no more than the clock says."""
    time = await start()
    stamp = time.now()
    await time.save()
    clock.move(minutes=20)
    clock.boot, clock.uptime = "another one", 300 * DAY.total_seconds()
    time = await start()
    assert time.state.timeline.lived == timedelta(minutes=20) // MICROSECOND
    assert age(time, stamp) == timedelta(minutes=20)


async def test_clock_behind_after_a_boot_is_not_believed_until_it_is_set(start: Start, clock: WallClock) -> None:
    """A board that boots in 1970 stamps what follows from the last known time; once its clock is set, that."""
    time = await start()
    before = time.now()
    await time.save()
    right = clock.now
    clock.reboot(off=timedelta(0), uptime=timedelta(minutes=1))
    clock.now = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    time = await start()
    assert before <= time.now() <= before + timedelta(minutes=2)
    clock.move(hours=1)
    stamp = time.now()
    assert before < stamp < before + 2 * HOUR
    clock.now = right + 3 * HOUR
    assert time.now() == clock.now
    assert age(time, stamp) == timedelta(0)


async def test_jump_is_written_durably_with_the_next_tick(start: Start, clock: WallClock, sessions_dir: Path) -> None:
    """Ticks are written in place and not synced, but for the first one after the clock was set."""
    time = await start()
    await time.tick()
    state = sessions_dir / ".state"
    before = (state / STATE_FILE).stat().st_ino
    clock.move(hours=1)
    await time.tick()
    assert (state / STATE_FILE).stat().st_ino == before
    clock.jump(days=3)
    await time.tick()
    (state / LAST_SEEN_NAME).unlink()
    known = state_in(sessions_dir).load()
    assert known is not None
    assert len(known.timeline.frames) == 2


async def test_tick_finds_room_on_a_disk_that_is_full(start: Start, clock: WallClock, sessions_dir: Path) -> None:
    """The first tick makes the file that all later ones overwrite, so that none of them needs room."""
    time = await start()
    await time.tick()
    before = (sessions_dir / ".state" / LAST_SEEN_NAME).stat()
    clock.move(hours=1)
    await time.tick()
    after = (sessions_dir / ".state" / LAST_SEEN_NAME).stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


async def test_run_is_remembered_after_its_list(sessions_dir: Path, clock: WallClock) -> None:
    """A crash in between leaves a list that says more than the state, and no run whose announcements are lost."""
    fs = FaultyOs()
    time = Timekeeper(state_in(sessions_dir, fs), clock, KEEPS)
    await time.start()
    notice = time.moment().notice(RetentionPolicy(), DAY, waits=True)
    fs.calls.clear()
    await time.remember(notice, notice.ended(), held="")
    assert [args[1] for name, args in fs.calls if name == "rename"] == [DUE_NAME, STATE_FILE]


async def test_state_that_cannot_be_read_begins_anew(
    start: Start, clock: WallClock, sessions_dir: Path, logs: LogRecorder
) -> None:
    """A damaged state is a first installation: an ERROR, ages by the wall clock, and a sound state with the next tick."""
    logs.expect_error(DAMAGED)
    (sessions_dir / ".state").mkdir(parents=True)
    (sessions_dir / ".state" / STATE_FILE).write_text("garbage")
    time = await start()
    assert (time.state.last_run, time.state.timeline.lived) == (None, 0)
    assert age(time, clock.ago(days=7)) == 7 * DAY
    await time.tick()
    assert (await start()).state.id == time.state.id
    logs.one(DAMAGED)


class BrokenClock(WallClock):
    """A clock of an embedder that fails as long as it is told to."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.fails: dict[str, Callable[[], Any]] = {}

    def wall(self) -> datetime:
        return self.fails["wall"]() if "wall" in self.fails else super().wall()

    def boottime(self) -> float:
        return self.fails["boottime"]() if "boottime" in self.fails else super().boottime()

    def boot_id(self) -> str:
        return self.fails["boot_id"]() if "boot_id" in self.fails else super().boot_id()


def _raise() -> Any:
    raise ZeroDivisionError


def _raise_cancelled() -> Any:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("method", "returns"),
    [
        ("wall", _raise),
        ("wall", lambda: None),
        ("wall", lambda: datetime(2026, 1, 1)),  # noqa: DTZ001 - no zone
        ("boottime", lambda: float("nan")),
        ("boottime", lambda: "5"),
        ("boot_id", lambda: 5),
        ("boot_id", _raise),
        ("wall", _raise_cancelled),
    ],
)
async def test_clock_that_fails_lets_time_stand_still_and_is_told_once(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, method: str, returns: Callable[[], Any]
) -> None:
    """A bug in an embedder's clock fails no message and no save; when the clock works again, time goes on."""
    logs.expect_error(CLOCK_FAILED)
    broken = BrokenClock(clock.now)
    time = Timekeeper(state_in(sessions_dir), broken, KEEPS)
    await time.start()
    before = time.now()
    broken.move(hours=1)
    broken.fails[method] = returns
    assert time.now() == before
    await time.tick()
    assert len(logs.named(CLOCK_FAILED)) == 1
    assert "clock.py" in logs.one(CLOCK_FAILED)["traceback"]
    assert time.failures > 1
    broken.fails.clear()
    assert time.now() == before + HOUR
    broken.fails[method] = returns
    time.now()
    assert len(logs.named(CLOCK_FAILED)) == 2, "it had worked meanwhile"


async def test_clock_that_fails_at_the_start_refuses_it(sessions_dir: Path, clock: WallClock) -> None:
    """Without any time there are no ages; the program's error is raised as itself."""
    broken = BrokenClock(clock.now)
    broken.fails["wall"] = _raise
    with pytest.raises(ZeroDivisionError):
        await Timekeeper(state_in(sessions_dir), broken, KEEPS).start()
