"""The notice rule: what is due, why it was not announced in time, and when it may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miniclaw.clock import MICROSECOND, to_microseconds
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice, Rules, Why
from miniclaw.session.retention.policy import RetentionPolicy, lead_of, notice_of
from miniclaw.session.retention.timeline import SECOND, Ages, Frame
from tests.fakes.moments import rules_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PRESENT = to_microseconds(NOW)
SECONDS = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = 365 * DAY
TTL = 30 * DAY
LIVED = 90 * DAY
RULES = rules_of(RetentionPolicy())


def ages(*, doubted: bool = False) -> Ages:
    """Return the present of a machine whose clock was right for the 90 days that it has lived."""
    lived = LIVED // MICROSECOND
    return Ages(PRESENT, lived, lived, (Frame(PRESENT - lived, PRESENT - lived, PRESENT),), doubted)


def lived_at(ago: timedelta) -> int:
    return (LIVED - ago) // MICROSECOND


def last_run(ago: timedelta, rules: Rules = RULES) -> LastRun:
    return LastRun(to_microseconds(NOW - ago), lived_at(ago), lived_at(ago), rules)


# Lead and notice period -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "interval", "lead"),
    [
        (30 * DAY, DAY, 7 * DAY),
        (28 * DAY, DAY, 7 * DAY),
        (28 * DAY - 4 * MICROSECOND, DAY, 7 * DAY - MICROSECOND),
        (YEAR, DAY, 7 * DAY),
        (2 * DAY, DAY, 28 * HOUR),
        (HOUR, DAY, 28 * HOUR),
        (HOUR, MINUTE, 4 * HOUR + MINUTE),
        (30 * DAY, MINUTE, 7 * DAY),
        (30 * DAY, YEAR, YEAR + 4 * HOUR),
    ],
)
def test_lead_is_a_week_or_a_quarter_of_the_ttl_and_never_less_than_a_run(
    ttl: timedelta, interval: timedelta, lead: timedelta
) -> None:
    """Every session is announced by a run before the one that takes it, about a week before."""
    assert lead_of(ttl, interval) == lead


@pytest.mark.parametrize(
    ("ttl", "interval", "notice"),
    [
        (30 * DAY, DAY, 20 * HOUR),
        (None, DAY, 20 * HOUR),
        (30 * DAY, YEAR, 20 * HOUR),
        (30 * DAY, 24 * MINUTE, 20 * MINUTE),
        (None, MINUTE, 50 * SECONDS),
        (HOUR, DAY, HOUR),
        (HOUR, MINUTE, 50 * SECONDS),
        (20 * HOUR, DAY, 20 * HOUR),
    ],
)
def test_notice_is_20_hours_or_the_ttl_and_less_than_a_run(
    ttl: timedelta | None, interval: timedelta, notice: timedelta
) -> None:
    """The next run may delete, also where the one that announced came a little late."""
    assert notice_of(ttl, interval) == notice
    assert notice < interval


# How long something stays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("announced", "stays", "ready"),
    [
        (None, 20 * HOUR, False),
        (timedelta(0), 20 * HOUR, False),
        (19 * HOUR, HOUR, False),
        (20 * HOUR - MICROSECOND, MICROSECOND, False),
        (20 * HOUR, timedelta(0), True),
        (60 * DAY, timedelta(0), True),
    ],
)
def test_stays_and_is_ready_by_witnessed_time_since_the_announcement(
    announced: timedelta | None, stays: timedelta, ready: bool
) -> None:
    """At exactly the notice period it may go; what no earlier run has announced may not."""
    notice = Notice(ages(), RULES)
    when = None if announced is None else lived_at(announced)
    assert (notice.stays(when, 20 * HOUR), notice.is_ready(when, 20 * HOUR)) == (stays, ready)


def test_is_ready_of_what_was_not_announced_is_false_even_without_a_period() -> None:
    """No run deletes what it announces itself."""
    assert not Notice(ages(), RULES).is_ready(None, timedelta(0))


@pytest.mark.parametrize("announced", [None, lived_at(HOUR)])
def test_is_ready_of_notice_that_does_not_wait_is_always_true(announced: int | None) -> None:
    """A run that was ordered acts at once."""
    notice = Notice(ages(), RULES, waits=False)
    assert notice.is_ready(announced, 20 * HOUR)
    assert notice.stays(None, 20 * HOUR) == 20 * HOUR, "the daily one waits all the same"
    assert Notice(ages(), RULES, waits=False, on=False).stays(announced, 20 * HOUR) == timedelta(0)


# Why ------------------------------------------------------------------------------------------------------------

LEAD = 7 * DAY


@pytest.mark.parametrize(
    ("age", "last", "before", "why"),
    [
        (TTL, None, None, None),
        (TTL + MICROSECOND, None, TTL, "first_run"),
        (YEAR, DAY, TTL, "new_file"),
        (TTL + MICROSECOND, DAY, TTL, "new_file"),
        (TTL + DAY, LEAD + DAY, TTL, "absence"),
        (TTL + DAY, LEAD + DAY - MICROSECOND, TTL, "new_file"),
        (60 * DAY, DAY, None, "tightened_rule"),
        (60 * DAY, DAY, 60 * DAY, "tightened_rule"),
        (60 * DAY, DAY, 60 * DAY - MICROSECOND, "new_file"),
        (31 * DAY, 40 * DAY, TTL, None),
    ],
)
def test_why_of_what_was_not_announced_in_time(
    age: timedelta, last: timedelta | None, before: timedelta | None, why: Why | None
) -> None:
    """The reason follows from what the last run must have seen: nothing, an age that was not due, or no such file."""
    notice = Notice(ages(), RULES, None if last is None else last_run(last))
    assert notice.why(age, TTL, before) == why


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (None, 5, "tightened_rule"),
        (6, 5, "tightened_rule"),
        (5, 5, None),
        (4, 5, None),
    ],
)
def test_why_too_many_is_a_first_run_or_a_lower_number(before: int | None, now: int, why: Why | None) -> None:
    """Sessions that are too many since somebody came are announced as they should be."""
    rules = rules_of(RetentionPolicy(max_sessions=now))
    last = last_run(DAY, rules_of(RetentionPolicy(max_sessions=before)))
    assert Notice(ages(), rules, last).why_too_many() == why
    assert Notice(ages(), rules).why_too_many() == "first_run"


# Ahead of the clock ---------------------------------------------------------------------------------------------


def test_age_of_future_stamp_counts_from_when_it_was_first_found() -> None:
    """The first run that finds it takes note of it; a later one has an age by that."""
    ahead = NOW + 400 * DAY
    first = Notice(ages(), RULES)
    assert first.age(ahead, 7) is None
    found = first.ahead.renewed()
    assert found.find(7) == LIVED // MICROSECOND
    later = first.after(3 * DAY)
    assert Notice(later.ages, RULES, ahead=found).age(ahead, 7) == 3 * DAY
    assert later.age(ahead, 8) is None


def test_age_of_future_stamp_that_was_announced_still_counts_from_when_it_was_found() -> None:
    """Its announcement does not make it younger."""
    ahead, found = NOW + 400 * DAY, Noted()
    found.note(7, lived_at(24 * DAY))
    notice = Notice(ages(), RULES, ahead=found.renewed())
    assert notice.age(ahead, 7, lived_at(DAY)) == 24 * DAY
    assert len(notice.ahead.renewed()) == 1


def test_age_of_future_stamp_is_not_noted_while_the_clock_is_in_doubt() -> None:
    """A clock that is behind makes each stamp look ahead."""
    notice = Notice(ages(doubted=True), RULES)
    assert notice.age(NOW + DAY, 7) is None
    assert notice.ahead.renewed().find(7) is None


# What a run need not look at ------------------------------------------------------------------------------------


def test_staying_of_run_that_waits_begins_before_the_lead() -> None:
    """What is due has to be looked at, what is younger need not be; what does not wait only looks for the expired."""
    policy = RetentionPolicy()
    last = LastRun(0, 0, 0, RULES)
    waiting, at_once = Notice(ages(), RULES, last).staying(policy), Notice(ages(), RULES, waits=False).staying(policy)
    assert waiting is not None
    assert at_once is not None
    assert (waiting.since, waiting.due_since) == (NOW - TTL + LEAD, NOW - TTL)
    assert at_once.since == NOW - TTL
    assert at_once.due is None
    tightened = Notice(ages(), RULES, LastRun(0, 0, 0, replace(RULES, ttl=TTL + DAY))).staying(policy)
    assert tightened is not None
    assert tightened.due is None, "each is looked at: what was announced goes sooner now"


@pytest.mark.parametrize("rules", [{"ttl_by_channel": {"web": None}}, {"ttl": None}])
def test_staying_with_several_ttls_or_none_spares_nothing_that_is_due(rules: dict[str, None]) -> None:
    """Only where one TTL holds for all does the announced session's time say that it stays."""
    staying = Notice(ages(), RULES).staying(RetentionPolicy(**rules))  # type: ignore[arg-type]
    assert staying is not None
    assert staying.due is None


