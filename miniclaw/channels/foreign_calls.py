"""The calls of channels and models under way, so that the log names one that does not end.

Foreign code may wait for ever, and a shield of its own may keep it from being cancelled. A call cannot be ended from
outside, so it is only reported: once it is overdue, and when it holds up the end of the gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

OVERDUE_SECONDS: Final = 300
"""Time after which a call that has not ended is reported; for a model, the time without a piece of its answer."""

_NEVER: Final = float("inf")


class ForeignCalls:
    """The calls under way. Changed on the trio thread only."""

    def __init__(self) -> None:
        # Changed by the calls themselves. A set, in the order of entering:
        self.under_way: dict[ForeignCall, None] = {}

    def __repr__(self) -> str:
        return f"<ForeignCalls {' '.join(self.names())}>"

    def call(self, name: str, *, lasts: bool = False) -> ForeignCall:
        """Return a context manager for a call.

        Args:
            name: The channel or the model, and its method.
            lasts: If true, the call may last as long as the gateway, and is never overdue.
        """
        return ForeignCall(self, name, lasts=lasts)

    def names(self) -> list[str]:
        """Return the names of the calls under way, each once; a model that waits for its channel is left out."""
        return list(dict.fromkeys(call.name for call in self.under_way if not call.is_paused))

    async def watch(self, report: Callable[[str], object]) -> None:
        """Report each overdue call once, by its name, until cancelled."""
        while True:
            # A call that begins during the sleep is overdue after it: no call has to wake this task.
            latest = trio.current_time() + OVERDUE_SECONDS
            await trio.sleep_until(min([latest, *(call.overdue_at for call in self.under_way)]))
            for call in list(self.under_way):
                if call.overdue_at <= trio.current_time():
                    call.overdue_at = _NEVER
                    report(call.name)


class ForeignCall:
    """A context manager around one call; made by `ForeignCalls.call`.

    Attributes:
        overdue_at: Time on trio's clock at which the call is reported.
        is_paused: True while our own code runs inside of the call.
    """

    def __init__(self, calls: ForeignCalls, name: str, *, lasts: bool) -> None:
        self._calls = calls
        self._lasts = lasts
        self.name = name
        self.overdue_at: float = _NEVER
        self.is_paused: bool = False

    def __enter__(self) -> ForeignCall:
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        del self._calls.under_way[self]

    def pause(self) -> None:
        """Do not count the time from now on: foreign code has returned for now, with a piece of an answer."""
        self.is_paused, self.overdue_at = True, _NEVER

    def go_on(self) -> None:
        """Count the time anew, after `pause`."""
        self.is_paused = False
        self.overdue_at = _NEVER if self._lasts else trio.current_time() + OVERDUE_SECONDS
        self._calls.under_way[self] = None
