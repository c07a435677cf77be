"""Rates of actions, for each client: beyond its rate, an action is refused or delayed. Used on the trio thread only."""

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
        max_clients: Clients whose rates are kept; of more, the one that was quiet for longest is forgotten.
        now: A clock, in seconds.
    """

    def __init__(
        self, per_second: float, burst: int, max_clients: int = 1, *, now: Callable[[], float] = trio.current_time
    ) -> None:
        self._interval_seconds = 1 / per_second
        self._burst = burst
        self._max_clients = max_clients
        self._now = now
        # When all actions of a client so far would have passed at the steady rate; the quietest client first.
        self._even_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._even_at)

    def left(self, client: str) -> float:
        """Return the number of actions that a client has left now: a fraction, and negative while it waits."""
        now = self._now()
        return self._burst - max(0.0, self._even_at.get(client, now) - now) / self._interval_seconds

    def take(self, client: str) -> int:
        """Take one action of a client, and return 0; or take none, and return the whole seconds until a next try."""
        left = self.left(client)
        if left < 1:
            return max(1, math.ceil((1 - left) * self._interval_seconds))
        self._count(client, self._now())
        return 0

    async def wait(self, client: str = "") -> None:
        """Take one action of a client, and wait for its turn; there is no checkpoint if that is now."""
        now = self._now()
        self._count(client, now)
        seconds = self._even_at[client] - now - self._burst * self._interval_seconds
        if seconds > 0:
            await trio.sleep(seconds)

    def _count(self, client: str, now: float) -> None:
        self._even_at[client] = max(self._even_at.get(client, now), now) + self._interval_seconds
        self._even_at.move_to_end(client)
        if len(self._even_at) > self._max_clients:
            self._even_at.popitem(last=False)
