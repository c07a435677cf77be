"""Rules that are exchanged while the runtime runs: they hold at once, everywhere, and delete nothing unannounced."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from miniclaw.session.calls.rules import RuntimeRules
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.runtime import SessionRuntime, open_runtime
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.daily import COMPLETE, Daily
from tests.fakes.logs import LogRecorder
from tests.fakes.threads import settle

DAY = timedelta(days=1)
SECOND = 1 / 24 / 3600
LAX, STRICT = RetentionPolicy(), RetentionPolicy(ttl=7 * DAY)


@pytest.fixture
def daily(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> Daily:
    return Daily(sessions_dir, clock, logs)


async def change(runtime: SessionRuntime, **rules: Any) -> None:
    """Exchange some rules, and wait until all that this sets off is done."""
    runtime.set_rules(replace(runtime.rules, **rules))
    await settle()


def next_run(runtime: SessionRuntime) -> str:
    """Return when the next cleanup is due, in the machine's zone."""
    at = runtime.cleanup_service.next_run_at
    return "never" if at is None else at.astimezone().isoformat()


# They hold at once, everywhere ----------------------------------------------------------------------------------


async def test_set_rules_of_a_policy_hold_for_all_that_judges(daily: Daily) -> None:
    """Manager, cleanup, plan, trash and the memory of old clocks go by one policy."""
    daily.write("web_a", idle=10)
    async with daily.open() as runtime:
        assert not await runtime.manager.is_session_expired("web_a")
        policy = RetentionPolicy(ttl=7 * DAY, trash_for=3 * DAY, quarantine_for=500 * DAY)
        await change(runtime, policy=policy)
        assert runtime.cleanup.policy is runtime.manager.policy is runtime.rules.policy is policy
        assert await runtime.manager.is_session_expired("web_a")
        plan = await runtime.cleanup.plan()
        assert [row.reason for row in plan.removals] == ["ttl"]
        assert plan.policy is policy
        assert runtime.time._keeps == 500 * DAY // timedelta(microseconds=1)
        (deleted,) = await runtime.operations().delete(["web_a"])
        assert deleted.entry_id  # there was no trash before


async def test_set_rules_of_a_schedule_hold_for_the_run_that_is_waited_for(daily: Daily, days_pass: DaysPass) -> None:
    """A shorter interval brings the next run nearer, from the last one on; a time of day, and none, hold as well."""
    async with daily.open() as runtime:
        service = runtime.cleanup_service
        began = daily.clock.now
        await days_pass(0.25)
        await change(runtime, schedule=Schedule(DAY / 2))
        assert next_run(runtime) == (began + DAY / 2).astimezone().isoformat()
        await days_pass(0.25)
        await change(runtime, schedule=Schedule(DAY / 24))
        await days_pass(1 / 24)
        assert service.runs == 3
        await change(runtime, schedule=Schedule(None, time(4)))
        assert "T04:00" in next_run(runtime)
        await change(runtime, schedule=Schedule(None))
        assert next_run(runtime) == "never"
        runs = service.runs
        await days_pass(10)
        assert service.runs == runs


async def test_set_rules_of_a_schedule_that_has_passed_runs_at_once(daily: Daily, days_pass: DaysPass) -> None:
    """What is overdue by the new interval is not put off for an old one."""
    async with daily.open() as runtime:
        await days_pass(0.5)
        await change(runtime, schedule=Schedule(DAY / 24))
        assert runtime.cleanup_service.runs == 2


async def test_set_rules_of_saving_hold_for_the_tick_that_is_waited_for(daily: Daily, days_pass: DaysPass) -> None:
    """A shorter interval does not wait for the end of a longer one, nor a longer one for the next second."""
    async with daily.open(persistence_interval_seconds=3600) as runtime:
        ticks = runtime.persistence.ticks
        await change(runtime, persistence_interval_seconds=1)
        early = runtime.persistence.ticks
        assert early - ticks <= 1
        for _ in range(3):
            await days_pass(SECOND)
        assert runtime.persistence.ticks == early + 3
        await change(runtime, persistence_interval_seconds=3600)
        later = runtime.persistence.ticks
        await days_pass(3599 * SECOND)
        assert runtime.persistence.ticks == later


