"""The context of the API: a running gateway, and reads of its workspace that do not stall it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import trio

from miniclaw.admin.client.messages import Entrance
from miniclaw.admin.monitoring.live_status import LiveStatus
from miniclaw.config import Config, Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.records.moment import Moment
from miniclaw.session.retention.notice import Notice
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.threads import run_in_thread
from miniclaw.workspace.workspace import FixedPlace, Progress, notice_at

T = TypeVar("T")

LOOKING_THREADS: Final = 2
"""Number of requests that may read the disk at once; others wait."""

SAVE_SECONDS: Final = 5
"""Longest wait of a read for the save of the sessions in memory; after it, the read shows the disk as it is."""


@dataclass(frozen=True, kw_only=True)
class AdminContext:
    """The parts of a running gateway that the API uses."""

    in_force: ConfigInForce
    home: Home
    runtime: SessionRuntime
    operations: SessionOperations
    live: Callable[[], LiveStatus]
    entrance: Callable[[], Entrance]
    _limiter: trio.CapacityLimiter = field(default_factory=partial(trio.CapacityLimiter, LOOKING_THREADS))

    @property
    def config(self) -> Config:
        """The configuration in force now; a worker thread uses that of `place`."""
        return self.in_force.config

    def place(self) -> FixedPlace:
        """Return the home and the present configuration: for a read during which the configuration may be replaced."""
        return FixedPlace(self.home, self.config)

    def notice(self, *, waits: bool = False) -> Notice:
        """Return the notice of a run that begins now, as `notice_at`; on the trio thread."""
        return notice_at(self, self.moment(), waits=waits)

    def moment(self) -> Moment:
        """Return the present time, and the records of earlier runs; on the trio thread."""
        return self.runtime.time.moment()

    async def look(self, work: Callable[[Progress], T], *, saves: bool = True) -> T:
        """Read the disk in a worker thread, and return the result.

        Args:
            work: Called in the thread with a callback that it calls now and then; the callback ends an abandoned read.
            saves: If true, dirty sessions are saved first; if that fails, the disk is read as it is.

        Cancellation: returns at once; the thread ends at its next call of the callback.
        """
        if saves:
            with trio.move_on_after(SAVE_SECONDS):
                await self.runtime.manager.save_all_sessions()
        given_up = False

        def step(_entries: int) -> None:
            if given_up:
                raise _GivenUpError

        try:
            return await run_in_thread(partial(work, step), limiter=self._limiter)
        finally:
            given_up = True


class _GivenUpError(Exception):
    """Ends a worker thread whose caller was cancelled."""
