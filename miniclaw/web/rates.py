"""Rates: a bucket of tokens for each client, filled at a steady pace. Only the trio thread touches them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import trio


class Rates:
    """How often each client may do something.

    Args:
        per_second: How often over a long time.
        burst: How often at once, after a pause.
        max_clients: How many clients are remembered; of more, the one that was quiet for longest is forgotten.
        now: A clock, in seconds.
    """

    def __init__(
        self, per_second: float, burst: int, max_clients: int, *, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_clients = max_clients
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when; oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, client: str) -> float:
        """Return how often a client could do it now."""
        left, at = self._buckets.get(client, (float(self._burst), 0.0))
        return min(self._burst, left + (self._now() - at) * self._per_second)

    def take(self, client: str) -> int:
        """Let a client do it once.

        Returns:
            0, or after how many seconds it may try again; then nothing was taken.
        """
        left = self.left(client)
        if left < 1:
            return max(1, math.ceil((1 - left) / self._per_second))
        self._buckets[client] = (left - 1, self._now())
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0
