"""The context of the API: a running gateway, and reads of its workspace that do not stall it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import trio

from miniclaw.admin.client.messages import Entrance
from miniclaw.admin.monitoring.live_status import LiveStatus
from miniclaw.config import Config, Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.session.journal.overlay import KnownSegments
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.threads import run_in_thread
from miniclaw.workspace.workspace import Workspace

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
    _known_segments: KnownSegments = field(default_factory=KnownSegments)
    _limiter: trio.CapacityLimiter = field(default_factory=partial(trio.CapacityLimiter, LOOKING_THREADS))

    @property
    def config(self) -> Config:
        """The configuration in force now; a worker thread uses that of its `Workspace`."""
        return self.in_force.config

    async def look(self, work: Callable[[Workspace], T], *, saves: bool = True) -> T:
        """Read the workspace in a worker thread, and return the result.

        The moment and the configuration are those of the call; a reload meanwhile does not change them.

        Args:
            work: Called in the thread.
            saves: If true, all changes are made durable first; if that fails, the disk is read as it is.

        Cancellation: returns at once; the thread ends at the next step of a scan.
        """
        config, moment = self.config, self.runtime.time.moment()
        if saves:
            with trio.move_on_after(SAVE_SECONDS):
                await self.runtime.manager.saver.commit_all()
        given_up = False

        def step(_entries: int) -> None:
            if given_up:
                raise _GivenUpError

        def read() -> T:
            scanning, known = (lambda: nullcontext(step)), self._known_segments
            with Workspace(self.home, lambda: config, moment, scanning=scanning, known_segments=known) as workspace:
                return work(workspace)

        try:
            return await run_in_thread(read, limiter=self._limiter)
        finally:
            given_up = True


class _GivenUpError(Exception):
    """Ends a worker thread whose caller was cancelled."""
