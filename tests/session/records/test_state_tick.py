"""The tick: when the state was seen last, beside the state."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta

import pytest

from miniclaw.errors import StoreIOError
from miniclaw.session.records.state import LAST_SEEN_NAME, StateDirectory, tick_of
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.os_calls import FaultyOs
from tests.session.records.test_state import NOW, failing, known, look, names


@pytest.fixture
def clock() -> WallClock:
    return WallClock(NOW)


# The tick -------------------------------------------------------------------------------------------------------


def test_tick_brings_the_state_to_when_it_was_seen_last(state: StateDirectory, clock: WallClock) -> None:
    """Of a program that was killed, the time is known up to its last tick."""
    seen = known(clock)
    state.write(seen)
    clock.move(hours=3)
    state.write_last_seen(tick_of(look(seen, clock)))
    assert state.load() == seen
    assert seen.timeline.lived == timedelta(hours=4) // timedelta(microseconds=1)


def test_tick_in_a_frame_of_its_own_adds_that(state: StateDirectory, clock: WallClock) -> None:
    """A jump that was seen but not written with the state is known by the tick."""
    seen = known(clock)
    state.write(seen)
    clock.jump(days=4)
    state.write_last_seen(tick_of(look(seen, clock)))
    assert state.load() == seen
    assert len(seen.timeline.frames) == 2


def test_tick_behind_the_known_time_says_so(state: StateDirectory, clock: WallClock) -> None:
    """That the wall clock is not believed is known to the next start as well."""
    seen = known(clock)
    state.write(seen)
    clock.reboot(off=timedelta(0), uptime=timedelta(minutes=1))
    clock.jump(days=-50)
    state.write_last_seen(tick_of(look(seen, clock)))
    assert state.load() == seen
    assert seen.timeline.floor is not None


def test_tick_is_always_of_one_length(state: StateDirectory, clock: WallClock) -> None:
    """It fits into a sector, and overwriting it in place leaves nothing of the one before."""
    clock.boot = "0b0c1e8c-3e47-4c3d-9c57-6f0b8b4c5a7e"  # as the system names it
    seen = known(clock)
    assert len(tick_of(seen)) == 512
    clock.now = datetime(9999, 12, 31, tzinfo=UTC)
    clock.uptime = 100 * 366 * 24 * 60 * 60.0
    assert len(tick_of(look(seen, clock))) == 512
    clock.boot += "x"
    clock.now = NOW
    assert len(tick_of(look(seen, clock))) == 512, "with a floor"
    assert seen.timeline.floor is not None


def test_tick_is_overwritten_in_place_and_not_synced(state: StateDirectory, clock: WallClock) -> None:
    """A tick writes to the same file and waits for no disk, so that an SD card is spared."""
    seen = known(clock)
    state.write(seen)
    state.write_last_seen(tick_of(seen))
    before = (state.path / LAST_SEEN_NAME).stat().st_ino
    fs = FaultyOs()
    clock.move(seconds=30)
    state_in(state.path.parent, fs).write_last_seen(tick_of(look(seen, clock)))
    assert not {"fsync", "rename"} & set(names(fs))
    assert (state.path / LAST_SEEN_NAME).stat().st_ino == before
    assert state.load() == seen


@pytest.mark.parametrize("kind", ["torn", "half old", "empty", "zeros", "earlier version", "no UTF-8", "deep"])
def test_tick_that_is_damaged_leaves_the_state_as_it_was_written(
    state: StateDirectory, clock: WallClock, kind: str
) -> None:
    """A torn tick costs the time since the state was written, no more, and is no error."""
    seen = known(clock)
    state.write(seen)
    written = state.load()
    old = tick_of(seen)
    clock.move(hours=3)
    tick = tick_of(look(seen, clock))
    content = {
        "torn": tick[:100],
        "half old": tick[:77] + old[177:],
        "empty": b"",
        "zeros": bytes(512),
        "earlier version": b"2026-11-23T12:00:00.123456+00:00\n",
        "no UTF-8": b"\xff\xfe" + tick,
        "deep": b"[" * 100_000,
    }[kind]
    (state.path / LAST_SEEN_NAME).write_bytes(content)
    assert state.load() == written
    state.write_last_seen(tick)
    assert state.load() == seen, "the next one is whole again"
    assert (state.path / LAST_SEEN_NAME).stat().st_size == 512


def test_tick_of_another_state_is_ignored(state: StateDirectory, clock: WallClock) -> None:
    """A tick that a lost or restored state has left says nothing about this one."""
    other = known(clock)
    clock.move(days=300)
    tick = tick_of(look(other, clock))
    mine = known(WallClock(NOW))
    state.write(mine)
    state.write_last_seen(tick)
    assert state.load() == mine


def test_tick_older_than_the_state_is_ignored(state: StateDirectory, clock: WallClock) -> None:
    """Each run writes the state without a tick: the one before must not set the time back."""
    seen = known(clock)
    state.write_last_seen(tick_of(seen))
    clock.move(hours=3)
    state.write(look(seen, clock))
    assert state.load() == seen


def test_tick_that_is_refused_leaves_the_state_as_it_was_written(state: StateDirectory, clock: WallClock) -> None:
    """A tick that the system does not give is no error: the state is there without it."""
    seen = known(clock)
    state.write(seen)
    written = state.load()
    clock.move(hours=3)
    state.write_last_seen(tick_of(look(seen, clock)))
    assert state_in(state.path.parent, failing("open", errno.EIO, path=LAST_SEEN_NAME)).load() == written


@pytest.mark.parametrize(("name", "path"), [("open", LAST_SEEN_NAME), ("write", "")])
def test_write_last_seen_that_fails_raises_store_error(state: StateDirectory, name: str, path: str) -> None:
    """A refused write says which file it was."""
    with pytest.raises(StoreIOError) as caught:
        state_in(state.path.parent, failing(name, path=path)).write_last_seen(b"x")
    assert caught.value.path == state.path / LAST_SEEN_NAME
