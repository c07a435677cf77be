"""The hook `on_due`: each announcement is told once, in the run that makes it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio

from miniclaw import DueEntry, RetentionPolicy
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import Daily
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import settle

DAY = timedelta(days=1)
OLD, SOON, YOUNG = "telegram_old", "web_soon", "telegram_young"
FAILED = "on_due failed; the announcement stands"


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


class Heard(list[tuple[DueEntry, ...]]):
    """A hook that keeps what it is told."""

    async def __call__(self, entries: tuple[DueEntry, ...]) -> None:
        self.append(entries)

    def ids(self) -> list[list[str]]:
        return [sorted(entry.session_id for entry in entries) for entries in self]


async def test_each_announcement_is_told_once_with_its_date(daily: Daily, days_pass: DaysPass) -> None:
    """Sessions that expire soon and those that have expired are told by the run that finds them, and by no later one."""
    heard = Heard()
    daily.write(OLD, idle=31)
    daily.write(SOON, idle=25)
    daily.write(YOUNG, idle=1)
    now = daily.clock.now
    async with daily.open(on_due=heard):
        assert heard.ids() == [[OLD, SOON]]
        of = {entry.session_id: entry for entry in heard[0]}
        assert of[OLD] == DueEntry(
            session_id=OLD, channel="telegram", chat_id="old", last_accessed=now - 31 * DAY, goes_at=now + DAY,
            reason="ttl",
        )  # fmt: skip
        assert (of[SOON].channel, of[SOON].goes_at) == ("web", now + 5 * DAY)
        await days_pass(1)
        assert daily.left() == [YOUNG, SOON]
    assert len(heard) == 1


async def test_session_used_after_its_announcement_is_told_again(daily: Daily, days_pass: DaysPass) -> None:
    """A use ends an announcement, and the next one is another."""
    heard = Heard()
    daily.write(SOON, idle=25)
    async with daily.open(on_due=heard) as runtime:
        await runtime.manager.get_session(SOON)
        for _ in range(25):
            await days_pass(1)
        assert heard.ids() == [[SOON], [SOON]]


async def test_restart_does_not_tell_again(daily: Daily, days_pass: DaysPass) -> None:
    """An announcement that was told is remembered over a restart."""
    heard = Heard()
    daily.write(SOON, idle=25)
    async with daily.open(on_due=heard):
        pass
    daily.clock.move(days=1)
    async with daily.open(on_due=heard):
        pass
    assert heard.ids() == [[SOON]]


async def test_session_over_the_number_is_told_by_that_rule(daily: Daily, days_pass: DaysPass) -> None:
    """The reason is the rule that will delete the session."""
    heard = Heard()
    for number in range(3):
        daily.write(f"telegram_{number}", idle=5 + number)
    async with daily.open(RetentionPolicy(max_sessions=2), on_due=heard):
        assert [(entry.session_id, entry.reason) for entry in heard[0]] == [("telegram_2", "max_sessions")]
        await days_pass(1)
        assert daily.left() == ["telegram_0", "telegram_1"]
    assert len(heard) == 1


async def test_session_that_the_run_itself_removes_is_not_told(daily: Daily, days_pass: DaysPass) -> None:
    """A disk budget frees space at once: nothing that is gone is announced as due."""
    heard = Heard()
    daily.write(SOON, idle=25)
    size = daily.write(YOUNG, idle=2).stat().st_size
    async with daily.open(RetentionPolicy(max_disk_bytes=size, low_water=size - 1, min_idle=20 * DAY), on_due=heard):
        assert daily.left() == [YOUNG]
    assert heard == []


async def test_no_run_that_deletes_has_no_date(daily: Daily, days_pass: DaysPass) -> None:
    """The mode that only announces says so by the missing date."""
    heard = Heard()
    daily.write(OLD, idle=31)
    async with daily.open(on_due=heard, removes=False):
        await days_pass(1)
    assert [[entry.goes_at for entry in entries] for entries in heard] == [[None]]


async def test_hook_that_fails_is_an_error_and_the_announcement_stands(daily: Daily, days_pass: DaysPass) -> None:
    """A program that cannot be told keeps no session beyond its notice period, and ends no run."""

    async def fail(entries: tuple[DueEntry, ...]) -> None:
        raise ZeroDivisionError("no mail")

    daily.logs.expect_error(FAILED)
    daily.write(OLD, idle=31)
    async with daily.open(on_due=fail) as runtime:
        assert runtime.hooks.failures["on_due"] == 1
        assert daily.left() == [OLD]
        await days_pass(1)
        assert daily.left() == []
    assert "no mail" in daily.logs.one(FAILED)["traceback"]


async def test_run_that_is_cancelled_in_the_hook_has_announced_nothing(daily: Daily) -> None:
    """What the program was not told completely is told again, and is not removed before."""
    heard = Heard()
    called = trio.Event()

    async def hang(entries: tuple[DueEntry, ...]) -> None:
        called.set()
        await trio.sleep_forever()

    daily.write(OLD, idle=31)
    with trio.CancelScope() as scope:
        async with daily.open(on_due=hang, hook_deadline=timedelta(seconds=PATIENCE_SECONDS)):
            await called.wait()
            scope.cancel()
    assert daily.told() == []
    async with daily.open(on_due=heard):
        await settle()
    assert (heard.ids(), daily.left()) == ([[OLD]], [OLD])


async def test_without_notice_nothing_is_told(daily: Daily) -> None:
    """A runtime that announces nothing has nothing to tell."""
    heard = Heard()
    daily.write(OLD, idle=31)
    async with daily.open(on_due=heard, notice=False):
        assert daily.left() == []
    assert heard == []
