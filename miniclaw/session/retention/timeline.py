"""A clock of our own: elapsed time and the ages of stamps, independent of errors of the wall clock. Pure.

``lived`` counts the time that a running machine has witnessed. It never runs faster than time. ``count``, the clock of
ages, adds the gaps between two runs of the machine that are a day at most. A longer gap is added to both if a time
server vouches for the clock on both sides of it, and otherwise to neither. A *frame* records the times that the wall
clock showed, and their counts: a stamp made under a wrong clock is read with the clock of its day.

All times are whole microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from msgspec import Struct, field

from miniclaw.clock import LATEST, MICROSECOND, Reading, from_microseconds, to_microseconds

SECOND: Final = 1_000_000
DAY: Final = 24 * 60 * 60 * SECOND

TOLERANCE: Final = 5 * 60 * SECOND
"""Largest correction of a clock, inclusive, that is ignored."""

SHORT_GAP: Final = DAY
"""Largest gap, inclusive, that counts as time, as of a machine that is switched off at night."""

FLOOR_PERIOD: Final = 7 * DAY
"""Witnessed time, exclusive, after which a clock that is still behind is considered right."""

MOST_UNSEEN: Final = 60 * 60 * SECOND
"""Largest part of the time from a machine's start to a program's first look that is witnessed; the rest is a gap."""

KEPT_FRAMES: Final = 9 * DAY
"""Time for which a frame is kept beyond the longest retention."""

MAX_FRAMES: Final = 200
"""Largest number of frames; a clock that flaps makes more."""

EARLIEST: Final = to_microseconds(datetime(2026, 1, 1, tzinfo=UTC))
"""A time before the first release of this program: a wall clock that shows an earlier one is certainly wrong."""


_FIRST: Final = datetime.min.replace(tzinfo=UTC)


class Frame(Struct, array_like=True):
    """A stretch of the wall clock: a stamp in it was made at the count `stamp - offset`.

    Attributes:
        offset: Difference of the wall clock from the count, positive if ahead.
        lo: The first time that it showed.
        hi: The last one.
        merged: If true, it stands for several, and its offset is the one by which stamps are youngest.
    """

    offset: int
    lo: int
    hi: int
    merged: bool = False

    def holds(self, stamp: int) -> bool:
        """Return whether the stamp may have been made in it."""
        return self.lo - TOLERANCE <= stamp <= self.hi + TOLERANCE


class Floor(Struct, array_like=True):
    """The last known time, from which the present continues while the wall clock is behind it.

    Attributes:
        at: The present when the floor began.
        lived: `Timeline.lived` at that moment.
        doubted: `Timeline.lived` when the doubt began, which may be earlier.
    """

    at: int
    lived: int
    doubted: int


class Seen(Struct):
    """The last reading of the clocks, and the present that followed from it."""

    now: int
    wall: int
    boottime: int
    boot: str
    synchronised: bool


class Timeline(Struct):
    """The present and the history of the clocks. Changed by one thread at a time.

    Attributes:
        lived: The witnessed time.
        count: The clock of ages.
        short_gap: A gap before this run of the machine that counts, until the clock is set; 0: there is none.
        unconfirmed: A long gap before this run of the machine, until a time server confirms it; 0: there is none.
        seen: The last reading; None: there was none.
        floor: The last known time, while the wall clock is behind it; None: it is not.
        frames: All but the last have ended.
    """

    lived: int = 0
    count: int = 0
    short_gap: int = 0
    unconfirmed: int = 0
    seen: Seen | None = None
    floor: Floor | None = None
    frames: list[Frame] = field(default_factory=list)

    def observe(self, reading: Reading, *, keeps: int | None = 0) -> bool:
        """Record a reading of the clocks; required before each stamp.

        Args:
            reading: The clocks.
            keeps: The longest retention, beyond which older frames are dropped; None: for ever.

        Returns:
            True if a new frame has begun, or the last was corrected, so that the timeline has to be saved.
        """
        seen = self.seen
        same_boot = seen is not None and seen.boot == reading.boot
        elapsed = _elapsed(seen, reading, same_boot=same_boot)
        expected = reading.wall if seen is None else min(seen.now + elapsed, LATEST)
        self.lived = min(self.lived + elapsed, LATEST)
        self.count = min(self.count + elapsed, LATEST)
        if same_boot and seen is not None and abs(reading.wall - seen.wall - elapsed) > TOLERANCE:
            self.floor = None  # the clock was set during this run of the machine, which is trusted
        now = self._present(reading, expected, same_boot=same_boot)
        jump = now - expected
        if not same_boot:
            self.short_gap = jump if 0 <= jump <= SHORT_GAP else 0
            self.count = min(self.count + self.short_gap, LATEST)
            self.unconfirmed = jump if jump > SHORT_GAP and seen is not None and seen.synchronised else 0
        elif abs(jump) > TOLERANCE:  # the clock was set: its earlier times were wrong
            taken_back = min(self.short_gap, max(0, -jump))
            self.count -= taken_back
            self.short_gap = self.unconfirmed = 0
        begun = self._place(now)
        if self.unconfirmed and reading.synchronised:
            self.lived = min(self.lived + self.unconfirmed, LATEST)
            self.count = min(self.count + self.unconfirmed, LATEST)
            self.frames[-1].offset -= self.unconfirmed
            self.unconfirmed, begun = 0, True
        boottime = max(reading.boottime, seen.boottime) if same_boot and seen is not None else reading.boottime
        self.seen = Seen(now, reading.wall, boottime, reading.boot, reading.synchronised)
        if begun and keeps is not None:
            oldest = self.count - keeps - KEPT_FRAMES
            self.frames[:-1] = [frame for frame in self.frames[:-1] if frame.hi - frame.offset >= oldest]
        return begun

    def _present(self, reading: Reading, expected: int, *, same_boot: bool) -> int:
        """Return the present: the wall clock or, while that is behind, the last known time plus witnessed time."""
        floor, wall = self.floor, reading.wall
        if not same_boot and wall < expected - TOLERANCE:
            floor = Floor(expected, self.lived, self.lived if floor is None else floor.doubted)
        if floor is None and wall < EARLIEST:
            floor = Floor(max(expected, EARLIEST), self.lived, self.lived)
        now = wall
        if floor is not None:
            now = min(floor.at + self.lived - floor.lived, LATEST)
            believed = wall >= EARLIEST and (reading.synchronised or self.lived - floor.doubted > FLOOR_PERIOD)
            if wall >= now or believed:
                floor, now = None, wall
        self.floor = floor
        return now

    def _place(self, now: int) -> bool:
        """Put the present into a frame; return whether that is a new one."""
        offset = now - self.count
        if self.frames and abs(self.frames[-1].offset - offset) <= TOLERANCE:
            _widen(self.frames[-1], now)
            return False
        self.frames.append(Frame(offset, now, now))
        if len(self.frames) > MAX_FRAMES:
            self._merge_two()
        return True

    def _merge_two(self) -> None:
        """Merge the two past frames whose offsets differ the least; by the offset kept, stamps are younger."""
        past = sorted(self.frames[:-1], key=lambda frame: frame.offset)
        place = min(range(len(past) - 1), key=lambda place: past[place + 1].offset - past[place].offset)
        older = past.pop(place + 1)
        _widen(past[place], older.lo)
        _widen(past[place], older.hi)
        past[place].merged = True
        self.frames[:-1] = past

    def present(self) -> datetime:
        """Return the present at the last reading."""
        assert self.seen is not None  # noqa: S101 - for mypy: the clocks have been read
        return from_microseconds(self.seen.now)

    def ages(self) -> Ages:
        """Return an immutable snapshot that gives the ages of stamps at the last reading."""
        assert self.seen is not None  # noqa: S101 - for mypy: the clocks have been read
        frames = tuple(Frame(frame.offset, frame.lo, frame.hi, frame.merged) for frame in self.frames)
        return Ages(self.seen.now, self.lived, self.count, frames, self.floor is not None)


def _widen(frame: Frame, stamp: int) -> None:
    frame.lo, frame.hi = min(frame.lo, stamp), max(frame.hi, stamp)


def _elapsed(seen: Seen | None, reading: Reading, *, same_boot: bool) -> int:
    """Return the time that has certainly passed since the last reading."""
    if seen is None:
        return 0
    if same_boot:
        return max(0, reading.boottime - seen.boottime)  # a machine may be reset to an earlier snapshot
    # At most the difference of the wall clock, and bounded: it may be another machine, that was started long before.
    return max(0, min(reading.boottime, reading.wall - seen.now, MOST_UNSEEN))


class Ages(Struct, frozen=True):
    """The ages of stamps at one moment.

    Attributes:
        present: The moment, on the scale of stamps.
        lived: `Timeline.lived` at that moment.
        count: `Timeline.count` at that moment.
        frames: The stretches of the wall clock; the last one is that of the present.
        doubted: True if the wall clock is behind the last known time: then no stamp is known to be in the future.
    """

    present: int
    lived: int
    count: int
    frames: Sequence[Frame]
    doubted: bool = False

    @classmethod
    def by_wall_clock(cls, now: datetime) -> Ages:
        """Return ages by the wall clock alone, without any other knowledge of the time."""
        present = to_microseconds(now)
        return cls(present, 0, present, (Frame(0, present, present),))

    def after(self, by: timedelta) -> Ages:
        """Return the ages at a later moment, if the machine keeps running and its clock is right."""
        passed = by // MICROSECOND
        *past, current = self.frames
        present = self.present + passed
        frames = (*past, Frame(current.offset, current.lo, max(current.hi, present)))
        return Ages(present, self.lived + passed, self.count + passed, frames, self.doubted)

    @property
    def now(self) -> datetime:
        """The moment."""
        return from_microseconds(self.present)

    def age(self, stamp: datetime, *, known: int | None = None) -> timedelta | None:
        """Return the age of a stamp, as far as it is certain: the least that it may have.

        Args:
            stamp: The recorded time, aware.
            known: `Timeline.lived` at a moment when the stamp had already been seen; None: it was not seen before.

        Returns:
            None if the stamp is ahead of the clock, and was not seen before.
        """
        moment = to_microseconds(stamp)
        latest = self.count if known is None else self.count - (self.lived - known)
        made = self._made_at(moment, latest)
        if made is not None:
            return (self.count - min(made, latest)) * MICROSECOND
        return None if known is None or self.doubted else (self.lived - known) * MICROSECOND

    def shown(self, stamp: datetime) -> timedelta:
        """Return the age for display: negative if the stamp is ahead of the clock."""
        age = self.age(stamp)
        return self.now - stamp if age is None else age

    def _made_at(self, moment: int, latest: int) -> int | None:
        """Return the last count, not after `latest` if possible, at which a stamp may have been made; None: ahead."""
        read = [(moment - frame.offset, frame.merged) for frame in self.frames if frame.holds(moment)]
        if read:
            # A frame is accurate within the tolerance; beyond it, a stamp seen at `latest` was not made later.
            possible = (min(count, latest) for count, merged in read if merged or count <= latest + TOLERANCE)
            return max(possible, default=latest)
        if moment > self.present:
            return None
        # No frame covers the stamp: count back from the beginning of a later one.
        return max(moment - frame.offset for frame in self.frames if frame.lo > moment)

    def young_since(self, limit: timedelta) -> int:
        """Return the earliest time from which on, up to the present, no stamp can be older than `limit`."""
        *past, current = self.frames
        count = self.count - limit // MICROSECOND
        since = count + current.offset
        for frame in past:
            if frame.offset > current.offset:
                since = max(since, min(frame.hi + TOLERANCE, count + frame.offset))
        return since

    @property
    def frame_since(self) -> datetime:
        """The time from which on, up to the present, an age is a difference of stamps."""
        return from_microseconds(self.frames[-1].lo) if len(self.frames) > 1 else _FIRST

    @property
    def is_plain(self) -> bool:
        """True if no stamp can be in two frames."""
        ends = sorted((frame.lo, frame.hi) for frame in self.frames)
        return all(before[1] + 2 * TOLERANCE < after[0] for before, after in pairwise(ends))
