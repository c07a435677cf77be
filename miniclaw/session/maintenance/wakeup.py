"""The wait of a background service for its next turn, which a stop ends early."""

from __future__ import annotations

from math import isfinite
from typing import Final

import trio

MAX_INTERVAL_SECONDS: Final = 100 * 365 * 24 * 60 * 60


def check_interval(seconds: float, name: str = "interval_seconds") -> None:
    """Raise an error with the name unless a time between two turns is a number, positive, and at most a hundred years.

    The errors are a `TypeError` and a `ValueError`.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r:.80}")
    if not (isfinite(seconds) and 0 < seconds <= MAX_INTERVAL_SECONDS):
        raise ValueError(f"{name} is positive and at most {MAX_INTERVAL_SECONDS}, not {seconds}")


class Idle:
    """The wait between two turns of one service.

    Attributes:
        stopping: True after `stop`; the service ends after its present step.
    """

    def __init__(self) -> None:
        self.stopping: bool = False
        self._event = trio.Event()  # replaced by `until`, on the trio thread

    def wake(self) -> None:
        """End the present wait early, or the next one at once."""
        self._event.set()

    def stop(self) -> None:
        """Stop the service: no further turn begins."""
        self.stopping = True
        self._event.set()

    async def until(self, deadline: float) -> None:
        """Wait until a deadline on trio's clock, or until the service is woken or stopped."""
        with trio.move_on_at(deadline):
            await self._event.wait()
        self._event = trio.Event()
        if self.stopping:
            self._event.set()
