"""What lies on the disk, as it was a while ago: measured in the background, so that nobody waits for a listing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.session.maintenance.usage import DiskUsage

REFRESH_SECONDS: Final = 60
"""So old a measurement is still good enough, exclusive."""

PATIENCE_SECONDS: Final = 1.0
"""How long at most somebody who asks waits for a measurement that is under way, from its beginning."""


class Measured(Struct, frozen=True):
    """A measurement.

    Attributes:
        usage: What was found.
        ended: When, by trio's clock.
        duration_seconds: How long it took.
    """

    usage: DiskUsage
    ended: float
    duration_seconds: float

    def age_seconds(self) -> float:
        """Return how long ago that was."""
        return max(0.0, trio.current_time() - self.ended)


class DiskCache:
    """Measures when somebody asks and the last time is long ago; all who ask meanwhile share that one.

    Args:
        measure: Measures, without blocking the loop.

    Attributes:
        last: What is known; None: nothing yet.
    """

    def __init__(self, measure: Callable[[], Awaitable[DiskUsage]]) -> None:
        self._measure = measure
        self.last: Measured | None = None
        self._wanted = trio.Event()
        self._ended = trio.Event()
        self._began: float | None = None  # while one is under way, or was asked for
        self._running = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure whenever that is asked for, until cancelled.

        Cancellation: a batch that a thread is at is completed in the background.
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
        """Return what is known; waits for something newer for up to `PATIENCE_SECONDS` where that is old, or nothing.

        Returns:
            None: Nothing is known yet.
        """
        last = self.last
        if self._running and (last is None or last.age_seconds() >= REFRESH_SECONDS):
            if self._began is None:
                self._began = trio.current_time()
                self._wanted.set()
            with trio.move_on_at(self._began + PATIENCE_SECONDS):
                await self._ended.wait()
        return self.last
