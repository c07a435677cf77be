"""What the API works on: a running gateway, and the ways to look at it without stalling it."""

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
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.records.moment import Moment
from miniclaw.session.retention.notice import Notice
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.threads import run_in_thread
from miniclaw.workspace.reader import FixedPlace, Progress, notice_at

T = TypeVar("T")

LOOKING_THREADS: Final = 2
"""How many requests may look at the disk at once; the others wait."""

SAVE_SECONDS: Final = 5
"""How long looking waits for a save of what is in memory, before it shows what is on the disk."""


@dataclass(frozen=True, kw_only=True)
class AdminContext:
    """What the API works on.

    Attributes:
        in_force: The configuration in force.
        home: Where everything lies.
        runtime: The sessions.
        operations: What an administrator can do to them; the API says itself who acts.
        live: Returns how the gateway is.
        entrance: Makes a one-time code for a browser.
    """

    in_force: ConfigInForce
    home: Home
    runtime: SessionRuntime
    operations: SessionOperations
    live: Callable[[], LiveStatus]
    entrance: Callable[[], Entrance]
    _limiter: trio.CapacityLimiter = field(default_factory=partial(trio.CapacityLimiter, LOOKING_THREADS))

    @property
    def config(self) -> Config:
        """The configuration in force now; a thread goes by that of `place`."""
        return self.in_force.config

    def place(self) -> FixedPlace:
        """Return where to look, by the rules of this moment: for a look during which they may change."""
        return FixedPlace(self.home, self.config)

    def notice(self, *, waits: bool = False) -> Notice:
        """Return the notice of a run that would begin now; see `notice_at`. On the trio thread."""
        return notice_at(self, self.moment(), waits=waits)

    def moment(self) -> Moment:
        """Return what is known of the time and of earlier runs, now; on the trio thread."""
        return self.runtime.time.moment()

    async def look(self, work: Callable[[Progress], T], *, saves: bool = True) -> T:
        """Look at the disk in a thread, and return what was found.

        Args:
            work: Called in the thread with what it has to call now and then: that ends it when nobody waits any more.
            saves: Whether to save before what is in memory only; where that fails, the disk is shown as it is.

        Cancellation: leaves at once; the thread ends at its next step.
        """
        if saves:
            with trio.move_on_after(SAVE_SECONDS):
                await self.save()
        given_up = False

        def step(_entries: int) -> None:
            if given_up:
                raise _GivenUpError

        try:
            return await run_in_thread(partial(work, step), limiter=self._limiter)
        finally:
            given_up = True

    async def save(self) -> SaveReport:
        """Save all sessions that have unsaved changes. A failure is an ERROR in the log, and told in the report."""
        return await self.runtime.manager.save_all_sessions()


class _GivenUpError(Exception):
    """Ends a thread for which nobody waits any more."""
