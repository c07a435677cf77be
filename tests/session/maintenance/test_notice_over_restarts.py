"""The daily run over restarts of program and machine: nothing goes unannounced, and what is announced goes in time."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.session.records.state import DUE_NAME, STATE_FILE
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.timekeeper import INODES_CHANGE
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.folders import state_in, trash_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, OtherInodes
from tests.fakes.samples import write_session
from tests.fakes.threads import settle, wait_in_thread

HOURS = 1 / 24
ANNOUNCED = "Expired sessions announced; they are deleted unless they are used"


@asynccontextmanager
async def running(sessions_dir: Path, clock: WallClock, **options: Any) -> AsyncIterator[SessionRuntime]:
    """Run the runtime; the run that is due at the start is over when the block begins."""
    async with open_runtime(sessions_dir, clock=clock, **options) as runtime:
        await settle()
        yield runtime


@pytest.fixture
def old(sessions_dir: Path, clock: WallClock) -> Path:
    """A session that expired before anybody could announce it."""
    return write_session(sessions_dir, "web_old", clock.ago(days=40))


async def test_expired_session_is_announced_and_goes_with_the_next_run_of_any_start(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """The run that finds it only announces it; a restart in between costs nothing, and it is announced once."""
    async with running(sessions_dir, clock) as runtime:
        assert old.exists()
        assert runtime.cleanup_service.announcement is not None
        assert runtime.cleanup_service.announcement.session_ids == ("web_old",)
        await days_pass(5 * HOURS)
    async with running(sessions_dir, clock) as runtime:
        assert old.exists()
        assert runtime.cleanup_service.runs == 0
        await days_pass(19 * HOURS)
        assert runtime.cleanup_service.runs == 1
        assert not old.exists()
    assert logs.one(ANNOUNCED)["sessions"] == 1


async def test_run_that_comes_early_waits_for_the_notice(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """A clock that jumps makes a run come at once: the notice is time that passed, and not what the clock says."""
    async with running(sessions_dir, clock) as runtime:
        clock.jump(days=2)
        await days_pass(HOURS)
        assert runtime.cleanup_service.runs == 2
        assert old.exists()
        await days_pass(1)
        assert runtime.cleanup_service.runs == 3
        assert not old.exists()


async def test_another_file_of_the_same_session_is_announced_anew(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """A session that was restored from a backup, with all its times, is not the one that was announced."""
    async with running(sessions_dir, clock):
        shutil.copy2(old, sessions_dir / ".copy")
        (sessions_dir / ".copy").rename(old)
        await days_pass(1)
        assert old.exists()
        assert logs.named(ANNOUNCED)[1]["reasons"] == {"new_file": 1}
        await days_pass(1)
        assert not old.exists()


async def test_list_of_a_lost_state_announces_nothing(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """With the state gone all begins anew, whatever lies beside it."""
    async with running(sessions_dir, clock):
        pass
    (sessions_dir / ".state" / STATE_FILE).unlink()
    assert (sessions_dir / ".state" / DUE_NAME).exists()
    clock.move(days=2)
    async with running(sessions_dir, clock):
        assert old.exists()
        await days_pass(1)
        assert not old.exists()


async def test_machine_that_has_just_started_runs_nothing_for_a_while(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """In the first quarter of an hour a time server may still set the clock."""
    async with running(sessions_dir, clock):
        pass
    clock.reboot(off=timedelta(hours=25), uptime=timedelta(minutes=1))
    async with running(sessions_dir, clock) as runtime:
        await days_pass(13 * HOURS / 60)
        assert runtime.cleanup_service.runs == 0
        await days_pass(2 * HOURS / 60)
        assert runtime.cleanup_service.runs == 1
        assert old.exists(), "its notice is not over: the machine was off"
        await days_pass(24 * HOURS)
        assert not old.exists()


async def test_clock_that_was_years_ahead_stops_no_later_run(
    sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """A run that a wrong clock has dated in the future does not put off those that follow."""
    async with running(sessions_dir, clock):
        clock.jump(days=1000)
        await days_pass(HOURS)
    async with running(sessions_dir, clock) as runtime:
        clock.jump(days=-1000)
        await days_pass(24 * HOURS)
        assert runtime.cleanup_service.runs == 1


async def test_run_that_was_stopped_while_it_listed_is_not_remembered(
    old: Path, sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """Half a listing is no run: the next start makes it at once, and what it finds is not taken for new."""
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_waits=True) as runtime:
        await settle()
        gate = fs.block("scandir")
        runtime.cleanup_service.release()
        await wait_in_thread(gate.reached)
        runtime.cleanup_service.stop()
        gate.opened.set()
        await settle()
    state = state_in(sessions_dir).load()
    assert state is not None
    assert state.last_run is None
    async with running(sessions_dir, clock) as runtime:
        assert runtime.cleanup_service.announcement is not None
        assert runtime.cleanup_service.announcement.reasons == {"first_run": 1}


async def test_run_that_was_stopped_while_it_removed_goes_on_with_the_next_start(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """Half a run is none: what it had no time for goes at the next start, and not a day later; it stays announced."""
    for number in range(REMOVAL_BATCH + 8):
        write_session(sessions_dir, f"web_{number}", clock.ago(days=40))
    async with running(sessions_dir, clock):
        pass
    clock.move(days=1)
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_waits=True) as runtime:
        gate = fs.block("unlink", path="web_")
        runtime.cleanup_service.release()
        await wait_in_thread(gate.reached)
        runtime.cleanup_service.stop()
        gate.opened.set()
        await settle()
        assert len(list(sessions_dir.glob("*.json"))) == 8
    async with running(sessions_dir, clock):
        assert not list(sessions_dir.glob("*.json"))


async def test_run_that_was_held_is_remembered_as_held(
    sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """The next start knows that somebody has to confirm, and commands can tell."""
    for number in range(30):
        write_session(sessions_dir, f"web_{number}", clock.ago(days=40))
    policy = RetentionPolicy(max_removed_fraction=0.5)
    async with running(sessions_dir, clock, policy=policy) as runtime:
        assert runtime.cleanup_service.held == ""
        await days_pass(1)
        assert "30 of 30" in runtime.cleanup_service.held
    async with running(sessions_dir, clock, policy=policy) as runtime:
        assert "30 of 30" in runtime.cleanup_service.held


async def test_trash_is_not_emptied_by_a_clock_that_jumps(
    sessions_dir: Path, clock: WallClock, days_pass: DaysPass
) -> None:
    """An entry of the trash is kept for as long as was promised, by time that passed."""
    write_session(sessions_dir, "web_1", clock.ago(days=1))
    policy = RetentionPolicy(trash_for=timedelta(days=7))
    async with running(sessions_dir, clock, policy=policy) as runtime:
        await runtime.manager.delete_session("web_1")
        clock.jump(days=400)
        await days_pass(1)
        assert runtime.cleanup_service.runs == 2
        assert len(trash_in(sessions_dir).entries()) == 1
        for _ in range(7):
            await days_pass(1)
        assert trash_in(sessions_dir).entries() == []


# Where inodes do not last ---------------------------------------------------------------------------------------


async def test_file_system_with_other_inodes_at_each_start_deletes_one_notice_later(
    old: Path, sessions_dir: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """The first restart shows it, and announces anew; from then on a session is recognised by its size and time."""
    write_session(sessions_dir, "web_older", clock.ago(days=50))
    async with running(sessions_dir, clock, fs=OtherInodes(1)):
        assert logs.named(INODES_CHANGE) == []
    clock.move(days=1)
    async with running(sessions_dir, clock, fs=OtherInodes(2)):
        assert logs.one(INODES_CHANGE)["level"] == "info"
        assert old.exists()
        await days_pass(5 * HOURS)
    logs.events.clear()
    async with running(sessions_dir, clock, fs=OtherInodes(3)) as runtime:
        assert logs.one(INODES_CHANGE)["path"] == str(sessions_dir)
        os.utime(sessions_dir / "web_older.json", ns=(7, 7))  # it was put in anew, by other means than a save
        await days_pass(19 * HOURS)
        assert runtime.cleanup_service.runs == 1
        assert not old.exists()
        assert logs.one(ANNOUNCED)["sessions"] == 1
        assert (sessions_dir / "web_older.json").exists()
    async with running(sessions_dir, clock, fs=OtherInodes(4)):
        await days_pass(1)
        assert not (sessions_dir / "web_older.json").exists()


async def test_file_system_with_lasting_inodes_says_nothing(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Nearly everywhere they last."""
    for _ in range(3):
        async with running(sessions_dir, clock):
            clock.move(hours=1)
    assert logs.named(INODES_CHANGE) == []
