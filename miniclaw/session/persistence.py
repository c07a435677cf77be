"""The autosave service: saves the changed sessions every so often.

A save that fails is logged and tried again at the next tick; a save that hangs holds up no other one, and the next
tick comes on time.
"""

from __future__ import annotations

from typing import Final

import trio

from miniclaw.loggers import get_logger
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.maintenance.wakeup import Idle, check_interval
from miniclaw.session.manager import SessionManager
from miniclaw.session.timekeeper import Timekeeper

PERSISTENCE_INTERVAL_SECS: Final = 30
"""Seconds between two saves, unless configured otherwise."""

log = get_logger("miniclaw.session.persistence")


class Persistence:
    """Saves what is dirty, every `interval_seconds`, or sooner when memory is overfull.

    Args:
        manager: Whose sessions are saved.
        interval_seconds: Positive.
        time: Told with each tick that the program is there.

    Attributes:
        interval_seconds: See above; changed by `set_interval`.
        ticks: How many saves there were.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        interval_seconds: float = PERSISTENCE_INTERVAL_SECS,
        time: Timekeeper | None = None,
    ) -> None:
        check_interval(interval_seconds)
        self._manager = manager
        self._time = time
        self.interval_seconds = interval_seconds
        self._next_tick = float("inf")  # until it runs
        self._idle = Idle()
        self.ticks = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save until stopped.

        Cancellation: saves that have begun are finished in the background; nothing is flushed.
        """
        self._manager.on_overfull = self._idle.wake
        self._next_tick = trio.current_time() + self.interval_seconds
        task_status.started()
        while True:
            await self._idle.until(self._next_tick)
            if self._idle.stopping:
                return
            now = trio.current_time()
            early = now < self._next_tick
            if not early:
                # A tick that was missed, in a suspended machine, is not made up for.
                missed = (now - self._next_tick) // self.interval_seconds
                self._next_tick += self.interval_seconds * (missed + 1)
            with trio.move_on_at(self._next_tick):
                await self.tick(early=early)

    def set_interval(self, seconds: float) -> None:
        """Save at another interval from now on, counted from now; on the trio thread.

        Args:
            seconds: Positive.
        """
        check_interval(seconds)
        self.interval_seconds = seconds
        self._next_tick = trio.current_time() + seconds
        self._idle.wake()  # for a save in between

    async def tick(self, *, early: bool = False) -> SaveReport:
        """Save once, now.

        Args:
            early: Whether it comes between two regular ones; see `SaveStats.ticked`.
        """
        complete = False
        try:
            report = await self._manager.save_all_sessions()
            if report.saved:
                log.debug("Sessions saved", saved=report.saved, failed=len(report.failed))
            if self._time is not None:
                await self._time.tick()
            await self._manager.check_place()
            complete = not report.failed
        finally:
            self._manager.stats.saves.ticked(complete=complete, early=early)
        self.ticks += 1
        return report

    def stop(self) -> None:
        """End the service after the save it is at, if any."""
        self._idle.stop()
