"""Plans and forecasts of runs that delete only what was announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from miniclaw.clock import MICROSECOND, to_microseconds
from miniclaw.session.entries import Leftover, StoredSession, Tally
from miniclaw.session.retention.forecast import forecast
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import LiveSession, Planner
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages, Frame
from tests.fakes.moments import rules_of
from tests.fakes.plans import DAY, HOUR, NOW, free_disks, going, leftover_lists, policies, session_lists, stored

LIVED = 900 * DAY
NOTICE = 20 * HOUR


def lived_at(ago: timedelta) -> int:
    return (LIVED - ago) // MICROSECOND


def notice(
    policy: RetentionPolicy, *announced: StoredSession, ago: timedelta = DAY, last: timedelta | None = DAY
) -> Notice:
    """Return the notice of a run that waits, before which these were announced so long ago."""
    due, present, lived = Noted(), to_microseconds(NOW), LIVED // MICROSECOND
    for session in announced:
        due.note(session.identity, lived_at(ago))
        due.note(session.identity_by_number, lived_at(ago))
    ages = Ages(present, lived, lived, (Frame(present - lived, present - lived, present),))
    rules, run = rules_of(policy), None
    if last is not None:
        run = LastRun(to_microseconds(NOW - last), lived_at(last), lived_at(last), rules)
    return Notice(ages, rules, run, due.renewed())


def plan(
    policy: RetentionPolicy,
    at: Notice,
    *sessions: StoredSession,
    live: dict[str, LiveSession] | None = None,
    leftovers: Sequence[Leftover] = (),
) -> CleanupPlan:
    planner = Planner(policy, at, live=live.get if live is not None else None)
    planner.feed(sessions)
    planner.feed_leftovers(leftovers)
    return planner.plan()


def due(made: CleanupPlan) -> list[tuple[Any, ...]]:
    return [(each.session.header.chat_id, each.reason, each.stays, each.why) for each in made.due]


POLICY = RetentionPolicy()


def test_plan_takes_only_what_was_announced_for_its_notice() -> None:
    """Expired is not enough; each one that is due says how long it stays, and why it was not announced in time."""
    announced, late = stored(1, 31 * DAY), stored(2, 31 * DAY)
    soon, young = stored(3, 24 * DAY), stored(4, 23 * DAY)
    made = plan(POLICY, notice(POLICY, announced), announced, late, soon, young)
    assert going(made) == [("1", "ttl")]
    assert due(made) == [
        ("1", "ttl", timedelta(0), None),
        ("2", "ttl", NOTICE, "new_file"),
        ("3", "ttl", 6 * DAY, None),
    ]
    assert made.due_count == Tally(3, 300)


@pytest.mark.parametrize(("ago", "goes"), [(NOTICE, True), (NOTICE - timedelta(seconds=1), False)])
def test_plan_of_announced_session_waits_until_the_notice_is_over(ago: timedelta, goes: bool) -> None:
    """At exactly the notice period it goes."""
    session = stored(1, 31 * DAY)
    assert going(plan(POLICY, notice(POLICY, session, ago=ago), session)) == ([("1", "ttl")] if goes else [])


def test_plan_notes_what_it_announces_for_the_next_run() -> None:
    """What one run finds due, with its file and its last use, the next one recognises; what is gone is forgotten."""
    session, gone = stored(1, 31 * DAY), stored(2, 31 * DAY)
    at = notice(POLICY, gone)
    plan(POLICY, at, session)
    renewed = at.due.renewed()
    assert (renewed.find(session.identity), renewed.find(gone.identity)) == (lived_at(timedelta(0)), None)
    later = at.after(DAY)
    later.due = renewed
    assert going(plan(POLICY, later, session)) == [("1", "ttl")]


@pytest.mark.parametrize("what", ["use", "file"])
def test_plan_does_not_recognise_another_use_or_file(what: str) -> None:
    """A session that was used, or another file of the same name, was not announced."""
    before = stored(1, 60 * DAY)
    now = (
        stored(1, 59 * DAY)
        if what == "use"
        else StoredSession(before.key, before.size, before.header, file=before.file + 1)
    )
    assert going(plan(POLICY, notice(POLICY, before), now)) == []
    assert now.identity != before.identity


def test_plan_of_announced_session_that_memory_has_used_keeps_it() -> None:
    """A use that is not saved yet counts as one."""
    session = stored(1, 31 * DAY)
    live = {"web_1": LiveSession(NOW - 30 * DAY - HOUR, busy=False)}
    made = plan(POLICY, notice(POLICY, session), session, live=live)
    assert (going(made), [each.noted for each in made.due]) == ([], [None])


def test_plan_max_sessions_waits_for_its_notice() -> None:
    """What is too many is announced; what was announced goes, before what was used less recently."""
    policy = RetentionPolicy(ttl=None, max_sessions=2)
    sessions = [stored(number, (9 - number) * DAY) for number in range(4)]
    made = plan(policy, notice(policy), *sessions)
    assert (going(made), made.unmet) == ([], [])
    assert due(made) == [("0", "max_sessions", NOTICE, None), ("1", "max_sessions", NOTICE, None)]
    made = plan(policy, notice(policy, sessions[1]), *sessions)
    assert going(made) == [("1", "max_sessions")]
    assert due(made) == [("0", "max_sessions", NOTICE, None), ("1", "max_sessions", timedelta(0), None)]


def test_plan_disk_budget_waits_for_no_notice_and_takes_what_is_announced_first() -> None:
    """A full disk cannot wait; the announced session goes before one that was used less recently."""
    policy = RetentionPolicy(ttl_by_channel={"mail": 10 * DAY}, max_disk_bytes=250, low_water=200)
    older, announced, young = stored(1, 20 * DAY), stored(2, 8 * DAY, channel="mail"), stored(3, 2 * DAY)
    assert going(plan(policy, notice(policy), older, announced, young)) == [("1", "max_disk_bytes")]
    made = plan(policy, notice(policy, announced), older, announced, young)
    assert going(made) == [("2", "max_disk_bytes")]


def test_plan_of_first_run_announces_files_in_quarantine_and_empties_the_trash() -> None:
    """What is in quarantine has its notice; an entry of the trash had it as a session."""
    rows = [Leftover("quarantined", "q", 5, NOW - 91 * DAY), Leftover("trash", "t", 5, NOW - 9 * DAY, NOW - DAY)]
    at = notice(POLICY, last=None)
    made = plan(POLICY, at, leftovers=rows)
    assert [row.reason for row in made.leftovers] == ["trash_expired"]
    assert [(file.leftover.key, file.stays, file.why) for file in made.due_files] == [("q", NOTICE, "first_run")]
    later = at.after(DAY)
    later.due = at.due.renewed()
    made = plan(POLICY, later, leftovers=rows[:1])
    assert [row.reason for row in made.leftovers] == ["quarantine_expired"]


@given(session_lists(), policies(), leftover_lists(), free_disks)
def test_plan_of_run_that_waits_takes_for_age_or_number_only_what_was_announced(
    sessions: list[StoredSession], policy: RetentionPolicy, leftovers: list[Leftover], free: int | None
) -> None:
    """Whatever the rules, the first run takes nothing but for the disk; all it would have taken is due."""
    at = notice(policy, last=None)
    planner = Planner(policy, at)
    planner.feed(sessions)
    planner.feed_leftovers(leftovers)
    made = planner.plan(free_disk=free)
    assert {row.reason for row in made.removals} <= {"max_disk_bytes", "min_free_disk"}
    assert all(row.reason != "quarantine_expired" for row in made.leftovers)
    due_or_gone = {each.session.key for each in made.due} | {row.session.key for row in made.removals}
    hasty = Planner(policy, Notice(at.ages, at.rules, waits=False))
    hasty.feed(sessions)
    expired = {row.session.key for row in hasty.plan().removals if row.reason == "ttl"}
    assert expired <= due_or_gone
    renewed = at.due.renewed()
    for each in made.due:
        assert {renewed.find(each.session.identity), renewed.find(each.session.identity_by_number)} != {None}


# Forecasts ------------------------------------------------------------------------------------------------------


def test_forecast_of_run_that_waits_has_what_is_not_announced_go_a_day_later() -> None:
    """The run now announces what it finds expired, and the next one deletes it; what was announced goes now."""
    announced, late, soon = stored(1, 31 * DAY), stored(2, 31 * DAY), stored(3, 28 * DAY + HOUR)
    told = forecast([announced, late, soon], POLICY, notice(POLICY, announced), 3)
    assert [day.sessions for day in told.days] == [1, 1, 1, 0]
    assert told.due == Tally(3, 300)


def test_forecast_of_run_that_waits_with_too_many_sessions_begins_a_day_later() -> None:
    """What max_sessions takes is announced by the run now."""
    policy = RetentionPolicy(ttl=None, max_sessions=1)
    sessions = [stored(number, (9 - number) * DAY) for number in range(3)]
    told = forecast(sessions, policy, notice(policy, sessions[0]), 2)
    assert [day.sessions for day in told.days] == [1, 1, 0]
