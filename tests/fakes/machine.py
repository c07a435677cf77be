"""A machine whose clocks are moved by hand, and the timeline that a program keeps on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from miniclaw.clock import MICROSECOND, read_clock
from miniclaw.session.retention.timeline import DAY, Ages, Timeline
from tests.fakes.clock import WallClock

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = DAY // 24


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

    def is_behind(self) -> bool:
        """Return whether its wall clock is not believed."""
        return self.timeline.floor is not None
