"""A pace: a burst, and then a steady rate."""

from __future__ import annotations

import math

import trio


class Pace:
    """Lets a burst of callers through, and delays the following ones; it refuses none.

    Args:
        burst: Callers that pass at once, after a pause.
        per_second: Callers that pass in the long run.
    """

    def __init__(self, burst: int, per_second: float) -> None:
        self._interval_seconds = 1 / per_second
        self._burst_seconds = burst / per_second
        self._even_at = -math.inf  # when all callers so far would have passed at the steady rate; trio's clock

    async def wait(self) -> None:
        """Wait for the caller's turn."""
        now = trio.current_time()
        self._even_at = max(self._even_at, now) + self._interval_seconds
        await trio.sleep(max(0.0, self._even_at - self._burst_seconds - now))
