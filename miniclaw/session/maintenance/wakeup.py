"""Where a background service waits for its next turn, and hears that it is to stop."""

from __future__ import annotations

from math import isfinite
from typing import Final

import trio

MAX_INTERVAL_SECONDS: Final = 100 * 365 * 24 * 60 * 60


def check_interval(seconds: float) -> None:
    """Check the time between two turns.

    Raises:
        ValueError: It is not positive, or beyond a hundred years.
    """
    if not (isfinite(seconds) and 0 < seconds <= MAX_INTERVAL_SECONDS):
        raise ValueError(f"interval_seconds is positive and at most {MAX_INTERVAL_SECONDS}, not {seconds}")


class Idle:
    """The wait between two turns of one service.

    Attributes:
        stopping: Set once, by `stop`; the service ends after the step it is at.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._event = trio.Event()  # replaced by `until`, on the trio thread

    def wake(self) -> None:
        """Cut the wait short."""
        self._event.set()

    def stop(self) -> None:
        """End the service: no further turn is begun."""
        self.stopping = True
        self._event.set()

    async def until(self, deadline: float) -> None:
        """Wait for a deadline on trio's clock, or until somebody wakes or stops the service."""
        with trio.move_on_at(deadline):
            await self._event.wait()
        self._event = trio.Event()
        if self.stopping:
            self._event.set()
