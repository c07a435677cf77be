"""The rules for what lies in quarantine: a session that can be used goes by its own TTL, anything else by its own age."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from miniclaw.session.entries import Leftover
from miniclaw.session.format.codec import MAX_SESSION_BYTES
from miniclaw.session.retention.forecast import forecast
from miniclaw.session.retention.leftover_rules import foresee
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import MOST_NOTICE, RetentionPolicy
from miniclaw.session.types import SessionHeader
from tests.fakes.moments import ages_at, at_once, rules_of
from tests.fakes.plans import DAY, HOUR, NOW, going, plan, stored

MICROSECOND = timedelta(microseconds=1)
WEEK = timedelta(days=7)


def lying(age: timedelta, used: timedelta | None = None, *, size: int = 100, **fields: Any) -> Leftover:
    """Return a file that came into quarantine so long ago; `used`: it holds a session that was last used then."""
    header = None
    if used is not None:
        channel = fields.pop("channel", "web")
        header = SessionHeader(f"{channel}_1", channel, "1", NOW - used, fields.pop("pinned", False))
    return Leftover("quarantined", "web_1.json.20261001T083015Z-0a1b2c3d", size, NOW - age, header=header, **fields)


@pytest.mark.parametrize(
    ("file", "rules", "reason"),
    [
        (lying(30 * DAY, 60 * DAY), {}, None),
        (lying(30 * DAY + MICROSECOND, 60 * DAY), {}, "ttl"),
        (lying(60 * DAY, 30 * DAY), {}, None),
        (lying(60 * DAY, 30 * DAY + MICROSECOND), {}, "ttl"),
        (lying(8 * DAY, 9 * DAY, channel="mail"), {"ttl_by_channel": {"mail": WEEK}}, "ttl"),
        (lying(900 * DAY, 900 * DAY, channel="mail"), {"ttl_by_channel": {"mail": None}}, None),
        (lying(900 * DAY, 900 * DAY), {"ttl": None}, None),
        (lying(900 * DAY, 900 * DAY, pinned=True), {}, None),
        (lying(900 * DAY, 900 * DAY), {"quarantine_for": None}, "ttl"),
        (lying(60 * DAY, -DAY), {}, None),
        (lying(-DAY, 60 * DAY), {}, None),
        (lying(900 * DAY, readable=False), {}, None),
        (lying(60 * DAY), {}, None),
        (lying(90 * DAY + MICROSECOND), {"ttl": None}, "quarantine_expired"),
    ],
)
def test_plan_of_quarantine_takes_a_session_by_its_own_rules_and_the_rest_by_its_age(
    file: Leftover, rules: dict[str, Any], reason: str | None
) -> None:
    """The later of last use and quarantining counts; pins hold; what could not be read is left alone."""
    made = plan(leftovers=[file], **rules)
    assert [row.reason for row in made.leftovers] == ([reason] if reason else [])


def at_run(policy: RetentionPolicy, *, last: bool = True) -> Notice:
    """Return the notice of a daily run, a day after one that found nothing."""
    ages = ages_at(NOW)
    before = LastRun(ages.present - DAY // MICROSECOND, 0, ages.count - DAY // MICROSECOND, rules_of(policy))
    return Notice(replace(ages, lived=10**15), rules_of(policy), before if last else None)


def made_at(at: Notice, policy: RetentionPolicy, *files: Leftover) -> CleanupPlan:
    planner = Planner(policy, at)
    planner.feed_leftovers(files)
    return planner.plan()


def next_run(at: Notice) -> Notice:
    later = at.after(DAY)
    later.due = at.due.renewed()
    return later


def test_plan_announces_a_session_in_quarantine_before_its_ttl_is_over() -> None:
    """It is due a week before, waits for its notice, and goes after it."""
    policy = RetentionPolicy()
    assert made_at(at_run(policy), policy, lying(23 * DAY, 23 * DAY)).due_files == []
    at = at_run(policy)
    (due,) = made_at(at, policy, lying(24 * DAY, 24 * DAY)).due_files
    assert (due.noted, due.stays, due.why) == (None, 6 * DAY, None)
    (due,) = made_at(next_run(at), policy, lying(24 * DAY, 24 * DAY)).due_files
    assert due.noted is not None
    at, old = at_run(policy), lying(31 * DAY, 31 * DAY)
    made = made_at(at, policy, old)
    assert (made.leftovers, made.due_files[0].stays, made.due_files[0].why) == ([], MOST_NOTICE, "new_file")
    assert [row.reason for row in made_at(next_run(at), policy, old).leftovers] == ["ttl"]


def test_plan_announces_anew_a_file_that_was_edited_into_a_session() -> None:
    """Who repairs a file on the day before it goes does not lose it on that day."""
    policy = RetentionPolicy()
    at = at_run(policy)
    made_at(at, policy, lying(89 * DAY))
    later = next_run(at)
    made = made_at(later, policy, lying(91 * DAY, 91 * DAY))
    assert (made.leftovers, [due.noted for due in made.due_files]) == ([], [None])
    assert [row.reason for row in made_at(next_run(later), policy, lying(91 * DAY, 91 * DAY)).leftovers] == ["ttl"]


def test_plan_gives_a_session_in_quarantine_a_notice_when_its_ttl_is_tightened() -> None:
    """By the TTL of before it was not due, whatever `quarantine_for` was."""
    before, now = RetentionPolicy(ttl=365 * DAY), RetentionPolicy(ttl=WEEK)
    at = Notice(at_run(before).ages, rules_of(now), at_run(before).last)
    (due,) = made_at(at, now, lying(40 * DAY, 40 * DAY)).due_files
    assert (due.stays, due.why) == (MOST_NOTICE, "tightened_rule")


@pytest.mark.parametrize("size", [MAX_SESSION_BYTES, MAX_SESSION_BYTES + 1])
@pytest.mark.parametrize("trash_for", [WEEK, None])
def test_plan_moves_to_the_trash_what_could_be_read_again(size: int, trash_for: timedelta | None) -> None:
    """It frees nothing by that; larger files, and all without a trash, go for good and do."""
    made = plan(leftovers=[lying(91 * DAY, size=size)], trash_for=trash_for)
    (row,) = made.leftovers
    goes_there = trash_for is not None and size <= MAX_SESSION_BYTES
    assert (row.trashes, made.trashes(row), row.frees) == (goes_there, goes_there, not goes_there)


def test_plan_disk_bytes_counts_nothing_that_lies_or_lay_in_quarantine() -> None:
    """No session pays for a damaged file, neither while it goes to the trash nor while it lies there."""
    session = stored(1, 2 * DAY, size=100)
    moving, there = (
        lying(91 * DAY, size=10**9),
        Leftover("trash", "t", 10**9, NOW - DAY, NOW + DAY, from_quarantine=True),
    )
    made = plan(session, leftovers=[moving, there], max_disk_bytes=100, trash_for=WEEK, min_idle=HOUR)
    assert (going(made), made.unmet, made.for_good) == ([], [], frozenset())
    assert [row.leftover for row in made.leftovers] == [moving]


@pytest.mark.parametrize(
    ("need", "for_good", "emptied", "sessions"),
    [(4096, set(), ["t"], []), (2 * 4096, {"q"}, ["t"], []), (3 * 4096, {"q"}, ["t", "s"], []),
     (4 * 4096, {"q"}, ["t", "s"], [("1", "min_free_disk")])],
)  # fmt: skip
def test_plan_min_free_disk_takes_damaged_files_out_of_the_trash_before_anything_else(
    need: int, for_good: set[str], emptied: list[str], sessions: list[tuple[str, str]]
) -> None:
    """First what lies there, then what would go there, then entries of sessions, then sessions."""
    rows = [
        Leftover("trash", "s", 4096, NOW - 2 * DAY, NOW + DAY),
        Leftover("trash", "t", 4096, NOW - DAY, NOW + DAY, from_quarantine=True),
        replace(lying(91 * DAY, size=4096), key="q"),
    ]
    made = plan(stored(1, 2 * DAY, size=4096), leftovers=rows, min_free_disk=need, free_disk=0, trash_for=WEEK)
    assert made.for_good == for_good
    assert [row.leftover.key for row in made.leftovers if row.reason == "min_free_disk"] == emptied
    assert going(made) == sessions
    (moving,) = [row for row in made.leftovers if row.leftover.key == "q"]
    assert made.trashes(moving) == (not for_good)


def test_foresee_says_how_long_a_file_stays_and_announces_nothing() -> None:
    """For what no rule takes there is nothing to foresee."""
    policy, at = RetentionPolicy(), at_run(RetentionPolicy())
    files = [
        lying(10 * DAY),
        lying(10 * DAY, 2 * DAY),
        lying(10 * DAY, 10 * DAY, pinned=True),
        lying(DAY, readable=False),
    ]
    assert [due and due.stays for due in (foresee(file, policy, at) for file in files)] == [
        80 * DAY,
        28 * DAY,
        None,
        None,
    ]
    assert at.due.count_renewed() == 0


def test_forecast_announces_first_what_the_daily_run_has_not_announced() -> None:
    """As a session that is expired at first sight, such a file goes with the second run."""
    policy = RetentionPolicy()
    at = at_run(policy)
    waits = Notice(at.ages, at.rules, at.last, waits=True)
    told = forecast([], policy, waits, 2, leftovers=[lying(91 * DAY, size=7)])
    assert [day.bytes_left for day in told.days] == [7, 0, 0]
    told = forecast([], policy, at_once(NOW), 2, leftovers=[lying(91 * DAY, size=7)])
    assert [day.bytes_left for day in told.days] == [0, 0, 0]
