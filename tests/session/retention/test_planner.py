"""A plan that is confirmed, made anew, or asked at the last moment."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from miniclaw.session.entries import ProblemFile
from miniclaw.session.retention.planner import LiveSession, Planner
from miniclaw.session.retention.policy import PlanRow, RetentionPolicy
from tests.fakes.moments import at_once
from tests.fakes.plans import DAY, NOW, going, plan, stored

MICROSECOND = timedelta(microseconds=1)


def test_still_goes_at_the_last_moment_only_what_is_as_it_was() -> None:
    """A pin, any other time of its last use, or a row of no rule keeps a session."""
    made = plan(stored(1, 31 * DAY), stored(2, 9 * DAY), stored(3, 2 * DAY), max_sessions=1)
    assert len(made.removals) == 2
    for row in made.removals:
        header = row.session.header
        assert made.still_goes(row, header)
        assert not made.still_goes(row, replace(header, pinned=True))
        assert not made.still_goes(row, replace(header, last_accessed=NOW))
        assert not made.still_goes(PlanRow(row.session, "within_ttl", row.age, row.used), header)
        assert not made.still_goes(row, replace(header, last_accessed=header.last_accessed - MICROSECOND))


def test_still_goes_of_budget_knows_the_use_in_memory() -> None:
    """A session that memory has used later than its file says goes as long as neither has changed."""
    used = NOW - 8 * DAY
    made = plan(stored(1, 9 * DAY), stored(2), live={"web_1": LiveSession(used, busy=False)}, max_sessions=1)
    [row] = made.removals
    header = row.session.header
    assert row.age == 8 * DAY
    assert made.still_goes(row, header)
    assert made.still_goes(row, replace(header, last_accessed=used))
    assert not made.still_goes(row, replace(header, last_accessed=used + MICROSECOND))


def test_planner_confirm_puts_another_session_in_the_place_of_one_that_is_damaged() -> None:
    """What turns out otherwise when it is read whole is left out, and the budget is met by the next one."""
    sessions = [stored(number, (9 - number) * DAY) for number in range(5)]
    planner = Planner(RetentionPolicy(max_sessions=3), at_once(NOW))
    planner.feed(sessions)
    first = planner.plan()
    assert planner.wants(first) == sessions[:2]
    pinned = replace(sessions[1], header=replace(sessions[1].header, pinned=True))
    planner.feed_whole({sessions[0].key: sessions[0], sessions[1].key: pinned})
    second = planner.plan()
    assert (going(second), second.pinned, second.readable) == ([("0", "max_sessions"), ("2", "max_sessions")], 1, 5)
    assert planner.wants(second) == [sessions[2]]
    planner.feed_whole({sessions[2].key: None})
    third = planner.plan()
    assert (going(third), third.readable, third.sessions_bytes) == ([("0", "max_sessions")], 4, 400)
    planner.feed_whole({sessions[0].key: ProblemFile(sessions[0].key, "corrupt", "torn")})
    fourth = planner.plan()
    assert (going(fourth), fourth.readable, fourth.sessions_scanned) == ([], 3, 4)
    assert [problem.key for problem in fourth.problems] == [sessions[0].key]


def test_planner_confirm_of_what_is_as_it_seemed_changes_nothing() -> None:
    """A plan that is confirmed is the plan."""
    sessions = [stored(number, (9 - number) * DAY) for number in range(5)]
    planner = Planner(RetentionPolicy(max_sessions=3), at_once(NOW))
    planner.feed(sessions)
    made = planner.plan()
    planner.feed_whole({each.key: each for each in planner.wants(made)})
    assert planner.plan() == made
    assert planner.wants(made) == []


def test_planner_finish_twice_is_the_same_and_independent() -> None:
    """A plan is not changed by what is added after it."""
    planner = Planner(RetentionPolicy(max_sessions=1), at_once(NOW))
    planner.feed([stored(1, 31 * DAY), stored(2, 9 * DAY), stored(3, 2 * DAY)])
    made = planner.plan()
    assert planner.plan() == made
    planner.feed([stored(4, 33 * DAY), stored(5, -DAY), ProblemFile("x.json", "corrupt", "")])
    assert going(made) == [("1", "ttl"), ("2", "max_sessions")]
    assert (made.future, made.problems) == ([], [])
    assert going(planner.plan())[:2] == [("1", "ttl"), ("4", "ttl")]
