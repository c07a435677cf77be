"""The retention rule: older than the TTL goes, everything else stays."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.entries import StoredSession
from miniclaw.session.retention.policy import (
    SESSION_TTL_DAYS,
    PlanRow,
    PolicyError,
    Reason,
    RetentionPolicy,
    plan_retention,
)
from miniclaw.session.retention.timeline import SECOND, TOLERANCE
from miniclaw.session.types import Session, SessionHeader
from tests.fakes.moments import ages_at

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TTL = timedelta(days=30)


def stored(age: timedelta, channel: str = "web", number: int = 1) -> StoredSession:
    session_id = f"{channel}_{number}"
    return StoredSession(f"{session_id}.json", 100, SessionHeader(session_id, channel, str(number), NOW - age))


def plan(*sessions: StoredSession, policy: RetentionPolicy | None = None) -> list[PlanRow]:
    return list(plan_retention(sessions, policy or RetentionPolicy(), ages_at(NOW)))


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (timedelta(days=31), "ttl"),
        (TTL + MICROSECOND, "ttl"),
        (TTL, "within_ttl"),
        (TTL - MICROSECOND, "within_ttl"),
        (timedelta(days=29), "within_ttl"),
        (timedelta(0), "within_ttl"),
        (timedelta(days=36_500), "ttl"),
    ],
)
def test_plan_retention_at_the_default_ttl_removes_only_what_is_older(age: timedelta, reason: Reason) -> None:
    """Thirty days are kept to the microsecond; one microsecond more and the session may go."""
    [row] = plan(stored(age))
    assert (row.reason, row.removes, row.age) == (reason, reason == "ttl", age)


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [
        (MICROSECOND, "within_ttl"),
        (timedelta(minutes=5), "within_ttl"),
        (timedelta(minutes=5) + MICROSECOND, "future"),
        (timedelta(days=10_000), "future"),
    ],
)
def test_plan_retention_of_future_session_keeps_and_reports_it(ahead: timedelta, reason: Reason) -> None:
    """A time in the future is never a reason to remove, and is reported beyond five minutes; within them it counts as now."""
    [row] = plan(stored(-ahead))
    assert (row.reason, row.removes, row.age) == (reason, False, -ahead if reason == "future" else timedelta(0))


def test_judge_of_extreme_times_does_not_fail() -> None:
    """The first and the last instant that a time can say are judged like any other."""
    policy = RetentionPolicy()
    for last_accessed, reason in [
        (datetime.min.replace(tzinfo=UTC), "ttl"),
        (datetime.fromisoformat("0001-01-01T00:00:00+23:00"), "ttl"),
        (datetime.max.replace(tzinfo=UTC), "future"),
        (datetime.fromisoformat("9999-12-31T23:59:59-23:00"), "future"),
    ]:
        assert (
            policy.judge(SessionHeader("web_1", "web", "1", last_accessed), ages_at(NOW).age(last_accessed)) == reason
        )


def test_judge_with_other_offsets_goes_by_the_instant() -> None:
    """An offset changes how a time is written and not how old it is."""
    exactly = datetime.fromisoformat("2026-10-24T22:30:00+10:30")
    assert NOW - exactly == TTL
    header = SessionHeader("web_1", "web", "1", exactly)
    assert not RetentionPolicy().is_expired(header, ages_at(NOW))
    assert RetentionPolicy().is_expired(header, ages_at(NOW + MICROSECOND))


@pytest.mark.parametrize(("age", "expired"), [(TTL, False), (TTL + MICROSECOND, True), (-TTL, False)])
def test_is_expired_of_session_and_header_agree(age: timedelta, expired: bool) -> None:
    """A live session and its file's header are judged alike, by last_accessed and not by created_at."""
    policy = RetentionPolicy()
    session = Session("web_1", "web", "1", NOW - timedelta(days=900), NOW - age)
    assert policy.is_expired(session, ages_at(NOW)) == policy.is_expired(stored(age).header, ages_at(NOW)) == expired


