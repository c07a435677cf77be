"""A cache of the disk usage: measured in the background, so that a caller waits for a listing only for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.session.maintenance.usage import DiskUsage

REFRESH_SECONDS: Final = 60
"""Age at which a measurement is stale, inclusive."""

PATIENCE_SECONDS: Final = 1.0
"""Longest wait of a caller for a new measurement, counted from the first request for it."""


class Measured(Struct, frozen=True):
    """A measurement that ended at a time on trio's clock."""

    usage: DiskUsage
    ended: float
    duration_seconds: float

    def age_seconds(self) -> float:
        """Return the seconds since its end."""
        return max(0.0, trio.current_time() - self.ended)


class DiskCache:
    """The last measurement, renewed on request if it is stale; concurrent callers share one measurement.

    `measure` does not block the event loop. Before the first measurement, `last` is None.
    """

    def __init__(self, measure: Callable[[], Awaitable[DiskUsage]]) -> None:
        self._measure = measure
        self.last: Measured | None = None
        self._wanted = trio.Event()
        self._ended = trio.Event()
        self._began: float | None = None  # None unless a measurement is requested or in progress
        self._running = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure on request, until cancelled.

        Cancellation: a batch in progress in a worker thread is completed in the background.
        """
        self._running = True
        task_status.started()
        try:
            while True:
                await self._wanted.wait()
                await self._refresh()
                self._began = None
                self._wanted = trio.Event()
                self._ended.set()
                self._ended = trio.Event()
        finally:
            self._running = False

    async def _refresh(self) -> None:
        began = trio.current_time()
        try:
            usage = await self._measure()
        except StoreError as error:
            usage = DiskUsage(problems=(str(error),))
        ended = trio.current_time()
        self.last = Measured(usage, ended, ended - began)

    async def current(self) -> Measured | None:
        """Return the last measurement, if any; if it is stale or missing, wait `PATIENCE_SECONDS` for a new one."""
        last = self.last
        if self._running and (last is None or last.age_seconds() >= REFRESH_SECONDS):
            if self._began is None:
                self._began = trio.current_time()
                self._wanted.set()
            with trio.move_on_at(self._began + PATIENCE_SECONDS):
                await self._ended.wait()
        return self.last
