"""When the cleanup runs, and when it announces before it removes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.retention.schedule import (
    ANNOUNCE_PERIOD,
    CLEANUP_INTERVAL_SECS,
    CLOCK_SLACK,
    ClockWatch,
    absence_limit,
    announced,
    corrected,
    decide,
    delay_until_next_run,
    delay_until_time_of_day,
    was_long_absent,
)
from miniclaw.session.state import Announcement, CleanupState, Suspicion
from tests.fakes.clock import WallClock

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
SUSPICIONS: list[Suspicion] = ["first_sweep", "clock_ran_ahead", "long_absence"]


def last_run(at: datetime) -> CleanupState:
    return CleanupState(last_run_at=at)


def announcement(at: datetime, *, last_run_at: datetime | None = None) -> CleanupState:
    return CleanupState(last_run_at=last_run_at, announcement=Announcement(at, "first_sweep"))


def test_corrected_takes_times_from_a_wrong_clock_for_now() -> None:
    """A time in the future is one of a wrong clock: from now on it counts as now, so that no restart postpones a run."""
    ahead = NOW + timedelta(days=900)
    wrong = CleanupState(ahead, Announcement(ahead, "first_sweep"), "held")
    assert corrected(wrong, NOW) == CleanupState(NOW, Announcement(NOW, "first_sweep"), "held")
    right = CleanupState(NOW - timedelta(days=1), Announcement(NOW, "long_absence"))
    assert corrected(right, NOW) == right
    assert corrected(CleanupState(), NOW) == CleanupState()


def test_constants_are_one_day() -> None:
    """The cleanup runs every 24 hours, an announcement leads the removal by 24 hours, a day's step is no suspicion."""
    assert CLEANUP_INTERVAL_SECS == 86_400
    assert ANNOUNCE_PERIOD == CLOCK_SLACK == timedelta(hours=24)


@pytest.mark.parametrize(
    ("ttl", "limit"),
    [
        (None, None),
        (timedelta(days=30), timedelta(days=15)),
        (timedelta(days=2) + 2 * MICROSECOND, DAY + MICROSECOND),
        (timedelta(days=2), DAY),
        (timedelta(hours=6), DAY),
        (MICROSECOND, DAY),
    ],
)
def test_absence_limit_is_half_the_ttl_and_a_day_at_least(ttl: timedelta | None, limit: timedelta | None) -> None:
    """Half of the TTL, never less than a day, and none where nothing expires."""
    assert absence_limit(ttl) == limit


@pytest.mark.parametrize(
    ("absence", "ttl", "long"),
    [
        (timedelta(days=15), timedelta(days=30), False),
        (timedelta(days=15) + MICROSECOND, timedelta(days=30), True),
        (DAY, HOUR, False),
        (DAY + MICROSECOND, HOUR, True),
        (timedelta(days=10_000), None, False),
        (-timedelta(days=10_000), HOUR, False),
    ],
)
def test_was_long_absent_only_beyond_the_limit(absence: timedelta, ttl: timedelta | None, long: bool) -> None:
    """Exactly the limit is plausible; one microsecond more is not; a clock set back is no absence."""
    assert was_long_absent(NOW - absence, NOW, ttl) == long


def test_was_long_absent_without_last_seen_is_false() -> None:
    """What is not known is no absence."""
    assert not was_long_absent(None, NOW, HOUR)


def test_delay_of_never_swept_workspace_is_zero() -> None:
    """The first run is due at once."""
    assert delay_until_next_run(CleanupState(), NOW, DAY) == timedelta(0)


FOUR = time(4)


@pytest.mark.parametrize(
    ("last", "delay"),
    [
        (NOW.replace(hour=4), 16 * HOUR),
        (NOW.replace(hour=4) - MICROSECOND, timedelta(0)),
        (NOW - DAY, timedelta(0)),
        (NOW - timedelta(days=400), timedelta(0)),
        (NOW, 16 * HOUR),
        (NOW + timedelta(days=400), 16 * HOUR),
    ],
)
def test_delay_until_time_of_day_catches_up_what_was_missed_and_else_waits_for_the_next(
    last: datetime, delay: timedelta
) -> None:
    """A run at or after today's time has done today's; one before it has not; the future delays by a day at most."""
    assert delay_until_time_of_day(last_run(last), NOW, FOUR, UTC) == delay


def test_delay_until_time_of_day_of_never_swept_workspace_is_zero() -> None:
    """The first run is due at once, whatever the time of day."""
    assert delay_until_time_of_day(CleanupState(), NOW, FOUR, UTC) == timedelta(0)


@pytest.mark.parametrize(
    ("ago", "delay"), [(timedelta(0), DAY), (23 * HOUR, HOUR), (DAY, timedelta(0)), (-3 * DAY, DAY)]
)
def test_delay_until_time_of_day_after_announcement_is_its_period(ago: timedelta, delay: timedelta) -> None:
    """What was announced goes after 24 hours, and not at the next time of day before."""
    state = announcement(NOW - ago, last_run_at=NOW - timedelta(days=9))
    assert delay_until_time_of_day(state, NOW, FOUR, UTC) == delay


@pytest.mark.parametrize(
    ("ago", "delay"),
    [
        (timedelta(0), DAY),
        (HOUR, 23 * HOUR),
        (DAY - MICROSECOND, MICROSECOND),
        (DAY, timedelta(0)),
        (DAY + MICROSECOND, timedelta(0)),
        (timedelta(days=9_000), timedelta(0)),
        (-MICROSECOND, DAY),
        (-timedelta(days=9_000), DAY),
    ],
)
def test_delay_counts_from_the_last_run_and_never_exceeds_a_period(ago: timedelta, delay: timedelta) -> None:
    """A restart neither postpones nor multiplies runs; a time in the future delays by one interval at most."""
    assert delay_until_next_run(last_run(NOW - ago), NOW, DAY) == delay


