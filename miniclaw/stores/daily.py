"""The turns of one program at the daily cleanup, which all programs over a store share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import partial
from typing import Final

import msgspec
import trio

from miniclaw.clock import MICROSECOND, to_microseconds
from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.maintenance.wakeup import Idle
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.notice import LastRun
from miniclaw.session.retention.schedule import latest_time_of_day, next_time_of_day
from miniclaw.stores.hot import patiently
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.sweep import Sweeper
from miniclaw.stores.types import CLOCK_TOLERANCE, Turn

CLAIM: Final = timedelta(minutes=30)
"""Time for one run; after that another program may begin it anew."""

CHECK_SECONDS: Final = 15 * 60.0
"""Longest time between two questions whether the cleanup is due."""

END_SECONDS: Final = 5.0
"""Time for the end of a turn, also if the program is cancelled."""

log: Final = get_logger("miniclaw.session.cleanup")


class DailySweep:
    """Takes turns at the daily cleanup.

    Args:
        store: The store.
        sweeper: Carries out a run.
        schedule: Time between the beginnings of two runs of any program, or the time of day.
        removes: If false, the runs only announce.
        notice: If true, the runs remove only what a run has announced.
        now: The present.

    Attributes:
        last_result: The result of this program's last run that removed; None: none since the start.
        ended: Set while no run takes place: before `run`, and when it has ended.
    """

    def __init__(
        self,
        store: SessionStore,
        sweeper: Sweeper,
        schedule: timedelta | time,
        *,
        removes: bool,
        notice: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sweeper = sweeper
        self._schedule = schedule
        self._removes = removes
        self._notice = notice
        self._now = now
        self._idle = Idle()
        self.ended: trio.Event = trio.Event()
        self.ended.set()
        self.last_result: CleanupResult | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up by the schedule until stopped.

        Cancellation: the present call to the store is broken off; the store and its audit log are sound.
        """
        self.ended = trio.Event()
        task_status.started()
        try:
            await self._run()
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Stop: a run under way ends after its present batch."""
        self._idle.stop()
        self._sweeper.stop()

    async def _run(self) -> None:
        while not self._idle.stopping:
            try:
                turn = await patiently(partial(self._store.begin_sweep, self._since_due(), CLAIM))
                if turn.token:
                    await self._take(turn)
                    continue
                seconds = min(max(turn.wait, self._until_due()).total_seconds(), CHECK_SECONDS)
            except StoreError as error:
                log.error("Session cleanup failed; the next one follows as planned", error=str(error))
                seconds = CHECK_SECONDS
            await self._idle.until(trio.current_time() + seconds)

    async def _take(self, turn: Turn) -> None:
        completed, present = False, self._now()
        is_sure = abs(turn.now - present) <= CLOCK_TOLERANCE
        if not is_sure:
            log.warning(
                "Sessions are only announced, because this machine's clock differs from the store's",
                now=present.isoformat(),
                store=turn.now.isoformat(),
            )
        removes = self._removes and is_sure
        try:
            result = await self._sweeper.run(by="service", last=_decode(turn.note), waits=self._notice, removes=removes)
            self.last_result = result if removes else self.last_result
            completed = not result.interrupted
        finally:
            began = to_microseconds(present)
            note = msgspec.json.encode(LastRun(began, began, began, self._sweeper.rules()))
            with trio.move_on_after(END_SECONDS, shield=True):
                await self._store.end_sweep(turn.token, note, completed=completed)

    def _since_due(self) -> timedelta:
        """Return how long ago the last run has to have begun for the next one to be due."""
        if isinstance(self._schedule, timedelta):
            return self._schedule
        now = self._now()  # a run that began exactly at the time of day is that day's
        return now - latest_time_of_day(now, self._schedule) + MICROSECOND

    def _until_due(self) -> timedelta:
        """Return the time until the next run at a time of day; zero for an interval, which the store counts."""
        if isinstance(self._schedule, timedelta):
            return timedelta(0)
        return next_time_of_day(self._now(), self._schedule) - self._now()


def _decode(note: bytes) -> LastRun | None:
    """Return the record of the last run; None for a note of another program."""
    try:
        return msgspec.json.decode(note, type=LastRun) if note else None
    except ValueError:
        return None