async def test_set_rules_while_the_program_stops_leave_saving_in_haste(daily: Daily, days_pass: DaysPass) -> None:
    """A reload in the middle of a stop does not make a program that may be killed save every 30 seconds again."""
    async with daily.open(persistence_interval_seconds=3600) as runtime:
        await runtime.say_stopping()
        await change(runtime, persistence_interval_seconds=1800)
        ticks = runtime.persistence.ticks
        await days_pass(SECOND)
        assert runtime.persistence.ticks == ticks + 1
        assert runtime.rules.persistence_interval_seconds == 1800


@pytest.mark.parametrize(
    "other", [{"policy": STRICT}, {"notice": False}, {"removes": False}, {"cleanup_interval_seconds": None}]
)
async def test_open_with_rules_and_one_of_them_beside_is_refused(sessions_dir: Path, other: dict[str, Any]) -> None:
    """A rule that would be ignored in silence is an error, and nothing is opened."""
    with pytest.raises(ValueError, match="beside `rules`"):
        async with open_runtime(sessions_dir, rules=RuntimeRules(), **other):
            pass
    assert not sessions_dir.exists()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_rules_that_make_no_sense_are_refused(seconds: float) -> None:
    """Nothing has changed then: there are no such rules."""
    with pytest.raises(ValueError, match="interval_seconds is positive"):
        RuntimeRules(persistence_interval_seconds=seconds)


async def test_set_rules_of_mode_and_notice_hold_for_the_next_run(daily: Daily, days_pass: DaysPass) -> None:
    """Announcing alone removes nothing; without a notice what has expired goes."""
    daily.write("web_a", idle=31)
    async with daily.open() as runtime:
        await change(runtime, removes=False)
        await days_pass(1)
        assert daily.left() == ["web_a"]
        daily.write("web_b", idle=31)
        await change(runtime, removes=True, notice=False)
        await days_pass(1)
        assert daily.left() == []


async def test_due_sessions_are_those_of_the_last_run_in_either_mode(daily: Daily, days_pass: DaysPass) -> None:
    """Where the mode changes to announcing and back, the number of due sessions is the last run's."""
    daily.write("web_a", idle=25)
    async with daily.open() as runtime:
        assert runtime.cleanup_service.due == 1
        daily.write("web_b", idle=25)
        await change(runtime, removes=False)
        await days_pass(1)
        assert runtime.cleanup_service.due == 2
        await change(runtime, removes=True)
        await days_pass(6)
        assert (runtime.cleanup_service.due, daily.left()) == (0, [])


# Nothing unannounced --------------------------------------------------------------------------------------------


async def goes_a_day_after_its_announcement(daily: Daily, days_pass: DaysPass) -> None:
    """Check that the next run announces what a tightened rule takes, and that the one after it deletes it."""
    await days_pass(1 - SECOND)
    assert daily.reasons() == []
    await days_pass(SECOND)
    assert daily.reasons() == [{"tightened_rule": 1}]
    assert daily.left() == ["web_a"]
    await days_pass(1 - SECOND)
    assert daily.left() == ["web_a"]
    await days_pass(SECOND)
    assert daily.left() == []


@pytest.mark.parametrize("idle", [20, 25], ids=["not announced", "announced by the laxer rule"])
async def test_set_rules_that_are_tightened_announce_before_they_delete(
    daily: Daily, days_pass: DaysPass, idle: float
) -> None:
    """An announcement of "in five days", or none, does not stand for one of "tomorrow"."""
    daily.write("web_a", idle=idle)
    async with daily.open(LAX) as runtime:
        assert runtime.cleanup_service.due == (1 if idle == 25 else 0)
        await change(runtime, policy=STRICT)
        await goes_a_day_after_its_announcement(daily, days_pass)


async def test_set_rules_back_and_forth_without_a_run_are_as_if_nothing_had_been(
    daily: Daily, days_pass: DaysPass
) -> None:
    """Only what a run has announced counts, and by which rules that run went."""
    daily.write("web_a", idle=25)
    async with daily.open(LAX) as runtime:
        for policy in (STRICT, LAX, STRICT, LAX):
            await change(runtime, policy=policy)
        await days_pass(1)
        assert (daily.left(), daily.reasons()) == (["web_a"], [])
        await change(runtime, policy=STRICT)
        await goes_a_day_after_its_announcement(daily, days_pass)