def test_plan_retention_by_channel_prefers_the_channels_ttl() -> None:
    """A channel's own TTL counts instead of the general one, whether it is shorter, longer or never."""
    week, year = timedelta(days=7), timedelta(days=365)
    policy = RetentionPolicy(ttl_by_channel={"web": week, "mail": year, "diary": None})
    ages = [week, week + MICROSECOND, TTL + MICROSECOND, year + MICROSECOND]
    reasons = {
        channel: [row.reason for row in plan(*(stored(age, channel) for age in ages), policy=policy)]
        for channel in ("web", "mail", "diary", "other")
    }
    assert reasons == {
        "web": ["within_ttl", "ttl", "ttl", "ttl"],
        "mail": ["within_ttl", "within_ttl", "within_ttl", "ttl"],
        "diary": ["never"] * 4,
        "other": ["within_ttl", "within_ttl", "ttl", "ttl"],
    }


def test_plan_retention_with_never_removes_nothing_but_by_channel() -> None:
    """Without a general TTL only the channels that have one of their own lose sessions."""
    policy = RetentionPolicy(ttl=None, ttl_by_channel={"web": TTL})
    old = timedelta(days=9_000)
    assert [row.reason for row in plan(stored(old, "web"), stored(old, "mail"), policy=policy)] == ["ttl", "never"]


def test_plan_retention_of_future_session_that_never_expires_reports_it() -> None:
    """A wrong clock is reported also where no TTL applies."""
    [row] = plan(stored(-timedelta(days=1)), policy=RetentionPolicy(ttl=None))
    assert row.reason == "future"


@pytest.mark.parametrize("ttl", [timedelta(0), -MICROSECOND, timedelta(days=-30), timedelta.min])
def test_retention_policy_with_zero_or_negative_ttl_is_refused(ttl: timedelta) -> None:
    """No value means "remove everything": the general TTL and a channel's are refused by name."""
    with pytest.raises(ValueError, match=r"^ttl: "):
        RetentionPolicy(ttl=ttl)
    with pytest.raises(ValueError, match=r"^ttl_by_channel\.web: "):
        RetentionPolicy(ttl=None, ttl_by_channel={"mail": TTL, "web": ttl})


def test_retention_policy_defaults_to_30_days() -> None:
    """Unless configured otherwise, the TTL of every channel is thirty days."""
    assert SESSION_TTL_DAYS == 30
    assert RetentionPolicy().ttl_of("web") == timedelta(days=30)
    assert TOLERANCE == 5 * 60 * SECOND


DAY = timedelta(days=1)


@pytest.mark.parametrize("ttl", [TTL, None])
def test_judge_of_pinned_session_keeps_it_at_any_age(ttl: timedelta | None) -> None:
    """A pin is before every TTL; only a time in the future is told before it, for a wrong clock is to be known."""
    policy = RetentionPolicy(ttl=ttl)
    for age, reason in [(9_000 * DAY, "pinned"), (timedelta(0), "pinned"), (-DAY, "future")]:
        header = SessionHeader("web_1", "web", "1", NOW - age, pinned=True)
        session = Session("web_1", "web", "1", NOW, NOW - age, pinned=True)
        known = None if age < timedelta(0) else age
        assert policy.judge(header, known) == policy.judge(session, known) == reason
        assert not policy.is_expired(header, ages_at(NOW))
        [row] = plan(StoredSession("web_1.json", 1, header), policy=policy)
        assert (row.reason, row.removes) == (reason, False)


NO_COUNTS: list[Any] = [0, -1, True, 1.5, "5", "never", math.nan, []]
NO_DURATIONS: list[Any] = [timedelta(0), -DAY, 30, "30d", True, math.nan]
NO_FRACTIONS: list[Any] = [0.0, 1.0, -0.5, 1.5, math.nan, math.inf, 1, 0, True, "0.5"]
SENSELESS = [
    *product(["max_sessions", "max_disk_bytes", "low_water", "min_free_disk"], NO_COUNTS),
    *product(["ttl", "min_idle", "trash_for", "quarantine_for"], NO_DURATIONS),
    *product(["max_removed_fraction"], NO_FRACTIONS),
]


@pytest.mark.parametrize(("name", "wrong"), SENSELESS)
def test_retention_policy_of_senseless_value_is_refused_by_name(name: str, wrong: Any) -> None:
    """Zero, negative, bool, text, NaN: each rule refuses them by its name, and none falls back to anything."""
    with pytest.raises(PolicyError, match=f"^{name}: ") as caught:
        RetentionPolicy(**{name: wrong})
    assert (caught.value.attribute, isinstance(caught.value, ValueError)) == (name, True)


