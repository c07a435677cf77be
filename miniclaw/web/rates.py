"""Rates of actions: a bucket of tokens for each client, and a pace that delays. Only the trio thread touches them."""

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
