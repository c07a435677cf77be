"""Rates: a bucket of tokens for each client, refilled at a steady pace. Only the trio thread touches them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import trio


class Rates:
    """The rate at which each client may perform an action.

    Args:
        per_second: Actions of one client in the long run.
        burst: Actions of one client at once, after a pause.
        max_clients: Clients whose buckets are kept; of more, the one that was quiet for longest is forgotten.
        now: A clock, in seconds.
    """

    def __init__(
        self, per_second: float, burst: int, max_clients: int, *, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_clients = max_clients
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left at a time; oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, client: str) -> float:
        """Return the number of actions that a client has left now; it may be a fraction."""
        left, at = self._buckets.get(client, (float(self._burst), 0.0))
        return min(self._burst, left + (self._now() - at) * self._per_second)

    def take(self, client: str) -> int:
        """Take one action from a client's bucket.

        Returns:
            0, or the whole seconds after which the client may try again; then nothing was taken.
        """
        left = self.left(client)
        if left < 1:
            return max(1, math.ceil((1 - left) / self._per_second))
        self._buckets[client] = (left - 1, self._now())
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0
