"""Nothing goes unannounced: the running service announces each session before a later run deletes it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.session.maintenance.announcements import Announcement
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import COMPLETE, Daily
from tests.fakes.logs import LogRecorder

SECOND = 1 / 24 / 3600
DAY = timedelta(days=1)
OLD = "telegram_old"


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


def goes_tomorrow(daily: Daily) -> str:
    return (daily.clock.now + DAY).isoformat(timespec="minutes")


async def goes_by_the_next_run(daily: Daily, days_pass: DaysPass, *left: str) -> None:
    """Check that all that was announced just now is deleted by the run a day later, and not before."""
    before = daily.left()
    await days_pass(1 - SECOND)
    assert daily.left() == before
    await days_pass(SECOND)
    assert daily.left() == [*left]


# Announced after it has expired ---------------------------------------------------------------------------------


async def test_first_installation_announces_once_and_deletes_a_day_later(daily: Daily, days_pass: DaysPass) -> None:
    """Old files of a new installation are one WARNING with count, bytes and date, and go with the next run."""
    size = sum(daily.write(f"telegram_{number}", idle=31).stat().st_size for number in range(3))
    daily.write("telegram_young", idle=5)
    async with daily.open() as runtime:
        [warning] = daily.warnings()
        assert (warning["sessions"], warning["bytes"], warning["quarantined"]) == (3, size, 0)
        assert warning["goes_at"] == goes_tomorrow(daily)
        assert daily.reasons() == [{"first_run": 3}]
        assert len(daily.told()[0].sessions) == 3
        assert (runtime.cleanup_service.due, runtime.cleanup_service.announced_late) == (3, 3)
        await goes_by_the_next_run(daily, days_pass, "telegram_young")
        assert len(daily.warnings()) == 1


async def test_restored_file_is_announced_before_it_goes(daily: Daily, days_pass: DaysPass) -> None:
    """A session from a backup is old at first sight."""
    async with daily.open():
        await days_pass(0.5)
        daily.write(OLD, idle=400)
        await days_pass(0.5)
        assert daily.reasons() == [{"new_file": 1}]
        await goes_by_the_next_run(daily, days_pass)


async def test_tightened_rule_is_announced_before_it_deletes(daily: Daily, days_pass: DaysPass) -> None:
    """What a shorter TTL makes old was not announced in time by the longer one."""
    daily.write(OLD, idle=20)
    await daily.sweep()
    async with daily.open(RetentionPolicy(ttl=10 * DAY)):
        await days_pass(1)
        assert daily.reasons() == [{"tightened_rule": 1}]
        await goes_by_the_next_run(daily, days_pass)


async def test_first_ttl_after_runs_without_one_is_a_tightened_rule(daily: Daily, days_pass: DaysPass) -> None:
    """Runs under which nothing expired have announced nothing."""
    daily.write(OLD, idle=400)
    await daily.sweep(RetentionPolicy(ttl=None))
    async with daily.open():
        await days_pass(1)
        assert daily.reasons() == [{"tightened_rule": 1}]
        await goes_by_the_next_run(daily, days_pass)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("", None, "first_run"),
        ("retention.json", b"{", "first_run"),
        ("due", b"torn", "new_file"),
        ("due", None, "new_file"),
    ],
)
async def test_state_that_is_lost_or_damaged_is_announced_anew(
    daily: Daily, days_pass: DaysPass, name: str, content: bytes | None, reason: str
) -> None:
    """Without the list of what was announced, nothing was: each part of the state that is missing costs a notice."""
    daily.write(OLD, idle=31)
    await daily.sweep()
    state = daily.path / ".state"
    if content is not None:
        (state / name).write_bytes(content)
    elif name:
        (state / name).unlink()
    else:
        shutil.rmtree(state)
    if (name, content) == ("retention.json", b"{"):
        daily.logs.expect_error("Cleanup state could not be read; what is due is announced anew")
    async with daily.open() as runtime:
        if not runtime.cleanup_service.runs:
            await days_pass(1)
        assert [warning["reasons"] for warning in daily.warnings()] == [{"first_run": 1}, {reason: 1}]
        await goes_by_the_next_run(daily, days_pass)


async def test_moved_directory_keeps_what_was_announced_and_counts_no_other_uptime(
    daily: Daily, days_pass: DaysPass, tmp_path: Path
) -> None:
    """The state travels: nothing is announced anew, and the year that the other machine ran is no notice."""
    daily.write(OLD, idle=31)
    await daily.sweep()
    daily.path = daily.path.rename(tmp_path / "elsewhere")
    daily.clock.move(hours=1)
    daily.clock.boot, daily.clock.uptime = "elsewhere", 365 * 24 * 3600.0
    async with daily.open() as runtime:
        assert (runtime.cleanup_service.runs, runtime.cleanup_service.due) == (0, 1)
        await days_pass(23 / 24 - SECOND)
        assert daily.left() == [OLD]
        await days_pass(SECOND)
        assert daily.left() == []
    assert len(daily.warnings()) == 1


async def test_announcement_survives_restarts(daily: Daily, days_pass: DaysPass) -> None:
    """The notice goes on over restarts; it neither begins anew nor is it cut short."""
    daily.write(OLD, idle=31)
    for _ in range(3):
        async with daily.open():
            await days_pass(0.3)
            assert daily.left() == [OLD]
    async with daily.open():
        await days_pass(0.1)
        assert daily.left() == []
    assert len(daily.warnings()) == 1


# Announced in time ----------------------------------------------------------------------------------------------


async def test_expected_announcement_is_a_count_and_no_warning(daily: Daily, days_pass: DaysPass) -> None:
    """A week before it expires a session is one more in the run's line; it goes when its TTL is over."""
    daily.write("telegram_1", idle=22.5)
    async with daily.open() as runtime:
        service = runtime.cleanup_service
        announced = []
        for _ in range(8):
            assert daily.left() == ["telegram_1"]
            await days_pass(1)
            assert service.last_result is not None
            announced.append((service.last_result.announced, service.last_result.due))
        assert announced[:-1] == [(1, 1), *[(0, 1)] * 6]
        assert daily.left() == []
        await days_pass(1)
        assert service.due == 0
        assert (service.announced_in_time, service.announced_late) == (1, 0)
    assert [event["announced"] for event in daily.logs.named(COMPLETE)] == [0, 1, *[0] * 8]
    assert [event.announced for event in daily.told("cleanup")] == [0, 1, *[0] * 8]
    assert daily.reasons() == []


