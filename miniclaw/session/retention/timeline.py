"""Our own clock: how much time has passed, whatever the wall clock says, and how old a stamp is. Pure.

``lived`` counts the time that a running machine has witnessed. It never runs faster than time. ``count``, the clock of
ages, is ``lived`` and the gaps between two runs of the machine that are a day at most; a longer gap counts in both
where a time server vouches for the clock on both sides of it, and else in neither. A *frame* says which times the wall
clock showed at which count: so a stamp made under a wrong clock is read with the clock of its day.

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
"""By how much a clock may be corrected without anybody caring."""

SHORT_GAP: Final = DAY
"""A machine that is off for so long, inclusive, is one that is switched off at night: that is time."""

FLOOR_PERIOD: Final = 7 * DAY
"""A clock that stays behind for so much witnessed time is right after all."""

MOST_UNSEEN: Final = 60 * 60 * SECOND
"""So much of the time before a program's first look at a run of the machine is witnessed; the rest is a gap."""

KEPT_FRAMES: Final = 9 * DAY
"""Frames are kept for so much longer than anything else is."""

MAX_FRAMES: Final = 200
"""So many frames are kept at the most; a clock that flaps makes more."""

EARLIEST: Final = to_microseconds(datetime(2026, 1, 1, tzinfo=UTC))
"""Before the first release of this program: a wall clock that shows an earlier time is certainly wrong."""


_FIRST: Final = datetime.min.replace(tzinfo=UTC)


class Frame(Struct, array_like=True):
    """A stretch of the wall clock: a stamp in it was made at the count `stamp - offset`.

    Attributes:
        offset: What the wall clock was ahead of the count.
        lo: The first time that it showed.
        hi: The last one.
        merged: It stands for several, and its offset is that of the youngest reading.
    """

    offset: int
    lo: int
    hi: int
    merged: bool = False

    def holds(self, stamp: int) -> bool:
        """Return whether the stamp may have been made in it."""
        return self.lo - TOLERANCE <= stamp <= self.hi + TOLERANCE


class Floor(Struct, array_like=True):
    """The wall clock is behind what was known before: the present goes on from there.

    Attributes:
        at: The present when it began.
        lived: What `lived` was then.
        doubted: What `lived` was when the doubt began, which may be earlier.
    """

    at: int
    lived: int
    doubted: int


class Seen(Struct):
    """The last look at the clocks, and the present that followed from it."""

    now: int
    wall: int
    boottime: int
    boot: str
    synchronised: bool


