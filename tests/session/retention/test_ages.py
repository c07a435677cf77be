"""How old a stamp is: over jumps of the wall clock, in which frame it was made, and what of that is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.clock import MICROSECOND, from_microseconds
from miniclaw.session.retention.timeline import DAY, KEPT_FRAMES, MAX_FRAMES, TOLERANCE, Ages
from tests.fakes.machine import HOUR, NOW, Machine

MINUTE = HOUR // 60


@pytest.fixture
def machine() -> Machine:
    return Machine()


# Jumps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [400 * DAY, -200 * DAY, TOLERANCE + 1, -TOLERANCE - 1])
def test_age_after_jump_is_the_time_that_passed(machine: Machine, by: int) -> None:
    """A jump within a boot ages nothing and makes nothing younger, but for a few minutes; nor does its correction."""
    machine.passes(10 * DAY)
    machine.jumps(by)
    ahead = machine.clock.now
    machine.passes(DAY)
    assert abs((machine.age(NOW) or 0) - 11 * DAY) <= 2 * TOLERANCE
    assert machine.age(ahead) == DAY
    machine.jumps(-by)
    machine.passes(DAY)
    assert abs((machine.age(NOW) or 0) - 12 * DAY) <= 2 * TOLERANCE
    assert abs((machine.age(ahead) or 0) - 2 * DAY) <= 2 * TOLERANCE


def test_age_of_small_correction_changes_no_frame(machine: Machine) -> None:
    """Five minutes are a correction as any time server makes it."""
    machine.passes(DAY)
    machine.jumps(TOLERANCE)
    machine.jumps(-2 * TOLERANCE)
    assert len(machine.timeline.frames) == 1


def test_age_of_stamp_in_two_frames_is_the_younger(machine: Machine) -> None:
    """After a jump back the same times are shown again: a stamp of them is taken for the younger."""
    machine.passes(10 * DAY)
    machine.jumps(-5 * DAY)
    machine.passes(DAY)
    stamp = NOW + timedelta(days=5, hours=12)
    assert machine.age(stamp) == DAY // 2
    assert not machine.ages.is_plain


def test_age_of_stamp_in_two_frames_that_was_seen_before_the_second_is_the_older(machine: Machine) -> None:
    """What an earlier run has found was not made since then."""
    machine.passes(10 * DAY)
    known = machine.timeline.lived
    machine.jumps(-5 * DAY)
    machine.passes(DAY)
    stamp = NOW + timedelta(days=5, hours=12)
    assert machine.age(stamp, known=known) == 5 * DAY + DAY // 2


def test_age_of_stamp_in_no_frame_is_counted_back_from_the_next_one(machine: Machine) -> None:
    """A stamp from the time of a long gap, made elsewhere, is as old as the wall clock says."""
    machine.reboots(off=40 * DAY)
    assert machine.age(machine.clock.now - timedelta(days=3)) == 3 * DAY


def test_age_of_future_stamp_is_none_until_it_was_seen(machine: Machine) -> None:
    """A stamp ahead of the clock is as old as the time since it was first found; five minutes ahead are now."""
    ahead = NOW + timedelta(days=400)
    assert machine.age(ahead) is None
    assert machine.ages.shown(ahead) == -timedelta(days=400)
    assert machine.age(NOW + TOLERANCE * MICROSECOND) == 0
    found = machine.timeline.lived
    machine.passes(3 * DAY)
    assert machine.age(ahead) is None
    assert machine.age(ahead, known=found) == 3 * DAY


def test_age_of_future_stamp_is_none_while_the_clock_is_behind(machine: Machine) -> None:
    """While the wall clock is not believed no stamp is known to be in the future."""
    ahead, found = NOW + timedelta(days=400), machine.timeline.lived
    machine.reboots(off=0, wrong_by=-20 * DAY)
    machine.passes(HOUR)
    assert machine.age(ahead, known=found) is None
    machine.synchronises()
    assert machine.age(ahead, known=found) == HOUR


def test_drift_begins_another_frame_before_ages_are_wrong_by_more(machine: Machine) -> None:
    """A clock that gains a minute an hour makes a frame every few hours; ages stay right within the tolerance."""
    stamps = []
    for hours in range(48):
        stamps.append((hours, machine.clock.now))
        machine.passes(HOUR)
        machine.jumps(MINUTE)
    assert 4 <= len(machine.timeline.frames) <= 10
    for hours, stamp in stamps:
        assert abs((machine.age(stamp) or 0) - (48 - hours) * HOUR) <= 3 * TOLERANCE


# Frames ---------------------------------------------------------------------------------------------------------


def test_frames_of_clock_that_flaps_begin_at_each_jump(machine: Machine) -> None:
    """A frame has no part of the time in which the clock was elsewhere: another frame may have that."""
    for _ in range(10):
        machine.passes(HOUR)
        machine.jumps(30 * DAY)
        machine.passes(HOUR)
        machine.jumps(-30 * DAY)
    assert len(machine.timeline.frames) == 21
    assert machine.age(NOW) == 20 * HOUR


def test_frames_of_clock_that_flaps_for_ever_are_bounded_and_nothing_is_read_as_older(machine: Machine) -> None:
    """There are 200 frames at the most; a stamp of a merged one is read as the younger, never as older than it is."""
    stamps = []
    for number in range(MAX_FRAMES + 50):
        stamps.append((machine.timeline.count, machine.clock.now))
        machine.passes(HOUR)
        machine.jumps((7 * number % 11 + 1) * DAY)
    assert len(machine.timeline.frames) == MAX_FRAMES
    for made, stamp in stamps:
        age = machine.age(stamp)
        assert age is not None
        assert age <= machine.timeline.count - made
    assert machine.age(stamps[-1][1]) == HOUR


def test_frames_beyond_what_is_kept_are_dropped(machine: Machine) -> None:
    """A frame of which nothing can be left is forgotten, nine days after the longest TTL, at the next jump."""
    machine.jumps(400 * DAY)
    machine.passes(30 * DAY + KEPT_FRAMES)
    machine.clock.jump(days=400)
    machine.look(keeps=30 * DAY)
    assert len(machine.timeline.frames) == 3
    machine.passes(1)
    machine.clock.jump(days=400)
    machine.look(keeps=30 * DAY)
    assert len(machine.timeline.frames) == 3  # the fourth has come, the first has gone


@pytest.mark.parametrize(
    ("by", "is_plain"),
    [(0, True), (2 * TOLERANCE, False), (2 * TOLERANCE + 1, True), (-12 * HOUR, False), (-2 * DAY, True)],
)
def test_is_plain_where_no_stamp_can_lie_in_two_frames(machine: Machine, by: int, is_plain: bool) -> None:
    """A jump ahead by more than the tolerance of both frames is plain; one back over times that were shown is not."""
    machine.passes(DAY)
    machine.jumps(by)
    assert machine.ages.is_plain == is_plain


# Ages -----------------------------------------------------------------------------------------------------------


def test_ages_do_not_change_with_the_timeline(machine: Machine) -> None:
    """Ages are those of one moment, whatever is observed after it."""
    ages = machine.ages
    machine.passes(DAY)
    machine.jumps(DAY)
    assert (ages.now, ages.age(NOW)) == (NOW, timedelta(0))


def test_ages_after_is_what_a_later_look_will_say(machine: Machine) -> None:
    """A forecast goes by the ages of a machine that goes on."""
    machine.passes(DAY)
    machine.jumps(10 * DAY)
    later = machine.ages.after(timedelta(days=3))
    machine.passes(3 * DAY)
    assert later == machine.ages


@pytest.mark.parametrize("days", [-400, -31, -1, 0, 400])
def test_ages_by_wall_clock_are_its_differences(days: int) -> None:
    """Where nothing else is known the wall clock alone decides; what is ahead of it has no age."""
    stamp = NOW + timedelta(days=days)
    assert Ages.by_wall_clock(NOW).age(stamp) == (None if days > 0 else timedelta(days=-days))


EVENTS = st.one_of(
    st.tuples(st.just("passes"), st.integers(0, 40 * DAY)),
    st.tuples(st.just("jumps"), st.integers(-60 * DAY, 60 * DAY)),
    st.tuples(st.just("jumps"), st.integers(-2 * TOLERANCE, 2 * TOLERANCE)),
    st.tuples(st.just("reboots"), st.integers(0, 3 * DAY)),
    st.tuples(st.just("wrong"), st.integers(-60 * DAY, 60 * DAY)),
    st.tuples(st.just("synchronises"), st.just(0)),
)


def lived_through(events: list[tuple[str, int]]) -> Machine:
    machine = Machine()
    for event, amount in events:
        match event:
            case "passes":
                machine.passes(amount)
            case "jumps":
                machine.jumps(amount)
            case "reboots":
                machine.reboots(off=amount)
            case "wrong":
                machine.reboots(off=0, wrong_by=amount)
            case _:
                machine.synchronises()
    return machine


@given(st.lists(EVENTS, max_size=8), st.integers(0, 60 * DAY), st.data())
def test_young_since_agrees_with_age_for_all_stamps(
    events: list[tuple[str, int]], limit: int, data: st.DataObject
) -> None:
    """From there up to the present no stamp is older than the limit, whatever the clock has been through."""
    ages = lived_through(events).ages
    since = ages.young_since(limit * MICROSECOND)
    ends = [end + off for frame in ages.frames for end in (frame.lo, frame.hi) for off in (-TOLERANCE, 0, TOLERANCE, 1)]
    stamps = [*ends, since, since + 1, ages.present]
    if since < ages.present:
        stamps += data.draw(st.lists(st.integers(since, ages.present), max_size=5))
    for stamp in stamps:
        if since <= stamp <= ages.present:
            age = ages.age(from_microseconds(stamp))
            assert age is not None
            assert age <= limit * MICROSECOND


def test_young_since_leaves_out_an_earlier_frame_that_the_present_one_does_not_cover(machine: Machine) -> None:
    """A clock that went ahead and came back to a little before: what was stamped before both is older than it looks."""
    machine.passes(DAY)
    machine.jumps(20 * DAY)
    machine.passes(DAY)
    machine.jumps(-21 * DAY)
    machine.passes(30 * DAY)
    stamp, limit = NOW + timedelta(hours=12), timedelta(days=31)
    assert machine.age(stamp) == 31 * DAY + 12 * HOUR
    assert from_microseconds(machine.ages.young_since(limit)) > stamp


@given(st.integers(0, 60 * DAY), st.integers(0, 60 * DAY))
def test_young_since_of_one_frame_is_exact(passed: int, limit: int) -> None:
    """Where the clock was always right, what is a microsecond earlier is older."""
    machine = Machine()
    machine.passes(passed)
    since = machine.ages.young_since(limit * MICROSECOND)
    assert machine.age(from_microseconds(since)) == limit
    assert machine.age(from_microseconds(since - 1)) == limit + 1


@given(st.lists(EVENTS, max_size=8), st.integers(-100 * DAY, 100 * DAY), st.integers(0, 100 * DAY))
def test_age_of_what_was_seen_is_at_least_the_time_since_then(
    events: list[tuple[str, int]], off: int, known_for: int
) -> None:
    """A stamp that a run has found is no younger than the time since that run, and no age is negative."""
    machine = lived_through(events)
    stamp = machine.clock.now + off * MICROSECOND
    known = max(0, machine.timeline.lived - known_for)
    for age in (machine.age(stamp), machine.age(stamp, known=known)):
        assert age is None or age >= 0
    age = machine.age(stamp, known=known)
    assert age is None or age >= machine.timeline.lived - known
