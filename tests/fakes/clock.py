"""Clocks for tests, moved by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import trio

from tests.fakes.threads import settle


class WallClock:
    """Stands still until it is moved; implements `miniclaw.session.clock.Clock`."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: Any) -> None:
        """Move by a timedelta, given by its arguments; it may go backwards."""
        self.now += timedelta(**by)

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
