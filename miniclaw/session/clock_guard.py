"""Guards the cleanup against wall clocks that are wrong: notices, and remembers over restarts.

Suspicious is a clock that runs more than a day ahead of the monotonic one, and a start after a very long absence. While
something is suspicious and not yet announced, the record of when the program was last seen stays as it was: so whatever
ends the program, the next start still sees how far the clock has gone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import trio

from miniclaw.errors import OwnershipLostError, StoreError
from miniclaw.session.clock import Clock
from miniclaw.session.logs import get_logger
from miniclaw.session.retention import schedule
from miniclaw.session.retention.schedule import ClockWatch
from miniclaw.session.state import StateDirectory, Suspicion
from miniclaw.session.threads import ThreadRunner, run_in_thread

T = TypeVar("T")

log = get_logger("miniclaw.session.clock")


class ClockGuard:
    """Watches the wall clock of one running program.

    Args:
        state: Where it is recorded when the program was last seen.
        clock: The wall clock.
        shortest_age: Of the policy; None: nothing ever goes by its age, and no absence is too long.
        run: Runs the work on `state` in a thread.
    """

    def __init__(
        self,
        state: StateDirectory,
        clock: Clock,
        shortest_age: timedelta | None,
        *,
        run: ThreadRunner = run_in_thread,
    ) -> None:
        self._state = state
        self._run = run
        self._clock = clock
        self._shortest_age = shortest_age
        self._watch = ClockWatch(clock, trio.current_time)
        self._limiter = trio.CapacityLimiter(1)
        # Both are changed on the trio thread.
        self._pending: Suspicion | None = None
        self._frozen = False

    async def start(self) -> None:
        """Look at the record of an earlier program, before anything runs, and begin a new one."""
        await self._in_thread(self._state.sweep)
        last_seen = await self._in_thread(self._state.read_last_seen)
        if schedule.was_long_absent(last_seen, self._clock(), self._shortest_age):
            self._pending = "long_absence"
        await self.tick()

    def suspicion(self) -> Suspicion | None:
        """Return what is suspicious and not dealt with."""
        if self._pending is None and self._watch.ran_ahead():
            self._pending = "clock_ran_ahead"
        return self._pending

    async def dealt_with(self, *, durably: bool) -> None:
        """Trust the clock from now on: what was suspicious is announced or carried out.

        Args:
            durably: Whether the next start will know of it. Otherwise the record stays as it was.
        """
        self._pending = None
        self._frozen = not durably
        self._watch.rebase()
        await self.tick()

    async def tick(self) -> None:
        """Record that the program is there, unless something is suspicious. A failure is an ERROR in the log."""
        if self._frozen or self.suspicion() is not None:
            return
        try:
            await self._in_thread(partial(self._state.write_last_seen, self._clock()))
        except OwnershipLostError:
            pass  # said once for all
        except StoreError as error:
            log.error("Time could not be recorded", error=str(error))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._run(work, limiter=self._limiter)
