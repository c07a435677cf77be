"""The daily cleanup that only announces: day after day it says what would go, and nothing goes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import COMPLETE, Daily
from tests.fakes.logs import LogRecorder

ONLY_ANNOUNCES = "Session cleanup only announces; nothing is removed"
TRASH = RetentionPolicy(trash_for=timedelta(days=7), quarantine_for=timedelta(days=10))


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


async def test_mode_announce_never_removes_anything(daily: Daily, logs: LogRecorder, days_pass: DaysPass) -> None:
    """Day after day it says what would go, in the log and in the history, and nothing goes: no leftover either."""
    daily.write("telegram_trashed", idle=0)
    async with daily.open(TRASH) as runtime:
        await runtime.manager.delete_session("telegram_trashed")
        await days_pass(8 - 1 / 24)  # no run yet that would empty the trash
    daily.write("telegram_31", idle=31)
    daily.write("telegram_40", idle=40)
    quarantine = daily.path / ".quarantine"
    quarantine.mkdir(mode=0o700, exist_ok=True)
    damaged = quarantine / f"telegram_1.json.{daily.clock.ago(days=11):%Y%m%dT%H%M%SZ}-0a1b2c3d"
    damaged.write_bytes(b"12345")
    trash = daily.path / ".trash"
    before, events = len(list(trash.iterdir())), len(daily.told())
    async with daily.open(TRASH, removes=False):
        for _ in range(3):
            await days_pass(1)
    assert daily.left() == ["telegram_31", "telegram_40"]
    assert damaged.exists()
    assert len(list(trash.iterdir())) == before
    says = [(event["sessions"], event["leftovers"]) for event in logs.named(ONLY_ANNOUNCES)]
    assert says[-1] == (2, 1 + before)
    assert all(event["level"] == "warning" for event in logs.named(ONLY_ANNOUNCES))
    assert logs.named(ONLY_ANNOUNCES)[-1]["reasons"] == {"ttl": 2}
    planned = [event for event in daily.told()[events:] if event.because == "the mode is to announce"]
    assert [len(event.sessions) for event in planned] == [sessions for sessions, _ in says]


async def test_mode_announce_says_only_after_its_notice_that_something_would_go(
    daily: Daily, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """The run that announces would delete nothing yet; the one after it would."""
    daily.write("telegram_1", idle=31)
    async with daily.open(removes=False):
        assert (len(daily.warnings()), logs.named(ONLY_ANNOUNCES)) == (1, [])
        await days_pass(1)
        assert (len(daily.warnings()), logs.one(ONLY_ANNOUNCES)["sessions"]) == (1, 1)


async def test_mode_announce_of_nothing_is_silent(daily: Daily, logs: LogRecorder) -> None:
    """Where nothing would go there is nothing to say."""
    daily.write("telegram_1", idle=5)
    async with daily.open(removes=False) as runtime:
        assert runtime.cleanup_service.runs == 1
    assert logs.named(ONLY_ANNOUNCES) == logs.named(COMPLETE) == []
    assert daily.told() == []


async def test_mode_announce_that_is_left_deletes_what_it_has_announced(daily: Daily, days_pass: DaysPass) -> None:
    """An announcement is one, whatever the mode was."""
    daily.write("telegram_1", idle=31)
    async with daily.open(removes=False):
        await days_pass(0.9)
    async with daily.open():
        await days_pass(0.1)
        assert daily.left() == []
    assert len(daily.warnings()) == 1