@pytest.mark.parametrize("how", ["used", "pinned"])
async def test_announced_session_that_is_used_or_pinned_stays(daily: Daily, days_pass: DaysPass, how: str) -> None:
    """Who comes back between the announcement and the deletion keeps the session."""
    daily.write(OLD, idle=31)
    daily.write("telegram_other", idle=31)
    async with daily.open() as runtime:
        await days_pass(0.99)
        if how == "used":
            await runtime.manager.get_session(OLD)
            await runtime.manager.save_all_sessions()
        else:
            await runtime.manager.set_pinned(OLD, True)
        await days_pass(0.01)
        assert daily.left() == [OLD]
        await days_pass(3)
        assert daily.left() == [OLD]
        assert runtime.cleanup_service.due == 0
    assert len(daily.warnings()) == 1


async def test_announced_file_that_is_replaced_is_announced_anew(daily: Daily, days_pass: DaysPass) -> None:
    """Another file with the same content, as from a backup, was not announced."""
    path = daily.write(OLD, idle=31)
    async with daily.open():
        shutil.copy2(path, copy := path.parent / ".work" / "copy")
        copy.replace(path)
        await days_pass(1)
        assert daily.left() == [OLD]
        assert daily.reasons() == [{"first_run": 1}, {"new_file": 1}]
        await goes_by_the_next_run(daily, days_pass)


# Budgets, quarantine and trash ----------------------------------------------------------------------------------


async def test_max_sessions_is_announced_like_the_ttl(daily: Daily, days_pass: DaysPass) -> None:
    """What is too many is announced, with a WARNING where no run could have before, and goes with the next run."""
    for number in range(4):
        daily.write(f"telegram_{number}", idle=9 - number)
    async with daily.open(RetentionPolicy(ttl=None, max_sessions=2)) as runtime:
        assert daily.reasons() == [{"first_run": 2}]
        assert set(daily.told()[0].reasons) == {"max_sessions"}
        await goes_by_the_next_run(daily, days_pass, "telegram_2", "telegram_3")
        daily.write("telegram_4", idle=2)
        await days_pass(1)
        assert (runtime.cleanup_service.due, len(daily.warnings())) == (1, 1)
        await goes_by_the_next_run(daily, days_pass, "telegram_3", "telegram_4")


async def test_max_sessions_spares_what_is_used_after_it_was_announced(daily: Daily, days_pass: DaysPass) -> None:
    """A use puts another session in its place, and that one has its own notice."""
    for number in range(3):
        daily.write(f"telegram_{number}", idle=9 - number)
    async with daily.open(RetentionPolicy(ttl=None, max_sessions=2)) as runtime:
        await runtime.manager.get_session("telegram_0")
        await runtime.manager.save_all_sessions()
        await days_pass(1)
        assert len(daily.left()) == 3
        await goes_by_the_next_run(daily, days_pass, "telegram_0", "telegram_2")


