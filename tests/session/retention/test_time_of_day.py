"""A time of day comes once a day, whatever is done to the clock."""

from __future__ import annotations

import os
import time as system_time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.retention.schedule import latest_time_of_day, next_time_of_day

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time
APIA = ZoneInfo("Pacific/Apia")  # which left out 30 December 2011
HAVANA = ZoneInfo("America/Havana")  # whose clock jumps at midnight
ZONES = [BERLIN, ZoneInfo("America/New_York"), LORD_HOWE, APIA, HAVANA, UTC, timezone(timedelta(hours=5, minutes=45))]

zones = st.sampled_from(ZONES)
times = st.times() | st.builds(time, st.sampled_from([0, 1, 2, 3, 23]), st.integers(0, 59))
FROM, TO = datetime(2005, 1, 1), datetime(2037, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
moments = st.datetimes(FROM, TO, timezones=st.just(UTC)) | st.builds(
    lambda start, offset: start + offset,
    st.sampled_from(
        [
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            datetime(2026, 10, 25, 1, tzinfo=UTC),
            datetime(2026, 3, 8, 7, tzinfo=UTC),
            datetime(2026, 11, 1, 6, tzinfo=UTC),
            datetime(2026, 4, 4, 15, tzinfo=UTC),
            datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
            datetime(2011, 12, 30, 10, tzinfo=UTC),
        ]
    ),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
)


def local(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "at", "zone", "expected"),
    [
        ("2026-11-23 12:00", "04:00", UTC, "2026-11-24 04:00"),
        ("2026-11-23 03:59:59.999999", "04:00", UTC, "2026-11-23 04:00"),
        ("2026-11-23 04:00", "04:00", UTC, "2026-11-24 04:00"),
        ("2026-11-23 12:00", "04:00", BERLIN, "2026-11-24 03:00"),
        ("2026-07-23 12:00", "04:00", BERLIN, "2026-07-24 02:00"),
        # 29 March 2026: 02:00 becomes 03:00, at 01:00 UTC
        ("2026-03-29 00:00", "02:00", BERLIN, "2026-03-29 01:00"),
        ("2026-03-29 00:00", "02:30", BERLIN, "2026-03-29 01:00"),
        ("2026-03-29 00:00", "02:59:59.999999", BERLIN, "2026-03-29 01:00"),
        ("2026-03-29 00:00", "03:00", BERLIN, "2026-03-29 01:00"),
        ("2026-03-29 01:00", "02:30", BERLIN, "2026-03-30 00:30"),
        # 25 October 2026: 03:00 becomes 02:00, at 01:00 UTC
        ("2026-10-25 00:00", "02:30", BERLIN, "2026-10-25 00:30"),
        ("2026-10-25 00:30", "02:30", BERLIN, "2026-10-26 01:30"),
        ("2026-10-25 01:00", "02:30", BERLIN, "2026-10-26 01:30"),
        ("2026-10-25 00:00", "03:00", BERLIN, "2026-10-25 02:00"),
        # 4 October 2026: 02:00 becomes 02:30, at 15:30 UTC the day before; 5 April: 02:00 becomes 01:30
        ("2026-10-03 12:00", "02:15", LORD_HOWE, "2026-10-03 15:30"),
        ("2026-04-04 12:00", "01:45", LORD_HOWE, "2026-04-04 14:45"),
        ("2026-04-04 14:45", "01:45", LORD_HOWE, "2026-04-05 15:15"),
        # after 29 December 2011, 23:59:59 comes the 31st
        ("2011-12-29 14:00", "04:00", APIA, "2011-12-30 14:00"),
        # 8 March 2026: 00:00 becomes 01:00, at 05:00 UTC
        ("2026-03-08 04:00", "00:30", HAVANA, "2026-03-08 05:00"),
    ],
)
def test_next_time_of_day_of_special_days_is_the_documented_moment(
    now: str, at: str, zone: tzinfo, expected: str
) -> None:
    """Jumped over, it is the moment of the jump; coming twice, it is the first; on a day left out there is none."""
    assert next_time_of_day(utc(now), time.fromisoformat(at), zone) == utc(expected)


@given(moments, times, zones)
def test_next_time_of_day_comes_exactly_once_for_each_local_day(now: datetime, at: time, zone: tzinfo) -> None:
    """Of ten moments in a row each belongs to the local day after the last one's, days left out excepted."""
    runs = [now]
    for _ in range(10):
        runs.append(next_time_of_day(runs[-1], at, zone))
    runs.pop(0)
    days = [local(run, zone).date() for run in runs]
    for (run, following), (day, next_day) in zip(pairwise(runs), pairwise(days), strict=True):
        assert run < following
        assert run.utcoffset() == timedelta(0)
        left_out = zone is APIA and day == date(2011, 12, 29)
        assert next_day - day == timedelta(days=2 if left_out else 1)


@given(moments, times, zones)
def test_next_time_of_day_is_the_first_instant_at_which_the_clock_shows_it(
    now: datetime, at: time, zone: tzinfo
) -> None:
    """At the moment the local clock shows the time, or has just jumped over it; never before, that day."""
    run = next_time_of_day(now, at, zone)
    assert now < run <= now + timedelta(hours=49)
    wanted = datetime.combine(local(run, zone).date(), at)
    assert local(run, zone) >= wanted
    if local(run, zone) > wanted:
        assert local(run - timedelta(microseconds=1), zone) < wanted  # jumped
    for hours in range(1, 5):  # no earlier instant of that day showed it
        earlier = local(run - timedelta(minutes=30 * hours), zone)
        assert earlier < wanted


@given(moments, times, zones)
def test_latest_time_of_day_is_the_one_before_the_next(now: datetime, at: time, zone: tzinfo) -> None:
    """Between the latest and the next there is none, and now lies between them, or is the latest."""
    latest = latest_time_of_day(now, at, zone)
    assert latest <= now < next_time_of_day(now, at, zone) == next_time_of_day(latest, at, zone)


@contextmanager
def system_zone(name: str) -> Iterator[None]:
    try:
        with patch.dict(os.environ, TZ=name):
            system_time.tzset()
            yield
    finally:
        system_time.tzset()


@pytest.mark.parametrize(
    ("now", "at", "expected"),
    [
        ("2026-03-29 00:00", "02:30", "2026-03-29 01:00"),
        ("2026-10-25 00:00", "02:30", "2026-10-25 00:30"),
        ("2026-10-25 01:00", "02:30", "2026-10-26 01:30"),
        ("2026-11-23 12:00", "04:00", "2026-11-24 03:00"),
    ],
)
def test_next_time_of_day_without_zone_is_where_the_machine_is(now: str, at: str, expected: str) -> None:
    """The system's own zone is used, by the rule that it carries in TZ, whether or not there is a database of zones."""
    with system_zone("CET-1CEST,M3.5.0,M10.5.0/3"):
        assert next_time_of_day(utc(now), time.fromisoformat(at)) == utc(expected)


def test_next_time_of_day_of_naive_now_or_aware_time_is_refused() -> None:
    """A time without a zone is no instant, and a time of day with one would contradict the zone that is given."""
    for now, at in [(datetime(2026, 11, 23), time(4)), (utc("2026-11-23"), time(4, tzinfo=UTC))]:  # noqa: DTZ001
        with pytest.raises(ValueError, match="now is aware, the time of day naive"):
            next_time_of_day(now, at)
