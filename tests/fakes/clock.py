"""A wall clock for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any


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