async def test_disk_budget_acts_at_once(daily: Daily, days_pass: DaysPass) -> None:
    """A disk that is full cannot wait for a notice."""
    size = daily.write("telegram_1", idle=5).stat().st_size
    daily.write("telegram_2", idle=4)
    async with daily.open(RetentionPolicy(max_disk_bytes=size + 10, low_water=size + 1)):
        assert daily.left() == ["telegram_2"]
    assert daily.warnings() == []


async def test_disk_budget_takes_what_is_announced_first(daily: Daily, days_pass: DaysPass) -> None:
    """Of two sessions the announced one goes, though the other was not used for longer."""
    rules = RetentionPolicy(ttl_by_channel={"web": 10 * DAY})
    size = daily.write("telegram_1", idle=20).stat().st_size
    daily.write("web_1", idle=8)
    await daily.sweep(rules)
    async with daily.open(
        RetentionPolicy(ttl_by_channel={"web": 10 * DAY}, max_disk_bytes=size + 10, low_water=size + 1)
    ):
        await days_pass(1)
        assert daily.left() == ["telegram_1"]


async def test_quarantine_is_announced_before_it_is_emptied(daily: Daily, days_pass: DaysPass) -> None:
    """A quarantined file is evidence; one that is old at first sight is told of before it goes."""
    quarantine = daily.path / ".quarantine"
    quarantine.mkdir(parents=True, mode=0o700)
    file = quarantine / f"telegram_1.json.{daily.clock.ago(days=100):%Y%m%dT%H%M%SZ}-0a1b2c3d"
    file.write_bytes(b"12345")
    async with daily.open():
        [warning] = daily.warnings()
        assert (warning["sessions"], warning["quarantined"], warning["reasons"]) == (0, 1, {"first_run": 1})
        assert daily.told()[0].leftovers["quarantined"].files == 1
        await days_pass(1 - SECOND)
        assert file.exists()
        await days_pass(SECOND)
        assert not file.exists()
    assert len(daily.warnings()) == 1


async def test_trash_is_emptied_without_another_announcement(daily: Daily, days_pass: DaysPass) -> None:
    """What is in the trash was announced before it came there, and carries its date."""
    daily.write(OLD, idle=31)
    trash = daily.path / ".trash"
    async with daily.open(RetentionPolicy(trash_for=2 * DAY)):
        await days_pass(1)
        assert (daily.left(), len(list(trash.iterdir()))) == ([], 1)
        await days_pass(2)
        await days_pass(1)
        assert list(trash.iterdir()) == []
    assert len(daily.warnings()) == 1


# Modes ----------------------------------------------------------------------------------------------------------


async def test_notice_off_deletes_in_the_run_that_finds(daily: Daily, days_pass: DaysPass) -> None:
    """Switched off, nothing is announced."""
    daily.write(OLD, idle=31)
    async with daily.open(notice=False):
        assert daily.left() == []
    assert (daily.warnings(), daily.told()) == ([], [])


async def test_mode_that_removes_nothing_only_announces(daily: Daily, days_pass: DaysPass) -> None:
    """It announces once, with no date, and says each day what would go."""
    daily.write(OLD, idle=31)
    async with daily.open(removes=False):
        await days_pass(1)
        await days_pass(1)
    assert daily.left() == [OLD]
    [warning] = daily.warnings()
    assert warning["goes_at"] == "not by itself"


async def test_on_announced_is_told_of_each_announcement(daily: Daily, days_pass: DaysPass) -> None:
    """The program hears what the log says, once."""
    heard: list[Announcement] = []

    async def hear(announcement: Announcement) -> None:
        heard.append(announcement)

    daily.write(OLD, idle=31)
    async with daily.open(on_announced=hear) as runtime:
        at = daily.clock.now
        assert heard == [runtime.cleanup_service.announcement]
        await days_pass(1)
    [announcement] = heard
    assert (announcement.at, announcement.goes_at) == (at, at + DAY)
    assert (announcement.session_ids, announcement.reasons) == ((OLD,), {"first_run": 1})


async def test_on_announced_that_raises_is_an_error_and_changes_nothing(daily: Daily, days_pass: DaysPass) -> None:
    """A program that cannot hear keeps nothing, and ends no cleanup."""

    async def fail(announcement: Announcement) -> None:
        raise RuntimeError("no mail")

    daily.logs.expect_error("Program could not be told what was announced")
    daily.write(OLD, idle=31)
    async with daily.open(on_announced=fail):
        await goes_by_the_next_run(daily, days_pass)
    assert "no mail" in daily.logs.one("Program could not be told what was announced")["traceback"]