def test_delay_uses_the_configured_interval() -> None:
    """The interval is the caller's."""
    assert delay_until_next_run(last_run(NOW - HOUR), NOW, 3 * HOUR) == 2 * HOUR


@pytest.mark.parametrize("interval", [MICROSECOND, HOUR, timedelta(days=90)])
def test_delay_of_announcement_is_its_own_period(interval: timedelta) -> None:
    """From an announcement to the removal it is 24 hours, whatever the interval and the last run."""
    for last_run_at in (None, NOW - timedelta(days=400), NOW):
        for ago, delay in [(HOUR, 23 * HOUR), (DAY, timedelta(0)), (2 * DAY, timedelta(0)), (-9_000 * DAY, DAY)]:
            state = announcement(NOW - ago, last_run_at=last_run_at)
            assert delay_until_next_run(state, NOW, interval) == delay


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES, TIMES, st.timedeltas(MICROSECOND, timedelta(days=400)))
def test_delay_is_always_within_one_period(at: datetime, now: datetime, interval: timedelta) -> None:
    """No times on the disk, however wrong, make a delay negative or longer than one period."""
    assert timedelta(0) <= delay_until_next_run(last_run(at), now, interval) <= interval
    assert timedelta(0) <= delay_until_next_run(announcement(at), now, interval) <= ANNOUNCE_PERIOD


@pytest.mark.parametrize("suspicion", SUSPICIONS)
def test_decide_with_suspicion_announces_it(suspicion: Suspicion) -> None:
    """What has been noticed of the clock goes before everything that is known of earlier runs."""
    for state in (CleanupState(), last_run(NOW), announcement(NOW)):
        assert decide(state, suspicion) == suspicion


def test_decide_on_never_swept_workspace_announces_first_sweep() -> None:
    """Where nothing is known, nothing is removed."""
    assert decide(CleanupState(), None) == "first_sweep"


@pytest.mark.parametrize(
    "state", [last_run(NOW), announcement(NOW), announcement(NOW, last_run_at=NOW)], ids=["run", "announced", "both"]
)
def test_decide_after_a_run_or_announcement_removes(state: CleanupState) -> None:
    """A run after a run, and one after an announcement, is free to remove."""
    assert decide(state, None) == "remove"


@pytest.mark.parametrize("reason", SUSPICIONS)
def test_announced_keeps_the_last_run(reason: Suspicion) -> None:
    """An announcement replaces an earlier one and leaves the time of the last run alone."""
    before = announcement(NOW - 5 * DAY, last_run_at=NOW - 3 * DAY)
    after = announced(NOW, reason, before)
    assert after == CleanupState(last_run_at=NOW - 3 * DAY, announcement=Announcement(NOW, reason))


@pytest.mark.parametrize("reason", SUSPICIONS)
def test_announced_state_of_first_sweep_is_followed_by_removal(reason: Suspicion) -> None:
    """After the first announcement the state differs from the empty one, so that the next run removes."""
    state = announced(NOW, reason, CleanupState())
    assert decide(state, None) == "remove"
    assert delay_until_next_run(state, NOW, HOUR) == ANNOUNCE_PERIOD


class Monotonic:
    """A monotonic clock that is moved by hand."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def monotonic() -> Monotonic:
    """A monotonic clock that stands still until it is moved."""
    return Monotonic(1_000.0)


def test_clock_watch_of_clocks_in_step_notices_nothing(clock: WallClock, monotonic: Monotonic) -> None:
    """However long a program runs, clocks that go together are not suspicious."""
    watch = ClockWatch(clock, monotonic)
    assert not watch.ran_ahead()
    clock.move(days=400)
    monotonic.seconds += 400 * 86_400
    assert not watch.ran_ahead()


@pytest.mark.parametrize(
    ("jump", "ahead"),
    [(DAY, False), (DAY + MICROSECOND, True), (365 * DAY, True), (-365 * DAY, False)],
)
def test_clock_watch_after_jump_notices_more_than_a_day_ahead(
    clock: WallClock, monotonic: Monotonic, jump: timedelta, ahead: bool
) -> None:
    """A step of more than a day ahead of the monotonic clock is noticed; a day's, and one back, are not."""
    watch = ClockWatch(clock, monotonic)
    clock.now += jump + HOUR
    monotonic.seconds += 3_600
    assert watch.ran_ahead() == ahead
    assert watch.ran_ahead() == ahead


def test_clock_watch_of_many_small_steps_notices_their_sum(clock: WallClock, monotonic: Monotonic) -> None:
    """Steps that are harmless one by one are noticed when together they exceed a day."""
    watch = ClockWatch(clock, monotonic)
    noticed = []
    for _ in range(4):
        clock.move(hours=8)
        noticed.append(watch.ran_ahead())
    assert noticed == [False, False, False, True]


def test_clock_watch_of_suspended_machine_notices_it(clock: WallClock, monotonic: Monotonic) -> None:
    """Time that the monotonic clock did not count looks like a clock that ran ahead."""
    watch = ClockWatch(clock, monotonic)
    clock.move(days=3)
    monotonic.seconds += 86_400
    assert watch.ran_ahead()


def test_clock_watch_after_rebase_starts_anew(clock: WallClock, monotonic: Monotonic) -> None:
    """What lies before the new base is forgotten, and what comes after it is noticed."""
    watch = ClockWatch(clock, monotonic)
    clock.move(days=30)
    monotonic.seconds += 5
    watch.rebase()
    assert not watch.ran_ahead()
    clock.move(days=1, microseconds=1)
    assert watch.ran_ahead()
