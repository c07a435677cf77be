"""The forecast says what the plans of the coming days will be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.entries import Leftover, StoredSession
from miniclaw.session.retention.budgets import on_disk
from miniclaw.session.retention.forecast import MAX_FORECAST_DAYS, ForecastDay, forecast
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.moments import at_once
from tests.fakes.plans import DAY, HOUR, NOW, free_disks, leftover_lists, policies, session_lists, stored


def plans_day_by_day(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    days: int,
    leftovers: list[Leftover],
    free: int | None,
) -> list[ForecastDay]:
    """Carry out the plan of each day over what the day before has left, and tell what it did."""
    told = []
    for day in range(days + 1):
        at = NOW + day * DAY
        planner = Planner(policy, at_once(at, policy))
        planner.feed(sessions)
        planner.feed_leftovers(leftovers)
        plan = planner.plan(free_disk=free)
        gone = {row.session.key for row in plan.removals}
        swept = {id(row.leftover) for row in plan.leftovers}
        if free is not None:
            free += sum(
                on_disk(row.leftover.size)
                for row in plan.leftovers
                if row.frees or (row.trashes and not plan.trashes(row))
            )
            free += sum(on_disk(row.session.size) for row in plan.removals if not plan.trashes(row))
        sessions = [session for session in sessions if session.key not in gone]
        leftovers = [each for each in leftovers if id(each) not in swept]
        leftovers += [
            Leftover("quarantined", each.key, each.size, at, header=each.header)
            for each in (row.leftover for row in plan.leftovers)
            if each.kind == "legacy"
        ]
        leftovers += [
            Leftover("trash", row.leftover.key, row.leftover.size, at, from_quarantine=True)
            for row in plan.leftovers
            if plan.trashes(row)
        ]
        leftovers += [
            Leftover("trash", row.session.key, row.session.size, at) for row in plan.removals if plan.trashes(row)
        ]
        bytes_left = sum(session.size for session in sessions) + sum(each.size for each in leftovers)
        told.append(ForecastDay(at, len(gone), plan.bytes, len(sessions), bytes_left))
    return told


@given(session_lists(), policies(), st.integers(0, 35), leftover_lists(), free_disks)
def test_forecast_of_any_workspace_agrees_with_the_plans_of_those_days(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    days: int,
    leftovers: list[Leftover],
    free: int | None,
) -> None:
    """Each day is what the planner says at that time over what is left, with all rules, trash and quarantine."""
    told = forecast(iter(sessions), policy, at_once(NOW), days, leftovers=leftovers, free_disk=free)
    assert told.days == plans_day_by_day(sessions, policy, days, leftovers, free)
    assert told.sessions_now == len(sessions)
    finished = [each for each in leftovers if each.kind != "unfinished"]
    assert told.bytes_now == sum(session.size for session in sessions) + sum(each.size for each in finished)


def test_forecast_of_ttl_puts_each_session_on_the_day_on_which_it_is_older() -> None:
    """Exactly at the TTL it is kept; a microsecond later it is that day's; what is pinned or ahead never comes."""
    week = 7 * DAY
    sessions = [
        stored(1, 8 * DAY, size=1),
        stored(2, week, size=2),
        stored(3, week - timedelta(microseconds=1), size=4),
        stored(4, 6 * DAY + HOUR, size=8),
        stored(5, 5 * DAY, size=16),
        stored(6, 90 * DAY, size=32, pinned=True),
        stored(7, -30 * DAY, size=64),
    ]
    told = forecast(sessions, RetentionPolicy(ttl=week), at_once(NOW), 3)
    assert [(day.sessions, day.bytes, day.sessions_left, day.bytes_left) for day in told.days] == [
        (1, 1, 6, 126),
        (3, 14, 3, 112),
        (0, 0, 3, 112),
        (1, 16, 2, 96),
    ]
    assert [day.at for day in told.days] == [NOW, NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY]


def test_forecast_with_trash_keeps_the_bytes_until_the_trash_is_emptied() -> None:
    """What goes to the trash frees nothing until its time there is over."""
    told = forecast([stored(1, 31 * DAY, size=10)], RetentionPolicy(trash_for=2 * DAY), at_once(NOW), 3)
    assert [day.bytes_left for day in told.days] == [10, 10, 10, 0]


def test_forecast_of_session_ahead_of_the_clock_counts_from_when_the_clock_gets_there() -> None:
    """It is not due before, and expires a TTL after its last use, as it does for the plans of those days."""
    policy = RetentionPolicy(ttl=DAY)
    told = forecast([stored(1, -2 * DAY), stored(2, -HOUR)], policy, at_once(NOW), 4)
    assert [day.sessions for day in told.days] == [0, 0, 1, 0, 1]
    assert told.due.sessions == 0


@pytest.mark.parametrize("ttl", [None, timedelta.max])
def test_forecast_of_what_never_expires_is_quiet(ttl: timedelta | None) -> None:
    """Without a TTL, or with an endless one, nothing goes, not even of the most extreme ages."""
    sessions = [stored(1, 200_000 * DAY), stored(2, -200_000 * DAY)]
    told = forecast(sessions, RetentionPolicy(ttl=ttl), at_once(NOW), 30)
    assert all((day.sessions, day.sessions_left) == (0, 2) for day in told.days)


@pytest.mark.parametrize("days", [-1, MAX_FORECAST_DAYS + 1])
def test_forecast_out_of_bounds_is_refused(days: int) -> None:
    """It looks ahead, and not beyond reason."""
    with pytest.raises(ValueError, match="days: from 0 to 36,500"):
        forecast([], RetentionPolicy(), at_once(NOW), days)