class Timeline(Struct):
    """What is known of the time. Changed by one thread at a time.

    Attributes:
        lived: The time that was witnessed.
        count: The clock of ages.
        short_gap: A gap before this run of the machine that counts, until the clock is set; 0: there is none.
        unconfirmed: A long gap before this run of the machine, until a time server confirms it; 0: there is none.
        seen: The last look; None: there was none.
        floor: Where the present goes on from, while the wall clock is behind; None: it is not.
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
        """Take note of the clocks; to be done at each look, before each stamp.

        Args:
            reading: What they say.
            keeps: The longest time that anything is kept for, so that older frames can go; None: for ever.

        Returns:
            Whether another frame has begun, which is to be kept on the disk.
        """
        seen = self.seen
        same_boot = seen is not None and seen.boot == reading.boot
        elapsed = _elapsed(seen, reading, same_boot=same_boot)
        expected = reading.wall if seen is None else min(seen.now + elapsed, LATEST)
        self.lived = min(self.lived + elapsed, LATEST)
        self.count = min(self.count + elapsed, LATEST)
        if same_boot and seen is not None and abs(reading.wall - seen.wall - elapsed) > TOLERANCE:
            self.floor = None  # somebody has just set it: that is believed
        now = self._present(reading, expected, same_boot=same_boot)
        jump = now - expected
        if not same_boot:
            self.short_gap = jump if 0 <= jump <= SHORT_GAP else 0
            self.count = min(self.count + self.short_gap, LATEST)
            self.unconfirmed = jump if jump > SHORT_GAP and seen is not None and seen.synchronised else 0
        elif abs(jump) > TOLERANCE:  # it was set: what it said before was wrong
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
        """Return the present: the wall clock, or what follows from the last known time while that is behind."""
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
        """Put the present into a frame; return whether it is another one than before."""
        offset = now - self.count
        if self.frames and abs(self.frames[-1].offset - offset) <= TOLERANCE:
            _widen(self.frames[-1], now)
            return False
        self.frames.append(Frame(offset, now, now))
        if len(self.frames) > MAX_FRAMES:
            self._merge_two()
        return True

    def _merge_two(self) -> None:
        """Make one frame of the two past ones that differ the least; their stamps are read by the younger."""
        past = sorted(self.frames[:-1], key=lambda frame: frame.offset)
        place = min(range(len(past) - 1), key=lambda place: past[place + 1].offset - past[place].offset)
        older = past.pop(place + 1)
        _widen(past[place], older.lo)
        _widen(past[place], older.hi)
        past[place].merged = True
        self.frames[:-1] = past

    def ages(self) -> Ages:
        """Return what tells the age of a stamp at the last look; it does not change any more."""
        assert self.seen is not None  # noqa: S101 - for mypy: there was a look
        frames = tuple(Frame(frame.offset, frame.lo, frame.hi, frame.merged) for frame in self.frames)
        return Ages(self.seen.now, self.lived, self.count, frames, self.floor is not None)


def _widen(frame: Frame, stamp: int) -> None:
    frame.lo, frame.hi = min(frame.lo, stamp), max(frame.hi, stamp)


def _elapsed(seen: Seen | None, reading: Reading, *, same_boot: bool) -> int:
    """Return how much time has surely passed since the last look."""
    if seen is None:
        return 0
    if same_boot:
        return max(0, reading.boottime - seen.boottime)  # a machine may be set back to an earlier state
    # No more than the wall clock says, and not for long: the machine may be another one, that was started long before.
    return max(0, min(reading.boottime, reading.wall - seen.now, MOST_UNSEEN))


class Ages(Struct, frozen=True):
    """Tells the age of stamps at one moment.

    Attributes:
        present: The moment, as stamps have it.
        lived: What `Timeline.lived` was.
        count: What `Timeline.count` was.
        frames: Which times were stamped when; the last one is that of the present.
        doubted: Whether the wall clock is behind what was known before: no stamp is known to be in the future then.
    """

    present: int
    lived: int
    count: int
    frames: Sequence[Frame]
    doubted: bool = False

    @classmethod
    def by_wall_clock(cls, now: datetime) -> Ages:
        """Return ages by the wall clock alone, where nothing else is known of the time."""
        present = to_microseconds(now)
        return cls(present, 0, present, (Frame(0, present, present),))

    def after(self, by: timedelta) -> Ages:
        """Return the ages at a later moment, if the machine goes on and its clock is right."""
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
        """Return how long ago a stamp was made, as far as that is certain; the youngest that it may be.

        Args:
            stamp: The time that was written down, aware.
            known: Somebody has seen it written down when `lived` was this.

        Returns:
            None where the stamp is ahead of the clock, and was not seen before.
        """
        moment = to_microseconds(stamp)
        latest = self.count if known is None else self.count - (self.lived - known)
        made = self._made_at(moment, latest)
        if made is not None:
            return (self.count - min(made, latest)) * MICROSECOND
        return None if known is None or self.doubted else (self.lived - known) * MICROSECOND

    def shown(self, stamp: datetime) -> timedelta:
        """Return the age as a person is shown it: negative where the stamp is ahead of the clock."""
        age = self.age(stamp)
        return self.now - stamp if age is None else age

    def _made_at(self, moment: int, latest: int) -> int | None:
        """Return the last count, not after `latest` if possible, at which a stamp may have been made; None: ahead."""
        read = [(moment - frame.offset, frame.merged) for frame in self.frames if frame.holds(moment)]
        if read:
            # A frame is right within the tolerance; beyond it, what was seen at `latest` was not made later.
            possible = (min(count, latest) for count, merged in read if merged or count <= latest + TOLERANCE)
            return max(possible, default=latest)
        if moment > self.present:
            return None
        # Nobody was here: it is counted back from where a later frame begins.
        return max(moment - frame.offset for frame in self.frames if frame.lo > moment)

    def young_since(self, limit: timedelta) -> int:
        """Return the earliest time from which on, up to the present, no stamp can be read as older than this."""
        *past, current = self.frames
        count = self.count - limit // MICROSECOND
        since = count + current.offset
        for frame in past:
            if frame.offset > current.offset:
                since = max(since, min(frame.hi + TOLERANCE, count + frame.offset))
        return since

    @property
    def frame_since(self) -> datetime:
        """From when on, up to the present, an age is a difference of stamps."""
        return from_microseconds(self.frames[-1].lo) if len(self.frames) > 1 else _FIRST

    @property
    def is_plain(self) -> bool:
        """Whether no stamp can lie in two frames."""
        ends = sorted((frame.lo, frame.hi) for frame in self.frames)
        return all(before[1] + 2 * TOLERANCE < after[0] for before, after in pairwise(ends))
