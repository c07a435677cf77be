"""What was tried on the notice rule and once deleted something: corrected clocks, rules made shorter, files put back."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from miniclaw.session.records.state import StateDirectory
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import DAY
from miniclaw.session.runtime import open_runtime
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import COMPLETE, Daily
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.machine import HOUR, Machine
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

SECOND_DAYS = 1 / (24 * 60 * 60)
OLD = "web_old"
NOT_WRITTEN = "Cleanup state could not be written"


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("correction", [2, 30, 299, -2, -299])
async def test_use_just_after_a_small_correction_is_young(
    daily: Daily, days_pass: DaysPass, clock: WallClock, correction: int
) -> None:
    """The clock was 35 days ahead once; a stamp of now may not be read with the clock of then."""
    async with daily.open() as runtime:
        clock.jump(days=35)
        await days_pass(1 / 12)
        clock.jump(days=-35)
        await days_pass(35 - 1 / 24)
        clock.jump(seconds=correction)
        session = await runtime.manager.get_or_create_session("web", "now")
        assert runtime.time.ages().shown(session.last_accessed) <= timedelta(minutes=5)
        await runtime.persistence.tick()
        for _ in range(8):
            await days_pass(0.5)
        assert daily.left() == ["web_now"]
        assert daily.warnings() == []


@pytest.mark.parametrize(
    "policy",
    [
        RetentionPolicy(ttl=24 * timedelta(days=1)),
        RetentionPolicy(ttl=timedelta(days=1)),
        RetentionPolicy(max_sessions=1),
    ],
    ids=["a little", "a typo", "by number"],
)
async def test_session_announced_for_a_later_day_is_announced_again_by_a_tighter_rule(
    daily: Daily, days_pass: DaysPass, policy: RetentionPolicy
) -> None:
    """Who was told "in six days" was not told "tomorrow"."""
    for session_id, idle in (("web_1", 25), ("web_2", 24.5), ("web_3", 24.2)):
        daily.write(session_id, idle=idle)
    await daily.sweep()
    assert daily.warnings() == []
    async with daily.open(policy) as runtime:
        await days_pass(1)
        assert len(daily.left()) == 3
        (reasons,) = daily.reasons()
        assert set(reasons) == {"tightened_rule"}
        assert runtime.cleanup_service.due == 3
        await days_pass(1)
        assert len(daily.left()) <= 1
        assert len(daily.warnings()) == 1


async def test_file_that_is_put_back_into_its_inode_is_announced_again_once(daily: Daily, days_pass: DaysPass) -> None:
    """A file system gives a number again that has come free; but a backup that touches it daily is no restore."""
    path = daily.write(OLD, idle=31)
    await daily.sweep()
    path.chmod(0o640)  # as good as another file with the same number: only the time of change differs
    async with daily.open():
        await days_pass(1)
        assert daily.left() == [OLD]
        assert daily.reasons() == [{"first_run": 1}, {"new_file": 1}]
        path.chmod(0o600)
        await days_pass(1)
        assert daily.left() == []
        assert len(daily.warnings()) == 2


async def test_session_edited_in_place_is_announced_again(daily: Daily, days_pass: DaysPass) -> None:
    """An editor may write into the same file, and leave the time of its last use as it was."""
    path = daily.write(OLD, idle=31)
    await daily.sweep()
    path.write_bytes(path.read_bytes() + b"\n")
    async with daily.open():
        await days_pass(1)
        assert daily.left() == [OLD]
        await days_pass(1)
        assert daily.left() == []


async def test_uptime_of_another_machine_whose_clock_is_ahead_is_no_notice(daily: Daily, clock: WallClock) -> None:
    """Neither the months that it runs nor the weeks that its clock is ahead make anything older."""
    daily.write("web_used", idle=2)
    daily.write("web_announced", idle=31)
    await daily.sweep()
    clock.boot, clock.uptime = "elsewhere", 100 * 24 * 3600.0
    clock.jump(days=60)
    await daily.sweep()
    assert daily.left() == ["web_announced", "web_used"]


def test_gap_that_the_clock_made_at_the_start_is_taken_back_when_it_is_set_right(machine: Machine) -> None:
    """A battery clock in local time is nine hours ahead at each start, until a time server sets it."""
    for _ in range(10):
        machine.passes(DAY - HOUR)
        machine.reboots(off=HOUR // 2 + 9 * HOUR, up=HOUR // 60)
        machine.passes(HOUR // 60)
        machine.jumps(-9 * HOUR)
    lived, count = machine.counts
    assert count == 10 * (DAY - HOUR + HOUR // 2 + 2 * HOUR // 60)
    assert lived <= count


def test_boottime_that_goes_back_and_returns_is_counted_once(machine: Machine) -> None:
    """A clock of an embedder may be odd; what it shows twice has passed once."""
    machine.passes(DAY)
    for _ in range(12):
        machine.clock.uptime -= 5 * 24 * 3600
        machine.look()
        machine.clock.uptime += 5 * 24 * 3600
        machine.look()
    assert machine.counts == (DAY, DAY)


def test_short_program_with_a_plain_clock_cleans_up(sessions_dir: Path, logs: LogRecorder) -> None:
    """Of a wall clock alone nobody knows when its machine was started: no run is put off for it."""
    now = datetime.fromisoformat("2026-11-23T12:00:00Z")
    write_session(sessions_dir, OLD, now - timedelta(days=31))

    async def main() -> None:
        async with open_runtime(sessions_dir, clock=lambda: now):
            await settle()

    trio.run(main, clock=trio.testing.MockClock())
    assert [event["announced"] for event in logs.named(COMPLETE)] == [1]


async def test_state_that_cannot_be_written_is_told_once_and_when_it_changes(
    daily: Daily, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """A tick each half a minute says nothing that the one before has said."""
    logs.expect_error(NOT_WRITTEN)
    async with daily.open() as runtime:
        last_seen = daily.path / ".state" / "last-seen"
        last_seen.unlink()
        last_seen.mkdir()
        for _ in range(5):
            await days_pass(30 * SECOND_DAYS)
        assert len(logs.named(NOT_WRITTEN)) == 1
        last_seen.rmdir()
        await runtime.time.tick()
        last_seen.unlink()
        os.mkfifo(last_seen)
        await runtime.time.tick()
        assert len(logs.named(NOT_WRITTEN)) == 2
        last_seen.unlink()


def test_state_that_is_no_file_is_not_read(sessions_dir: Path, logs: LogRecorder) -> None:
    """A device may have no end."""
    logs.expect_error("Cleanup state could not be read; what is due is announced anew")
    state: StateDirectory = state_in(sessions_dir)
    state.path.mkdir(parents=True)
    os.mkfifo(state.path / "retention.json")
    assert state.read() is None
    shutil.rmtree(state.path)
