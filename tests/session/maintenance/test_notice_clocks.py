"""The running service under wrong clocks, long absences and faults: nothing is lost in silence, nothing waits for ever."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import Daily
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import settle, wait_in_thread

SECOND = 1 / 24 / 3600
DAY = timedelta(days=1)
OLD = "telegram_old"
FAILED = "Session cleanup failed; the next one follows as planned"


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


# Wrong clocks ---------------------------------------------------------------------------------------------------


async def test_clock_that_jumps_ahead_ages_nothing(daily: Daily, days_pass: DaysPass) -> None:
    """A clock that jumps a year ahead neither deletes nor announces, whether it is corrected or stays so."""
    daily.write("telegram_1", idle=0)
    async with daily.open() as runtime:
        daily.clock.jump(days=365)
        for _ in range(3):
            await days_pass(1)
        assert runtime.cleanup_service.due == 0
        daily.clock.jump(days=-365)
        await days_pass(1)
        assert (daily.left(), daily.warnings()) == (["telegram_1"], [])


async def test_clock_that_jumps_before_a_restart_ages_nothing(daily: Daily, days_pass: DaysPass) -> None:
    """A jump of the clock that an autosave has seen is remembered over a restart."""
    daily.write("telegram_1", idle=0)
    async with daily.open() as runtime:
        daily.clock.jump(days=60)
        await runtime.persistence.tick()
    async with daily.open():
        await days_pass(1)
        await days_pass(1)
        assert (daily.left(), daily.warnings()) == (["telegram_1"], [])


async def test_clock_behind_after_a_restart_goes_on_from_the_last_known_time(daily: Daily, days_pass: DaysPass) -> None:
    """A machine that starts years behind stamps and judges by what was known before."""
    daily.write("telegram_1", idle=0)
    await daily.sweep()
    known = daily.clock.now
    daily.clock.reboot(off=timedelta(0), uptime=timedelta(0))
    daily.clock.jump(days=-200)
    async with daily.open() as runtime:
        assert (runtime.cleanup_service.is_behind, runtime.time.now()) == (True, known)
        session = await runtime.manager.get_session("telegram_1")
        assert session is not None
        assert session.last_accessed == known
        await days_pass(8)
        assert (runtime.cleanup_service.is_behind, daily.left()) == (False, ["telegram_1"])


async def test_long_absence_of_a_machine_without_time_server_is_no_age(daily: Daily, days_pass: DaysPass) -> None:
    """Forty days without power are not believed: a session that was used before them has its TTL before it."""
    daily.write("telegram_1", idle=0)
    await daily.sweep()
    daily.clock.reboot(off=40 * DAY)
    async with daily.open() as runtime:
        assert (runtime.cleanup_service.runs, runtime.cleanup_service.due) == (1, 0)
        for _ in range(29):
            await days_pass(1)
        assert (daily.left(), daily.warnings()) == (["telegram_1"], [])
        await days_pass(1)
        await days_pass(1)
        assert daily.left() == []


async def test_long_absence_that_a_time_server_confirms_is_announced(daily: Daily, days_pass: DaysPass) -> None:
    """Where the clock was synchronised before and after, the time has passed; a notice is given all the same."""
    daily.write("telegram_1", idle=0)
    daily.clock.server = True
    await daily.sweep()
    daily.clock.reboot(off=40 * DAY)
    async with daily.open():
        assert daily.reasons() == [{"absence": 1}]
        await days_pass(1 - SECOND)
        assert daily.left() == ["telegram_1"]
        await days_pass(SECOND)
        assert daily.left() == []


async def test_absence_beyond_what_the_trash_keeps_empties_it_only_with_witnessed_time(
    daily: Daily, days_pass: DaysPass
) -> None:
    """A clock that is ahead at boot does not make the trash expired, either."""
    policy = RetentionPolicy(ttl=None, trash_for=7 * DAY)
    daily.write("telegram_1", idle=0)
    async with daily.open(policy) as runtime:
        await runtime.manager.delete_session("telegram_1")
    trash = daily.path / ".trash"
    daily.clock.reboot(off=10 * DAY)
    async with daily.open(policy):
        await days_pass(6)
        assert len(list(trash.iterdir())) == 1
        await days_pass(2)
        assert list(trash.iterdir()) == []


async def test_future_stamp_lives_one_ttl_from_when_it_was_found(daily: Daily, days_pass: DaysPass) -> None:
    """A stamp from a clock that was ahead neither keeps a session for ever nor is it a reason to delete it early."""
    daily.write("telegram_1", idle=-400)
    async with daily.open() as runtime:
        assert runtime.cleanup_service.last_result is not None
        assert runtime.cleanup_service.last_result.future == 1
        for day in range(1, 31):
            await days_pass(1)
            assert runtime.cleanup_service.due == (day > 23)
            assert daily.left() == ["telegram_1"]
        await days_pass(1)
        assert daily.left() == []
    assert daily.warnings() == []


async def test_future_stamp_is_healed_by_a_use_under_a_right_clock(daily: Daily, days_pass: DaysPass) -> None:
    """A use stamps the present, not the later of both; from then on the session is as any other."""
    daily.write("telegram_1", idle=-400)
    async with daily.open() as runtime:
        for _ in range(20):
            await days_pass(1)
        session = await runtime.manager.get_session("telegram_1")
        assert session is not None
        assert session.last_accessed == daily.clock.now
        for _ in range(30):
            await days_pass(1)
            assert daily.left() == ["telegram_1"]
        await days_pass(1)
        assert daily.left() == []


async def test_run_that_is_due_at_the_start_waits_until_the_machine_has_settled(
    daily: Daily, days_pass: DaysPass
) -> None:
    """In the first 15 minutes of a machine nothing is judged: its clock may not be right yet."""
    daily.write(OLD, idle=31)
    daily.clock.reboot(off=timedelta(0), uptime=timedelta(minutes=5))
    async with daily.open() as runtime:
        assert runtime.cleanup_service.next_run_at == daily.clock.now + timedelta(minutes=10)
        await days_pass(10 * 60 * SECOND - SECOND)
        assert runtime.cleanup_service.runs == 0
        await days_pass(SECOND)
        assert runtime.cleanup_service.runs == 1


# Runs that do not come to their end -----------------------------------------------------------------------------


async def test_run_that_cannot_list_announces_nothing(daily: Daily, days_pass: DaysPass) -> None:
    """A run that fails is no notice: the next one announces, and the one after it deletes."""
    fs = FaultyOs()
    daily.logs.expect_error(FAILED)
    daily.write(OLD, idle=31)
    async with daily.open(fs=fs, cleanup_waits=True) as runtime:
        fs.fail("scandir", errno.EIO)
        runtime.cleanup_service.release()
        await settle()
        fs.clear()
        assert (runtime.cleanup_service.runs, daily.warnings()) == (1, [])
        assert runtime.cleanup_service.next_run_at == daily.clock.now + DAY
        await days_pass(1)
        assert (daily.left(), len(daily.warnings())) == ([OLD], 1)
        await days_pass(1)
        assert daily.left() == []


@pytest.mark.parametrize(("call", "path"), [("scandir", ""), ("open", ".quarantine")])
@pytest.mark.parametrize("how", ["interrupted", "stopped"])
async def test_run_that_is_broken_off_while_it_looks_announces_nothing(
    daily: Daily, days_pass: DaysPass, how: str, call: str, path: str
) -> None:
    """What was not seen whole is not announced, and the next start runs again at once."""
    fs = FaultyOs()
    daily.write(OLD, idle=31)
    async with daily.open(fs=fs, cleanup_waits=True) as runtime:
        gate = fs.block(call, path=path)
        runtime.cleanup_service.release()
        await wait_in_thread(gate.reached)
        if how == "interrupted":
            assert runtime.cleanup.interrupt()
        else:
            runtime.cleanup_service.stop()
        gate.opened.set()
        await settle()
        assert (runtime.cleanup_service.due, daily.left(), daily.warnings()) == (0, [OLD], [])
    async with daily.open() as runtime:
        assert (runtime.cleanup_service.runs, daily.reasons()) == (1, [{"first_run": 1}])
        await days_pass(1)
        assert daily.left() == []


async def test_run_that_is_interrupted_after_it_announced_has_announced(daily: Daily, days_pass: DaysPass) -> None:
    """What was announced before a run was broken off stays so; the next start runs at once, and does not repeat it."""
    fs = FaultyOs()
    daily.write(OLD, idle=31)
    await daily.sweep()
    daily.write("telegram_restored", idle=400)
    daily.clock.move(days=1)
    async with daily.open(fs=fs, cleanup_waits=True) as runtime:
        gate = fs.block("rename", path=OLD)
        runtime.cleanup_service.release()
        await wait_in_thread(gate.reached)
        assert runtime.cleanup.interrupt()
        gate.opened.set()
        await settle()
        assert runtime.cleanup_service.last_result is not None
        assert runtime.cleanup_service.last_result.interrupted
        assert runtime.cleanup_service.last_result.announced == 1
    async with daily.open() as runtime:
        assert runtime.cleanup_service.runs == 1
        assert (daily.left(), daily.reasons()) == (["telegram_restored"], [{"first_run": 1}, {"new_file": 1}])
        await days_pass(1)
        assert (daily.left(), len(daily.warnings())) == ([], 2)


async def test_held_run_has_announced_and_its_end_is_remembered(daily: Daily, days_pass: DaysPass) -> None:
    """The guard judges deletions: announcing is no reason to hold, and what it holds stays announced."""
    rules = RetentionPolicy(max_removed_fraction=0.4)
    for number in range(20):
        daily.write(f"telegram_{number}", idle=40 if number else 2)
    async with daily.open(rules) as runtime:
        service = runtime.cleanup_service
        assert (service.held, len(daily.warnings())) == ("", 1)
        await days_pass(1)
        assert service.last_result is not None
        assert "19 of 20 sessions" in service.held == service.last_result.held
        assert len(daily.left()) == 20
    async with daily.open(rules) as runtime:
        assert "19 of 20 sessions" in runtime.cleanup_service.held
        assert (await runtime.cleanup.run(confirmed=True)).sessions_deleted == 19
        await days_pass(1)
        assert runtime.cleanup_service.held == ""
    assert len(daily.warnings()) == 1


# Disks that refuse ----------------------------------------------------------------------------------------------


async def test_state_directory_that_cannot_be_written_still_gives_its_notice(daily: Daily, days_pass: DaysPass) -> None:
    """Without a state directory the service remembers in memory; after a restart it announces anew."""
    for event in (
        "Cleanup state could not be written",
        "Cleanup state could not be read; what is due is announced anew",
        "Whether inodes last could not be looked at",
        "Cleanup could not be written into the history",
    ):
        daily.logs.expect_error(event)
    daily.write(OLD, idle=31)
    (daily.path / ".state").write_text("in the way")
    async with daily.open():
        assert len(daily.warnings()) == 1
        await days_pass(1 - SECOND)
        assert daily.left() == [OLD]
    async with daily.open():
        assert (daily.left(), len(daily.warnings())) == ([OLD], 2)
        await days_pass(1)
        assert (daily.left(), len(daily.warnings())) == ([], 2)


async def test_announcement_that_cannot_be_written_down_is_made_again_after_a_restart(
    daily: Daily, days_pass: DaysPass
) -> None:
    """A notice that only memory knew of is given anew, however much time has passed."""
    daily.logs.expect_error("Cleanup state could not be written")
    daily.write(OLD, idle=31)
    due = daily.path / ".state" / "due"
    due.mkdir(parents=True)
    async with daily.open():
        await days_pass(0.9)
        assert daily.left() == [OLD]
    due.rmdir()
    daily.clock.move(days=1)
    async with daily.open():
        assert (daily.left(), len(daily.warnings())) == ([OLD], 2)
        await days_pass(1)
        assert daily.left() == []


async def test_temporary_files_of_the_state_are_swept_at_the_start(daily: Daily, days_pass: DaysPass) -> None:
    """What a program that died while it wrote its state has left is gone after the next start."""
    (state := daily.path / ".state").mkdir(parents=True)
    for name in ("tmp-0123", "cleanup.json"):
        (state / name).write_text("half")
    async with daily.open():
        assert not {"tmp-0123", "cleanup.json"} & {path.name for path in state.iterdir()}


async def test_plan_on_its_own_changes_nothing(daily: Daily) -> None:
    """A plan takes no lock, makes no folder, changes no mode, and resolves nothing that a crash has left."""
    daily.write(OLD, idle=31)
    daily.path.chmod(0o2775)
    (daily.path / ".work").mkdir()
    (daily.path / ".work" / "tmp-mine").touch()
    before = sorted(path.name for path in daily.path.rglob("*"))
    assert len((await Cleanup(daily.path, clock=daily.clock).plan()).removals) == 1
    assert sorted(path.name for path in daily.path.rglob("*")) == before
    assert daily.path.stat().st_mode & 0o7777 == 0o2775
