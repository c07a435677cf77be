"""Event-loop lag: a task sleeps, and measures the delay of its wake-up.

A late loop answers no request meanwhile: a task blocks it, or the machine is overloaded.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from miniclaw.histogram import Histogram

INTERVAL_SECONDS: Final = 0.5
"""Interval of the measurements."""

RECENT_SECONDS: Final = 60
"""Period over which the longest delay is kept."""

LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Bounds of the buckets, from an idle loop to a blocked one."""


class LoopLag:
    """Measures the lag of the event loop that it runs on; `seconds` has all delays since the start."""

    def __init__(self) -> None:
        self.seconds: Histogram = Histogram(LAG_SECONDS)
        self._recent: deque[tuple[float, float]] = deque()  # time on trio's clock, and delay

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure until cancelled."""
        task_status.started()
        while True:
            await self.measure_once()

    async def measure_once(self) -> None:
        """Sleep for `INTERVAL_SECONDS`, and record the delay of the wake-up."""
        due = trio.current_time() + INTERVAL_SECONDS
        await trio.sleep_until(due)
        now = trio.current_time()
        late = max(0.0, now - due)
        self.seconds.observe(late)
        self._recent.append((now, late))
        self._forget(now)

    def worst_recent(self) -> float | None:
        """Return the longest delay of the last `RECENT_SECONDS`, in seconds; None if nothing was measured in them."""
        self._forget(trio.current_time())
        return max((late for _, late in self._recent), default=None)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
