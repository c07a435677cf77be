"""The rule as it was first specified and measured, for comparison: a gap that nobody confirms is never time.

In hours, over dictionaries; it knows no due list on a disk and no files that are none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.notice.scenarios import DAY

if TYPE_CHECKING:
    from tests.notice.trial import Machine, SessionFile, Trial

_TOLERANCE: Final = 5 / 60
_EARLIEST: Final = -500 * DAY
_NOTICE: Final = 20.0
_FLOOR: Final = 7 * DAY
_KEPT: Final = 9 * DAY


@dataclass
class _Seen:
    now: float
    wall: float
    boot: int
    boottime: float
    synchronised: bool


@dataclass
class _Frame:
    boot: int
    lo: float
    hi: float
    count: float


@dataclass
class _Gap:
    """The clock was ahead of what had passed, before a start or at a jump."""

    boot: int
    by: float
    believed: bool = False


@dataclass
class _State:
    lived: float = 0.0
    count: float = 0.0
    origin: float | None = None  # what the clock said when `count` was 0
    agree: bool = False  # the clock was not set since the start, and a time server vouched for it before
    debt: float = 0.0
    gaps: list[_Gap] = field(default_factory=list)
    seen: _Seen | None = None
    floor: tuple[float, float, float] | None = None
    frames: list[_Frame] = field(default_factory=list)
    due: dict[str, tuple[float, int, float]] = field(default_factory=dict)
    future: dict[str, tuple[float, float]] = field(default_factory=dict)
    run: tuple[float, float] | None = None


class ReferenceRule:
    """The rule as it was specified.

    Args:
        ttl: In hours.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._state = _State()

    def set_ttl(self, ttl: float) -> None:
        self._ttl = ttl

    def lose_state(self) -> None:
        self._state = _State()

    def start(self, trial: Trial) -> None:
        self.poll(trial)

    def use(self, trial: Trial, session: str) -> None:
        trial.files[session].stamp = self._observe(trial.machine)

    def poll(self, trial: Trial) -> None:
        state = self._state
        now, run = self._observe(trial.machine), state.run
        if trial.machine.boottime < 0.25 or (run and state.lived - run[1] < DAY and now - run[0] < DAY):
            return
        late = state.lived - run[1] - DAY if run else 0.0
        state.run = now, state.lived - (late if 0 < late < DAY else 0.0)
        lead = min(7 * DAY, max(DAY + 4, self._ttl / 4))
        due = {}
        for session, file in list(trial.files.items()):
            age = self._age(session, file, now)
            if age is None or age <= self._ttl - lead:
                continue
            entry = state.due.get(session)
            if entry is None or entry[:2] != (file.stamp, file.inode):
                entry = file.stamp, file.inode, state.lived
                trial.announce(session)
            elif age > self._ttl and state.lived - entry[2] >= _NOTICE:
                trial.remove(session)
                continue
            due[session] = entry
        state.due = due

    def _observe(self, machine: Machine) -> float:
        state, seen = self._state, self._state.seen
        same = seen is not None and seen.boot == machine.boot
        elapsed = 0.0 if seen is None else machine.boottime - (seen.boottime if same else 0.0)
        state.lived += elapsed
        state.count += elapsed
        expected = machine.wall if seen is None else seen.now + elapsed
        if same and seen is not None and abs(machine.wall - seen.wall - elapsed) > _TOLERANCE:
            state.floor = None
        now = self._present(machine, expected, same=same)
        if not same:
            state.agree, state.debt = seen is not None and seen.synchronised, 0.0
        self._note_jump(machine, now, now - expected, same=same)
        state.seen = _Seen(now, machine.wall, machine.boot, machine.boottime, machine.synchronised)
        state.frames[-1].hi = now
        return now

    def _present(self, machine: Machine, expected: float, *, same: bool) -> float:
        state = self._state
        if not same and machine.wall < expected - _TOLERANCE:
            state.floor = expected, state.lived, state.floor[2] if state.floor else state.lived
        if state.floor is None and machine.wall < _EARLIEST:
            state.floor = max(expected, _EARLIEST), state.lived, state.lived
        if state.floor is None:
            return machine.wall
        at, lived, since = state.floor
        now = at + state.lived - lived
        believed = machine.wall >= _EARLIEST and (state.lived - since > _FLOOR or machine.synchronised)
        if machine.wall >= now or believed:
            state.floor, now = None, machine.wall
        return now

    def _note_jump(self, machine: Machine, now: float, jump: float, *, same: bool) -> None:
        state = self._state
        state.origin = now if state.origin is None else state.origin
        if not same and 0 <= jump <= DAY:
            state.count, jump = state.count + jump, 0.0
        if not same or abs(jump) > _TOLERANCE:
            state.frames.append(_Frame(machine.boot, now, now, state.count))
        if abs(jump) > _TOLERANCE:
            state.agree = state.agree and not same
            self._jumped(machine.boot, jump)
        for gap in state.gaps:
            if not gap.believed and gap.boot == machine.boot and machine.synchronised and state.agree:
                gap.believed = True
                state.lived += gap.by
                self._credit(machine.boot, gap.by)
        state.gaps = [gap for gap in state.gaps if gap.by > _TOLERANCE]
        old = state.count - self._ttl - _KEPT
        while len(state.frames) > 1 and state.frames[0].count + state.frames[0].hi - state.frames[0].lo < old:
            del state.frames[0]
            state.origin = state.frames[0].lo - state.frames[0].count

    def _jumped(self, boot: int, jump: float) -> None:
        state = self._state
        assert state.origin is not None
        if jump < 0:
            for gap in reversed(state.gaps):  # it takes back what was doubtful, or wrongly believed
                taken = min(gap.by, -jump)
                gap.by, jump = gap.by - taken, jump + taken
                if gap.believed:
                    self._credit(gap.boot, -taken)
            state.debt -= jump
            state.origin += jump
            return
        paid = min(state.debt, jump)
        state.debt -= paid
        state.origin += paid
        if jump - paid > _TOLERANCE:
            state.gaps.append(_Gap(boot, jump - paid))

    def _credit(self, boot: int, by: float) -> None:
        self._state.count += by
        for frame in self._state.frames:
            if frame.boot >= boot:
                frame.count += by

    def _age(self, session: str, file: SessionFile, now: float) -> float | None:
        state, stamp = self._state, file.stamp
        found = [x.count + stamp - x.lo for x in state.frames if x.lo - _TOLERANCE <= stamp <= x.hi + _TOLERANCE]
        if not found and stamp > now:
            if state.floor is not None:
                return None
            if state.future.get(session, (None,))[0] != stamp:
                state.future[session] = stamp, state.lived
            return state.lived - state.future[session][1]
        state.future.pop(session, None)
        if not found:
            assert state.origin is not None
            found = [stamp - state.origin]
            before = [place for place, frame in enumerate(state.frames) if frame.hi < stamp]
            if before:
                last, rest = state.frames[before[-1]], [x for x in state.frames[before[-1] :] if x.lo > stamp]
                found = [last.count + last.hi - last.lo, *(rest[0].count - (rest[0].lo - stamp) for _ in rest[:1])]
        return state.count - max(found)
