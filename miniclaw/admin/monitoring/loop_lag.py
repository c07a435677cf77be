"""How late the event loop is: a task that sleeps, and measures by how much too late it wakes.

A loop that is late answers nobody meanwhile: somebody blocks it, or the machine is overloaded.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from miniclaw.histogram import Histogram

INTERVAL_SECONDS: Final = 0.5
"""How often the loop is looked at."""

RECENT_SECONDS: Final = 60
"""Over how long the worst is kept."""

LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""The buckets: from a loop that is idle to one that stands still."""


class LoopLag:
    """Watches the event loop that it runs on.

    Attributes:
        seconds: All delays since the start.
    """

    def __init__(self) -> None:
        self.seconds = Histogram(LAG_SECONDS)
        self._recent: deque[tuple[float, float]] = deque()  # when, by trio's clock, and how late

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled."""
        task_status.started()
        while True:
            await self.measure_once()

    async def measure_once(self) -> None:
        """Sleep for `INTERVAL_SECONDS`, and count by how much longer that was."""
        due = trio.current_time() + INTERVAL_SECONDS
        await trio.sleep_until(due)
        now = trio.current_time()
        late = max(0.0, now - due)
        self.seconds.observe(late)
        self._recent.append((now, late))
        self._forget(now)

    def worst_recent(self) -> float | None:
        """Return the longest delay of the last `RECENT_SECONDS`; None where nothing was measured in them."""
        self._forget(trio.current_time())
        return max((late for _, late in self._recent), default=None)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
