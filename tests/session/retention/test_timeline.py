"""Our own clock: witnessed time, gaps, jumps of the wall clock, and the ages that follow from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.clock import MICROSECOND, Reading, from_microseconds, read_clock, to_microseconds
from miniclaw.session.retention.timeline import (
    DAY,
    EARLIEST,
    FLOOR_PERIOD,
    SHORT_GAP,
    TOLERANCE,
    Timeline,
)
from tests.fakes.clock import WallClock
from tests.fakes.machine import HOUR, NOW, Machine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    assert machine.counts == (HOUR, 2 * HOUR), "an hour before the first look, and a short gap"


def test_observe_of_machine_set_back_to_an_earlier_state_counts_nothing(machine: Machine) -> None:
    """A virtual machine that is rolled back has the same boot and less of it: its sessions live longer."""
    machine.passes(10 * DAY)
    machine.clock.uptime -= 5 * 24 * 3600
    machine.clock.jump(hours=2)
    machine.look()
    assert machine.counts == (10 * DAY, 10 * DAY)
    machine.clock.uptime -= 3600
    machine.clock.jump(days=3)
    machine.look()
    assert machine.counts == (10 * DAY, 10 * DAY)


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


@pytest.mark.parametrize(("by", "is_behind"), [(TOLERANCE, False), (TOLERANCE + 1, True), (200 * DAY, True)])
def test_floor_begins_where_a_new_boot_is_behind(machine: Machine, by: int, is_behind: bool) -> None:
    """A machine that starts with a clock more than five minutes behind goes on from the last known time."""
    machine.passes(DAY)
    machine.reboots(off=0, up=0, wrong_by=-by)
    assert machine.is_behind() == machine.ages.doubted == is_behind
    right = NOW + timedelta(days=1)
    assert machine.ages.now == (right if is_behind else right - by * MICROSECOND)
    machine.passes(HOUR)
    assert machine.age(NOW) == DAY + HOUR


def test_floor_begins_where_the_clock_is_set_before_the_first_release(machine: Machine) -> None:
    """A clock that shows 1970 is wrong, also where somebody sets it."""
    machine.clock.now = EPOCH
    machine.look()
    assert machine.is_behind()
    assert machine.ages.now == NOW
    machine.clock.now = from_microseconds(EARLIEST)
    machine.look()
    assert (machine.is_behind(), machine.ages.now) == (False, from_microseconds(EARLIEST))


def test_floor_of_first_look_in_1970_is_the_first_release() -> None:
    """A machine without a clock that was never seen before begins with the earliest time that can be."""
    machine = Machine(EPOCH)
    assert (machine.is_behind(), machine.ages.now) == (True, from_microseconds(EARLIEST))


def test_floor_ends_when_the_wall_clock_has_caught_up(machine: Machine) -> None:
    """A clock that is slewed until it is right is believed again, when it is no longer behind."""
    machine.reboots(off=0, up=0, wrong_by=-2 * TOLERANCE)
    machine.jumps(TOLERANCE)
    assert machine.is_behind()
    machine.jumps(TOLERANCE)
    assert not machine.is_behind()
    assert machine.ages.now == machine.clock.now


@pytest.mark.parametrize("by", [-10 * DAY, 10 * DAY])
def test_floor_ends_when_the_clock_is_set(machine: Machine, by: int) -> None:
    """A clock that is set while the machine runs is believed."""
    machine.reboots(off=0, wrong_by=-20 * DAY)
    machine.jumps(by)
    assert (machine.is_behind(), machine.ages.now) == (False, machine.clock.now)


def test_floor_ends_when_a_time_server_vouches(machine: Machine) -> None:
    """A clock that a time server keeps is right, however far it is behind."""
    machine.reboots(off=0, wrong_by=-20 * DAY)
    machine.synchronises()
    assert (machine.is_behind(), machine.ages.now) == (False, machine.clock.now)


def test_floor_ends_after_seven_days_of_witnessed_time_over_restarts(machine: Machine) -> None:
    """A clock that stays behind is right after all: after seven days of power, in however many runs of the machine."""
    machine.reboots(off=0, wrong_by=-200 * DAY)
    began = machine.timeline.lived
    for _ in range(6):
        machine.passes(DAY)
        machine.reboots(off=HOUR, up=1, wrong_by=-HOUR)  # each time a little more behind
        assert machine.is_behind()
    machine.passes(FLOOR_PERIOD - (machine.timeline.lived - began))
    assert machine.is_behind()
    machine.passes(1)
    assert (machine.is_behind(), machine.ages.now) == (False, machine.clock.now)


def test_floor_never_ends_before_the_first_release() -> None:
    """Neither a time server nor seven days make 1970 the present."""
    machine = Machine(EPOCH, server=True)
    machine.passes(2 * FLOOR_PERIOD)
    assert machine.is_behind()
    assert machine.ages.now == from_microseconds(EARLIEST + 2 * FLOOR_PERIOD)
