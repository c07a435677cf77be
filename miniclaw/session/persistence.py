"""The autosave service: saves the changed sessions every so often.

A save that fails is logged and tried again at the next tick; a save that hangs holds up no other one, and the next
tick comes on time.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from miniclaw.errors import StoreError
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.idle import Idle
from miniclaw.session.logs import get_logger
from miniclaw.session.manager import SaveReport, SessionManager
from miniclaw.session.state import StateDirectory

PERSISTENCE_INTERVAL_SECS: Final = 30
"""Seconds between two saves, unless configured otherwise."""

log = get_logger("miniclaw.session.persistence")


class Persistence:
    """Saves what is dirty, every `interval_seconds`, or sooner when memory is overfull.

    Args:
        manager: Whose sessions are saved.
        state: Where each tick leaves the time, for the next start; None: nowhere.
        interval_seconds: Positive.
        clock: The wall clock.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        state: StateDirectory | None = None,
        interval_seconds: float = PERSISTENCE_INTERVAL_SECS,
        clock: Clock = utc_now,
    ) -> None:
        if not interval_seconds > 0:
            raise ValueError(f"interval_seconds is positive, not {interval_seconds}")
        self._manager = manager
        self._state = state
        self._interval = interval_seconds
        self._clock = clock
        self._idle = Idle()
        self._limiter = trio.CapacityLimiter(1)
        self.ticks = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save until stopped.

        Cancellation: saves that have begun are finished in the background; nothing is flushed.
        """
        self._manager.on_overfull = self._idle.wake
        next_tick = trio.current_time() + self._interval
        task_status.started()
        while True:
            await self._idle.until(next_tick)
            if self._idle.stopping:
                return
            now = trio.current_time()
            if now >= next_tick:
                # A tick that was missed, in a suspended machine, is not made up for.
                next_tick += self._interval * ((now - next_tick) // self._interval + 1)
            with trio.move_on_at(next_tick):
                await self.tick()

    async def tick(self) -> SaveReport:
        """Save once, now."""
        report = await self._manager.save_all_sessions()
        if report.saved:
            log.debug("Sessions saved", saved=report.saved, failed=len(report.failed))
        if self._state is not None:
            try:
                await trio.to_thread.run_sync(
                    partial(self._state.write_last_seen, self._clock()), abandon_on_cancel=True, limiter=self._limiter
                )
            except StoreError as error:
                log.error("Time could not be recorded", error=str(error))
        self.ticks += 1
        return report

    def stop(self) -> None:
        """End the service after the save it is at, if any."""
        self._idle.stop()
