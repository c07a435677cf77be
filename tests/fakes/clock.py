"""Clocks for tests, moved by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import trio

from tests.fakes.threads import settle


class WallClock:
    """The clocks of a machine: stand still until they are moved. Called, it tells the wall clock.

    A `miniclaw.clock.Clock`, and a `miniclaw.clock.Now`.

    Attributes:
        now: The wall clock; set, it jumps, and no time passes.
        uptime: Since the start of the machine, in seconds.
        boot: Which run of the machine it is.
        server: Whether a time server vouches for the wall clock.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.uptime = 100 * 24 * 60 * 60.0
        self.boot = "first"
        self.server = False

    def __call__(self) -> datetime:
        return self.now

    def wall(self) -> datetime:
        """See `Clock.wall`."""
        return self.now

    def boottime(self) -> float:
        """See `Clock.boottime`."""
        return self.uptime

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return self.boot

    def synchronised(self) -> bool:
        """See `Clock.synchronised`."""
        return self.server

    def move(self, **by: Any) -> None:
        """Let time pass, given by the arguments of a timedelta; backwards, only the wall clock is set."""
        self.now += timedelta(**by)
        self.uptime += max(0.0, timedelta(**by).total_seconds())

    def jump(self, **by: Any) -> None:
        """Set the wall clock, by a timedelta, given by its arguments; no time passes."""
        self.now += timedelta(**by)

    def reboot(self, *, off: timedelta, uptime: timedelta = timedelta(hours=1)) -> None:
        """Switch the machine off, and look at it again when it has run for a while."""
        self.now += off + uptime
        self.boot += "+"
        self.uptime = uptime.total_seconds()

    def ago(self, **by: Any) -> datetime:
        """Return the time that long ago."""
        return self.now - timedelta(**by)


class DaysPass(trio.abc.Clock):
    """trio's clock and a wall clock together: both stand still, and move when a test calls this.

    pytest-trio takes it for its clock where a test has it as a parameter of its own.
    """

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall
        self._seconds = 0.0

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """See `trio.abc.Clock`."""
        return self._seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See `trio.abc.Clock`."""
        return 0 if deadline <= self._seconds else 999_999_999

    async def __call__(self, days: float) -> None:
        """Let days pass on both clocks, and wait until everything that this sets off is done."""
        self._wall.move(days=days)
        self._seconds += days * 24 * 60 * 60
        await settle()