# What was noted -------------------------------------------------------------------------------------------------


def test_noted_keeps_what_was_found_again_and_what_was_added() -> None:
    """What a run does not note again is gone, was used, or is not due any more."""
    first = Noted()
    first.note(5, 10 * SECOND)
    first.note(9, 10 * SECOND)
    assert (len(first), first.find(5), first.count_renewed()) == (0, None, 2)
    second = first.renewed()
    assert len(second) == 2
    assert second.find(5) == second.find(9) == 10 * SECOND
    second.note(5, 20 * SECOND)
    second.note(1, 20 * SECOND)
    third = second.renewed()
    assert [third.find(which) for which in (1, 5, 9)] == [20 * SECOND, 10 * SECOND, None]
    assert second.count_renewed() == len(third) == 2


def test_noted_rounds_times_up() -> None:
    """No notice is shorter for being kept in whole seconds."""
    noted = Noted()
    noted.note(1, 10 * SECOND + 1)
    assert noted.renewed().find(1) == 11 * SECOND


def test_noted_view_shares_what_is_known_and_not_what_is_found() -> None:
    """A dry run that looks at the list takes no note in it."""
    noted = Noted()
    noted.note(1, SECOND)
    noted = noted.renewed()
    view = noted.view()
    assert view.keep(1)
    assert not view.keep(2)
    view.note(2, SECOND)
    assert (len(view.renewed()), len(noted.renewed())) == (2, 0)


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)))
def test_noted_of_any_size_is_16_bytes_each_and_the_same_when_decoded(found: dict[int, int]) -> None:
    """A hundred thousand sessions take 1.6 megabytes, in any order in which they were found."""
    noted = Noted()
    for which, seconds in found.items():
        noted.note(which, seconds * SECOND)
    data = noted.renewed().encoded()
    assert len(data) == 16 * len(found)
    decoded = Noted.decoded(data)
    assert {which: decoded.find(which) for which in found} == {which: each * SECOND for which, each in found.items()}
    assert len(decoded) == len(found)
    for other in {which ^ 1 for which in found} - found.keys():
        assert decoded.find(other) is None


@pytest.mark.parametrize("length", [1, 11, 13])
def test_noted_decoded_of_wrong_length_is_refused(length: int) -> None:
    """What is torn is no list."""
    with pytest.raises(ValueError, match="length"):
        Noted.decoded(b"x" * length)
