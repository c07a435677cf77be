"""When the daily cleanup runs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.clock import MICROSECOND, to_microseconds
from miniclaw.session.retention.notice import LastRun, Rules
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS, SETTLING, Schedule
from miniclaw.session.retention.timeline import Ages, Frame

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
UP_FOR_LONG = DAY // MICROSECOND
DAILY = Schedule(DAY)
AT_FOUR = Schedule(None, time(4), UTC)


def moment(*, at: datetime = NOW, lived: timedelta = timedelta(0)) -> Ages:
    """Return a moment at which so much time was witnessed."""
    present = to_microseconds(at)
    return Ages(present, lived // MICROSECOND, present, (Frame(0, present, present),))


def run(at: datetime, lived: timedelta = timedelta(0)) -> LastRun:
    """Return a run at a time of the wall clock, when so much time was witnessed."""
    return LastRun(to_microseconds(at), lived // MICROSECOND, to_microseconds(at), Rules(DAY))


def delay(schedule: Schedule, ages: Ages, last: LastRun | None) -> timedelta | None:
    return schedule.delay(ages, last, UP_FOR_LONG)


def test_constants_are_a_day_and_a_quarter_of_an_hour() -> None:
    """The cleanup runs every 24 hours, and in no machine's first 15 minutes."""
    assert CLEANUP_INTERVAL_SECS == 86_400
    assert timedelta(minutes=15) == SETTLING


@pytest.mark.parametrize("schedule", [DAILY, AT_FOUR])
def test_delay_without_earlier_run_is_zero(schedule: Schedule) -> None:
    """The first run is due at once, whatever the time of day."""
    assert delay(schedule, moment(), None) == timedelta(0)


def test_delay_without_interval_is_none() -> None:
    """Switched off, no run comes by itself."""
    off = Schedule(None)
    assert (off.interval, delay(off, moment(), None), delay(off, moment(), run(NOW))) == (None, None, None)


def test_interval_of_time_of_day_is_a_day() -> None:
    """A time of day comes once a day, whatever interval was given."""
    assert AT_FOUR.interval == Schedule(HOUR, time(4)).interval == DAY


@pytest.mark.parametrize(
    ("ago", "witnessed", "expected"),
    [
        (timedelta(0), timedelta(0), DAY),
        (HOUR, HOUR, 23 * HOUR),
        (DAY - MICROSECOND, timedelta(0), MICROSECOND),
        (DAY, timedelta(0), timedelta(0)),
        (timedelta(0), DAY - MICROSECOND, MICROSECOND),
        (timedelta(0), DAY, timedelta(0)),
        (9_000 * DAY, timedelta(0), timedelta(0)),
    ],
)
def test_delay_counts_by_wall_clock_or_witnessed_time_whichever_comes_first(
    ago: timedelta, witnessed: timedelta, expected: timedelta
) -> None:
    """A restart neither postpones nor multiplies runs; a night without power counts, and so does a wrong clock's day."""
    assert delay(DAILY, moment(lived=witnessed), run(NOW - ago)) == expected


@pytest.mark.parametrize("witnessed", [timedelta(0), HOUR])
def test_delay_after_run_in_the_future_counts_by_witnessed_time(witnessed: timedelta) -> None:
    """A run that a wrong clock dated into the future does not hold up the next one for longer than an interval."""
    last = run(NOW + 900 * DAY)
    assert delay(DAILY, moment(lived=witnessed), last) == DAY - witnessed
    assert delay(DAILY, moment(lived=DAY), last) == timedelta(0)


def test_delay_uses_the_configured_interval() -> None:
    """The interval is the caller's."""
    assert delay(Schedule(3 * HOUR), moment(), run(NOW - HOUR)) == 2 * HOUR


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        (timedelta(0), 15 * MINUTE),
        (MINUTE, 14 * MINUTE),
        (15 * MINUTE - MICROSECOND, MICROSECOND),
        (15 * MINUTE, timedelta(0)),
    ],
)
@pytest.mark.parametrize("schedule", [DAILY, AT_FOUR])
def test_delay_of_overdue_run_waits_until_the_machine_has_settled(
    schedule: Schedule, up: timedelta, expected: timedelta
) -> None:
    """A run that is due at the start waits for the first 15 minutes of the machine, in which its clock may be set."""
    for last in (None, run(NOW - 3 * DAY)):
        assert schedule.delay(moment(), last, up // MICROSECOND) == expected


def test_delay_of_later_run_is_not_longer_for_the_start_of_the_machine() -> None:
    """A run that comes after the first 15 minutes anyway is not postponed."""
    assert DAILY.delay(moment(), run(NOW - 23 * HOUR), 0) == HOUR


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (NOW.replace(hour=4), 16 * HOUR),
        (NOW.replace(hour=4) - MICROSECOND, timedelta(0)),
        (NOW - 400 * DAY, timedelta(0)),
        (NOW, 16 * HOUR),
    ],
)
def test_delay_until_time_of_day_catches_up_what_was_missed_and_else_waits_for_the_next(
    last: datetime, expected: timedelta
) -> None:
    """A run at or after today's time has done today's; one before it has not."""
    assert delay(AT_FOUR, moment(), run(last)) == expected


