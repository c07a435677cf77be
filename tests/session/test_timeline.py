"""Our own clock: witnessed time, gaps, jumps of the wall clock, and the ages that follow from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.clock import MICROSECOND, Reading, from_microseconds, read_clock, to_microseconds
from miniclaw.session.retention.timeline import (
    DAY,
    EARLIEST,
    FLOOR_PERIOD,
    KEPT_FRAMES,
    MAX_FRAMES,
    SHORT_GAP,
    TOLERANCE,
    Ages,
    Timeline,
)
from tests.fakes.clock import WallClock

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = DAY // 24
MINUTE = HOUR // 60
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Machine:
    """A machine, and the timeline that a program keeps on it; looked at after everything that happens to it."""

    def __init__(self, now: datetime = NOW, *, server: bool = False) -> None:
        self.clock = WallClock(now)
        self.clock.server = server
        self.timeline = Timeline()
        self.look()

    def look(self, *, keeps: int | None = None) -> bool:
        return self.timeline.observe(read_clock(self.clock), keeps=keeps)

    def passes(self, time: int) -> None:
        self.clock.move(microseconds=time)
        self.look()

    def jumps(self, by: int) -> None:
        self.clock.jump(microseconds=by)
        self.look()

    def reboots(self, *, off: int, up: int = HOUR, wrong_by: int = 0) -> None:
        """Switch the machine off, and look when it is up again for a while, with a wrong clock or a right one."""
        self.clock.reboot(off=off * MICROSECOND, uptime=up * MICROSECOND)
        self.clock.jump(microseconds=wrong_by)
        self.look()

    def synchronises(self) -> None:
        self.clock.server = True
        self.look()

    @property
    def ages(self) -> Ages:
        return self.timeline.ages()

    def age(self, stamp: datetime, **known: Any) -> int | None:
        """Return an age in microseconds."""
        age = self.ages.age(stamp, **known)
        return None if age is None else age // MICROSECOND

    @property
    def counts(self) -> tuple[int, int]:
        """What was lived, and what counts for ages."""
        return self.timeline.lived, self.timeline.count


@pytest.fixture
def machine() -> Machine:
    return Machine()


# Time that passes -----------------------------------------------------------------------------------------------


def test_observe_first_look_counts_nothing_and_believes_the_wall_clock(machine: Machine) -> None:
    """Where nothing is known, old stamps are as old as the wall clock says, and no time was witnessed."""
    assert machine.counts == (0, 0)
    assert machine.ages.now == NOW
    assert machine.age(NOW - timedelta(days=40)) == 40 * DAY


def test_observe_in_the_same_boot_counts_what_the_machine_has_witnessed(machine: Machine) -> None:
    """In one run of the machine all time counts, however long nobody looked."""
    machine.passes(400 * DAY)
    assert machine.counts == (400 * DAY, 400 * DAY)
    assert machine.age(NOW) == 400 * DAY


def test_observe_says_whether_a_frame_has_begun() -> None:
    """What has to be kept on the disk at once is the first look and a jump, and not that time passes."""
    clock, timeline = WallClock(NOW), Timeline()
    begun = [timeline.observe(read_clock(clock))]
    clock.move(hours=1)
    begun.append(timeline.observe(read_clock(clock)))
    clock.jump(hours=1)
    begun.append(timeline.observe(read_clock(clock)))
    assert begun == [True, False, True]


@pytest.mark.parametrize("off", [0, HOUR, SHORT_GAP])
def test_observe_after_short_gap_counts_it_for_ages_and_not_as_witnessed(machine: Machine, off: int) -> None:
    """A machine that is off for a day at most, inclusive, ages its sessions; nobody has lived that time."""
    machine.reboots(off=off)
    assert machine.counts == (HOUR, off + HOUR)
    assert machine.age(NOW) == off + HOUR


def test_observe_after_long_gap_counts_nothing_of_it(machine: Machine) -> None:
    """A gap of more than a day is no age: the clock may be wrong."""
    machine.reboots(off=SHORT_GAP + 1)
    assert machine.counts == (HOUR, HOUR)
    assert machine.age(NOW) == HOUR


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_observe_after_long_gap_that_a_time_server_confirms_counts_it(late: bool) -> None:
    """Synchronised before the gap and after it, the gap is time, witnessed by the server; also if it comes later."""
    machine = Machine(server=True)
    machine.clock.server = not late
    machine.reboots(off=40 * DAY)
    before = machine.clock.now
    if late:
        assert machine.counts == (HOUR, HOUR)
        machine.passes(HOUR)
        machine.synchronises()
    passed = HOUR + (HOUR if late else 0)
    assert machine.counts == (40 * DAY + passed, 40 * DAY + passed)
    assert machine.age(NOW) == 40 * DAY + passed
    assert machine.age(before) == passed - HOUR


def test_observe_after_long_gap_of_a_machine_that_was_not_synchronised_before_counts_nothing() -> None:
    """One right side confirms nothing: the clock before the gap may have been behind."""
    machine = Machine(server=False)
    machine.clock.server = True
    machine.reboots(off=40 * DAY)
    assert machine.counts == (HOUR, HOUR)


def test_observe_after_long_gap_and_a_clock_that_was_set_counts_nothing() -> None:
    """A clock that is corrected before a time server confirms it was wrong about the gap."""
    machine = Machine(server=True)
    machine.clock.server = False
    machine.reboots(off=40 * DAY)
    machine.jumps(-30 * DAY)
    machine.synchronises()
    assert machine.counts == (HOUR, HOUR)
    assert machine.age(NOW) == HOUR


# Other machines -------------------------------------------------------------------------------------------------


def test_observe_on_another_machine_does_not_count_its_uptime(machine: Machine) -> None:
    """A directory that moves to a machine which runs for a year has not lived that year."""
    machine.clock.move(hours=2)
    machine.clock.boot, machine.clock.uptime = "elsewhere", 365 * 24 * 3600.0
    machine.look()
    assert machine.counts == (2 * HOUR, 2 * HOUR)


def test_observe_of_machine_set_back_to_an_earlier_state_counts_the_gap_alone(machine: Machine) -> None:
    """A virtual machine that is rolled back has the same boot and less of it: what passed since is a gap."""
    machine.passes(10 * DAY)
    machine.clock.uptime -= 5 * 24 * 3600
    machine.clock.jump(hours=2)
    machine.look()
    assert machine.counts == (10 * DAY, 10 * DAY + 2 * HOUR)
    machine.clock.uptime -= 3600
    machine.clock.jump(days=3)
    machine.look()
    assert machine.counts == (10 * DAY, 10 * DAY + 2 * HOUR)


@given(
    st.lists(
        st.tuples(st.integers(0, 40 * DAY), st.sampled_from(["a", "b", "c"]), st.integers(0, 400 * DAY), st.booleans())
    )
)
def test_lived_never_runs_faster_than_a_right_wall_clock(looks: list[tuple[int, str, int, bool]]) -> None:
    """Whatever machines come and go, none has witnessed more time than has passed, and no age is more than that."""
    timeline, wall = Timeline(), to_microseconds(NOW)
    uptimes: dict[str, tuple[int, int]] = {}
    timeline.observe(Reading(wall, 0, "a", synchronised=True))
    uptimes["a"] = (wall, 0)
    for passed, boot, uptime, synchronised in looks:
        wall += passed
        since, up = uptimes.setdefault(boot, (wall, uptime))
        timeline.observe(Reading(wall, up + wall - since, boot, synchronised))
        assert timeline.lived <= wall - to_microseconds(NOW)
        assert timeline.lived <= timeline.count <= wall - to_microseconds(NOW)


# Behind what is known -------------------------------------------------------------------------------------------


def behind(machine: Machine) -> bool:
    return machine.timeline.floor is not None


@pytest.mark.parametrize(("by", "is_behind"), [(TOLERANCE, False), (TOLERANCE + 1, True), (200 * DAY, True)])
def test_floor_begins_where_a_new_boot_is_behind(machine: Machine, by: int, is_behind: bool) -> None:
    """A machine that starts with a clock more than five minutes behind goes on from the last known time."""
    machine.passes(DAY)
    machine.reboots(off=0, up=0, wrong_by=-by)
    assert behind(machine) == machine.ages.doubted == is_behind
    right = NOW + timedelta(days=1)
    assert machine.ages.now == (right if is_behind else right - by * MICROSECOND)
    machine.passes(HOUR)
    assert machine.age(NOW) == DAY + HOUR


def test_floor_begins_where_the_clock_is_set_before_the_first_release(machine: Machine) -> None:
    """A clock that shows 1970 is wrong, also where somebody sets it."""
    machine.clock.now = EPOCH
    machine.look()
    assert behind(machine)
    assert machine.ages.now == NOW
    machine.clock.now = from_microseconds(EARLIEST)
    machine.look()
    assert (behind(machine), machine.ages.now) == (False, from_microseconds(EARLIEST))


def test_floor_of_first_look_in_1970_is_the_first_release() -> None:
    """A machine without a clock that was never seen before begins with the earliest time that can be."""
    machine = Machine(EPOCH)
    assert (behind(machine), machine.ages.now) == (True, from_microseconds(EARLIEST))


def test_floor_ends_when_the_wall_clock_has_caught_up(machine: Machine) -> None:
    """A clock that is slewed until it is right is believed again, when it is no longer behind."""
    machine.reboots(off=0, up=0, wrong_by=-2 * TOLERANCE)
    machine.jumps(TOLERANCE)
    assert behind(machine)
    machine.jumps(TOLERANCE)
    assert not behind(machine)
    assert machine.ages.now == machine.clock.now


@pytest.mark.parametrize("by", [-10 * DAY, 10 * DAY])
def test_floor_ends_when_the_clock_is_set(machine: Machine, by: int) -> None:
    """A clock that is set while the machine runs is believed."""
    machine.reboots(off=0, wrong_by=-20 * DAY)
    machine.jumps(by)
    assert (behind(machine), machine.ages.now) == (False, machine.clock.now)


def test_floor_ends_when_a_time_server_vouches(machine: Machine) -> None:
    """A clock that a time server keeps is right, however far it is behind."""
    machine.reboots(off=0, wrong_by=-20 * DAY)
    machine.synchronises()
    assert (behind(machine), machine.ages.now) == (False, machine.clock.now)


def test_floor_ends_after_seven_days_of_witnessed_time_over_restarts(machine: Machine) -> None:
    """A clock that stays behind is right after all: after seven days of power, in however many runs of the machine."""
    machine.reboots(off=0, wrong_by=-200 * DAY)
    began = machine.timeline.lived
    for _ in range(6):
        machine.passes(DAY)
        machine.reboots(off=HOUR, up=1, wrong_by=-HOUR)  # each time a little more behind
        assert behind(machine)
    machine.passes(FLOOR_PERIOD - (machine.timeline.lived - began))
    assert behind(machine)
    machine.passes(1)
    assert (behind(machine), machine.ages.now) == (False, machine.clock.now)


def test_floor_never_ends_before_the_first_release() -> None:
    """Neither a time server nor seven days make 1970 the present."""
    machine = Machine(EPOCH, server=True)
    machine.passes(2 * FLOOR_PERIOD)
    assert behind(machine)
    assert machine.ages.now == from_microseconds(EARLIEST + 2 * FLOOR_PERIOD)


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


def test_frames_of_clock_that_flaps_between_two_times_are_two(machine: Machine) -> None:
    """A clock that is again what it was before a jump goes on in its old frame."""
    for _ in range(10):
        machine.passes(HOUR)
        machine.jumps(30 * DAY)
        machine.passes(HOUR)
        machine.jumps(-30 * DAY)
    assert len(machine.timeline.frames) == 2
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


def test_is_plain_where_no_stamp_can_lie_in_two_frames(machine: Machine) -> None:
    """One boot is plain, a jump ahead too; a jump back over times that were shown is not."""
    machine.passes(DAY)
    assert machine.ages.is_plain
    machine.jumps(2 * TOLERANCE)
    assert not machine.ages.is_plain  # within the tolerance of both
    machine = Machine()
    machine.jumps(2 * TOLERANCE + 1)
    assert machine.ages.is_plain


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