async def test_set_rules_that_are_loosened_keep_what_was_announced(daily: Daily, days_pass: DaysPass) -> None:
    """A longer TTL, in time, saves what the next run would have deleted."""
    daily.write("web_a", idle=10)
    async with daily.open(STRICT) as runtime:
        assert len(daily.warnings()) == 1
        await change(runtime, policy=LAX)
        await days_pass(5)
        assert daily.left() == ["web_a"]
        await change(runtime, policy=STRICT)  # and once it is shorter again, it is announced again
        await days_pass(1)
        assert daily.left() == ["web_a"]
        assert len(daily.warnings()) == 2


# In the middle of a run -----------------------------------------------------------------------------------------


class ChangesInRun:
    """Exchanges the rules in the middle of the next run, once it has announced, before it removes."""

    def __init__(self, runtime: SessionRuntime, rules: RuntimeRules) -> None:
        self._runtime, self._rules = runtime, rules
        self._tell = runtime.cleanup_service.announce
        runtime.cleanup_service.announce = self  # type: ignore[method-assign]

    async def __call__(self, plan: Any) -> None:
        self._runtime.cleanup_service.announce = self._tell  # type: ignore[method-assign]
        await self._tell(plan)
        self._runtime.set_rules(self._rules)


async def test_set_rules_that_are_loosened_in_a_run_stop_it(daily: Daily, days_pass: DaysPass) -> None:
    """A rule that was a mistake takes nothing more from now on; the run is made again by the new one."""
    daily.write("web_a", idle=31)
    async with daily.open(LAX) as runtime:
        ChangesInRun(runtime, replace(runtime.rules, policy=RetentionPolicy(ttl=None)))
        await days_pass(1)
        assert daily.left() == ["web_a"]
        assert runtime.cleanup_service.runs == 3
    assert len(daily.logs.named("Session cleanup interrupted")) == 1
    assert [event["sessions_deleted"] for event in daily.logs.named(COMPLETE)] == [0, 0]


async def test_set_rules_that_are_tightened_in_a_run_announce_before_they_delete(
    daily: Daily, days_pass: DaysPass
) -> None:
    """What that run has announced, it has announced by the laxer rule; also where it was the first run of all."""
    daily.write("web_a", idle=25)
    async with daily.open(LAX, cleanup_waits=True) as runtime:
        ChangesInRun(runtime, replace(runtime.rules, policy=STRICT))
        runtime.cleanup_service.release()
        await settle()
        assert runtime.cleanup_service.runs == 2
        assert [warning["sessions"] for warning in daily.warnings()] == [1]
        await days_pass(1 - SECOND)
        assert daily.left() == ["web_a"]
        await days_pass(SECOND)
        assert daily.left() == []


async def test_set_rules_twice_with_a_run_broken_off_between_announce_before_they_delete(
    daily: Daily, days_pass: DaysPass
) -> None:
    """A run by the laxer rule that did not come to its end has announced by it all the same."""
    async with daily.open(STRICT) as runtime:
        await days_pass(0.5)
        daily.write("web_a", idle=25)
        await change(runtime, policy=LAX)
        ChangesInRun(runtime, replace(runtime.rules, policy=STRICT, schedule=Schedule(None)))
        await days_pass(0.5)
        assert runtime.cleanup_service.runs == 2
        await change(runtime, schedule=Schedule(DAY))  # the run that is due now finds it announced, by the laxer rule
        assert daily.left() == ["web_a"]
        assert [warning["reasons"] for warning in daily.warnings()] == [{"tightened_rule": 1}]


async def test_set_rules_end_a_run_that_waits_for_its_turn(daily: Daily) -> None:
    """It was ordered by rules that hold no more; its result says that it was interrupted."""
    daily.write("web_a", idle=31)
    async with daily.open() as runtime, trio.open_nursery() as nursery:
        await runtime.cleanup._turns.acquire()  # another run

        async def order() -> None:
            result = await runtime.cleanup.run()
            assert (result.interrupted, result.sessions_deleted) == (True, 0)

        nursery.start_soon(order)
        await trio.testing.wait_all_tasks_blocked()
        await change(runtime, policy=RetentionPolicy(ttl=None))
        runtime.cleanup._turns.release()
    assert daily.left() == ["web_a"]


async def test_set_rules_end_no_plan_that_is_made(daily: Daily) -> None:
    """A plan is whole, by the rules that held when it was asked for."""
    daily.write("web_a", idle=31)
    async with daily.open() as runtime:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert len((await runtime.cleanup.plan()).removals) == 1

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0)
            runtime.set_rules(replace(runtime.rules, policy=RetentionPolicy(ttl=None)))
        assert (await runtime.cleanup.plan()).removals == []