@pytest.mark.parametrize(("witnessed", "expected"), [(HOUR, 16 * HOUR), (9 * HOUR, timedelta(0))])
def test_delay_until_time_of_day_after_run_in_the_future_goes_by_witnessed_time(
    witnessed: timedelta, expected: timedelta
) -> None:
    """A run that is dated into the future has done today's only if it was witnessed after today's time."""
    assert delay(AT_FOUR, moment(lived=witnessed), run(NOW + 400 * DAY)) == expected


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SPANS = st.timedeltas(timedelta(0), timedelta(days=9_000))


@given(TIMES, TIMES, SPANS, SPANS, st.timedeltas(MICROSECOND, timedelta(days=400)))
def test_delay_is_always_within_one_interval(
    last: datetime, now: datetime, before: timedelta, since: timedelta, interval: timedelta
) -> None:
    """No times on the disk, however wrong, make a delay negative or longer than one interval, or one day."""
    ages, then = moment(at=now, lived=before + since), run(last, before)
    every, at = delay(Schedule(interval), ages, then), delay(AT_FOUR, ages, then)
    assert every is not None
    assert at is not None
    assert timedelta(0) <= every <= interval
    assert timedelta(0) <= at <= DAY


@pytest.mark.parametrize(
    ("late", "counts_as"),
    [
        (timedelta(0), timedelta(0)),
        (MINUTE, timedelta(0)),
        (DAY - MICROSECOND, timedelta(0)),
        (DAY, DAY),
        (-HOUR, -HOUR),
    ],
)
def test_due_at_of_late_run_is_when_it_fell_due(late: timedelta, counts_as: timedelta) -> None:
    """A run that begins a little late does not make the next ones later; by a whole interval late, it begins anew."""
    began = run(NOW + DAY + late, DAY + late)
    assert DAILY.due_at(began, run(NOW)) == run(NOW + DAY + counts_as, DAY + counts_as)


def test_due_at_without_interval_or_earlier_run_is_the_run_itself() -> None:
    """At a time of day there is no drift, and a first run was not late."""
    began = run(NOW + DAY + HOUR, DAY + HOUR)
    assert AT_FOUR.due_at(began, run(NOW)) == DAILY.due_at(began, None) == began


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW - DAY, NOW),
        (NOW, NOW),
        (NOW + MICROSECOND, NOW + DAY),
        (NOW + DAY, NOW + DAY),
        (NOW + 30 * DAY + HOUR, NOW + 31 * DAY),
    ],
)
def test_run_from_is_the_first_run_that_is_not_before_the_moment(moment: datetime, expected: datetime) -> None:
    """A run exactly at the moment is the one."""
    assert Schedule(DAY).run_from(NOW, moment) == expected


def test_run_from_of_a_time_of_day_is_that_time_also_where_summer_begins() -> None:
    """Predicted by the calendar, and not by days of 24 hours."""
    schedule = Schedule(None, time(2), ZoneInfo("Europe/Berlin"))
    next_run = datetime(2027, 3, 25, 1, tzinfo=UTC)
    assert schedule.run_from(next_run, datetime(2027, 3, 27, 12, tzinfo=UTC)) == datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert schedule.run_from(next_run, datetime(2027, 3, 28, 12, tzinfo=UTC)) == datetime(2027, 3, 29, 0, tzinfo=UTC)


def test_run_from_without_runs_is_none() -> None:
    """Where no run comes by itself, none comes after any moment."""
    assert Schedule(DAY).run_from(None, NOW) is Schedule(None).run_from(NOW, NOW) is None