@pytest.mark.parametrize(
    ("rules", "attribute", "other"),
    [
        ({"low_water": 5}, "low_water", "max_disk_bytes"),
        ({"low_water": 5, "max_disk_bytes": 5}, "low_water", "max_disk_bytes"),
        ({"low_water": 6, "max_disk_bytes": 5}, "low_water", "max_disk_bytes"),
        ({"min_idle": TTL + MICROSECOND}, "min_idle", "ttl"),
        ({"min_idle": 2 * DAY, "ttl_by_channel": {"web": DAY}}, "min_idle", "ttl_by_channel.web"),
    ],
)
def test_retention_policy_of_rules_that_contradict_each_other_is_refused_by_both_names(
    rules: dict[str, Any], attribute: str, other: str
) -> None:
    """What cannot be meant together is refused, with the names of both."""
    with pytest.raises(PolicyError, match=re.escape(other)) as caught:
        RetentionPolicy(**rules)
    assert caught.value.attribute == attribute


def test_retention_policy_of_rules_that_only_just_agree_is_taken() -> None:
    """`min_idle` may be as long as the TTL, and a TTL shorter than the default `min_idle` is nobody's mistake."""
    assert RetentionPolicy(min_idle=TTL).least_idle == TTL
    assert RetentionPolicy(min_idle=90 * DAY, ttl=None).least_idle == 90 * DAY
    assert RetentionPolicy(ttl=timedelta(hours=1)).least_idle == timedelta(hours=24)
    assert RetentionPolicy(low_water=4, max_disk_bytes=5).low_water_bytes == 4
    assert RetentionPolicy(max_disk_bytes=1_000).low_water_bytes == 900
    assert RetentionPolicy().low_water_bytes is None


def test_retention_policy_trashes_only_what_no_disk_budget_takes() -> None:
    """With a trash, what goes by age or number is kept in it; what goes for the room is not."""
    reasons: list[Reason] = ["ttl", "max_sessions", "max_disk_bytes", "min_free_disk"]
    assert [RetentionPolicy(trash_for=DAY).trashes(reason) for reason in reasons] == [True, True, False, False]
    assert not any(RetentionPolicy().trashes(reason) for reason in reasons)


AGES = st.one_of(
    st.timedeltas(timedelta(days=-400), timedelta(days=400)),
    st.builds(lambda days, off: timedelta(days=days, microseconds=off), st.integers(-1, 60), st.integers(-1, 1)),
)
TTLS = st.one_of(
    st.none(),
    st.timedeltas(MICROSECOND, timedelta(days=400)),
    st.integers(1, 60).map(lambda days: timedelta(days=days)),
)
CHANNEL = st.sampled_from(["web", "mail", "diary"])


@given(st.lists(st.tuples(AGES, CHANNEL)), TTLS, st.dictionaries(CHANNEL, TTLS))
def test_plan_retention_removes_exactly_what_is_older_than_its_ttl(
    sessions: list[tuple[timedelta, str]], ttl: timedelta | None, by_channel: dict[str, timedelta | None]
) -> None:
    """For any sessions and rules, exactly those with age > ttl go, and every session has one row, in order."""
    listed = [stored(age, channel, number) for number, (age, channel) in enumerate(sessions)]
    rows = plan(*listed, policy=RetentionPolicy(ttl=ttl, ttl_by_channel=by_channel))
    assert [row.session for row in rows] == listed
    for row, (age, channel) in zip(rows, sessions, strict=True):
        limit = by_channel.get(channel, ttl)
        assert row.removes == (limit is not None and age > limit)


def test_plan_retention_is_lazy() -> None:
    """Sessions are consumed one by one, so that a plan over many needs no memory for them."""
    taken: list[int] = []

    def source() -> Iterator[StoredSession]:
        for number in range(3):
            taken.append(number)
            yield stored(TTL, number=number)

    rows = iter(plan_retention(source(), RetentionPolicy(), ages_at(NOW)))
    assert taken == []
    next(rows)
    assert taken == [0]
