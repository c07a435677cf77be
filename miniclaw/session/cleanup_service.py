"""The cleanup as a background service: daily, and announcing first where removing in silence could be wrong.

When and whether is decided in `miniclaw.session.schedule`; this module waits, runs and remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import trio

from miniclaw.errors import StoreError
from miniclaw.session import schedule
from miniclaw.session.cleanup import Cleanup, CleanupResult
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.clock_guard import ClockGuard
from miniclaw.session.idle import Idle, check_interval
from miniclaw.session.logs import get_logger
from miniclaw.session.schedule import ANNOUNCE_PERIOD, CLEANUP_INTERVAL_SECS
from miniclaw.session.state import CleanupState, StateDirectory, Suspicion
from miniclaw.session.threads import ThreadRunner, run_in_thread

T = TypeVar("T")

COMMAND = "miniclaw sessions cleanup --yes"

_EXPLANATIONS: dict[Suspicion, str] = {
    "first_sweep": "this workspace has never been swept",
    "clock_ran_ahead": "the wall clock ran more than a day ahead of the monotonic one",
    "long_absence": "by the clock, nobody was here for more than half of the TTL; it may be wrong",
}

log = get_logger("miniclaw.session.cleanup")


class CleanupService:
    """Runs a `Cleanup` at its times.

    Args:
        cleanup: What is run.
        state: Where the times are kept.
        guard: Watches the clock; started by the caller.
        interval_seconds: From the beginning of one run to the beginning of the next, positive; None: never.
        announce_first: Whether to announce in the cases that `miniclaw.session.schedule` lists.
        clock: The wall clock.
        run: Runs the work on `state` in a thread.
    """

    def __init__(
        self,
        cleanup: Cleanup,
        *,
        state: StateDirectory,
        guard: ClockGuard,
        interval_seconds: float | None = CLEANUP_INTERVAL_SECS,
        announce_first: bool = True,
        clock: Clock = utc_now,
        run: ThreadRunner = run_in_thread,
    ) -> None:
        if interval_seconds is not None:
            check_interval(interval_seconds)
        self._cleanup = cleanup
        self._state_directory = state
        self._guard = guard
        self._interval = None if interval_seconds is None else timedelta(seconds=interval_seconds)
        self._announce_first = announce_first
        self._clock = clock
        self._run = run
        self._idle = Idle()
        self._limiter = trio.CapacityLimiter(1)
        self._state = CleanupState()
        self.next_run_at: datetime | None = None
        self.last_result: CleanupResult | None = None
        self.runs = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up until stopped. Started once the time of the next run is known.

        Cancellation: as `Cleanup.run`.
        """
        self._state = await self._in_thread(self._state_directory.read_cleanup)
        now = self._clock()
        if self._interval is None:
            task_status.started()
            await self._idle.until(float("inf"))
            return
        delay = schedule.delay_until_next_run(self._state, now, self._interval)
        deadline = trio.current_time() + delay.total_seconds()
        self.next_run_at = now + delay
        task_status.started()
        while True:
            await self._idle.until(deadline)
            if self._idle.stopping:
                return
            try:
                period = await self._turn()
            except StoreError as error:
                log.error("Session cleanup failed; the next one follows as planned", error=str(error))
                period = self._interval
            deadline += period.total_seconds()
            self.next_run_at = self._clock() + timedelta(seconds=deadline - trio.current_time())
            self.runs += 1

    def stop(self) -> None:
        """End the service after the batch it is at, if any."""
        self._idle.stop()
        self._cleanup.stop()

    async def _turn(self) -> timedelta:
        """Announce or remove; return the time until the next turn, from the beginning of this one."""
        assert self._interval is not None  # noqa: S101 - for mypy: run() does not come here without
        now = self._clock()
        decision = schedule.decide(self._state, self._guard.suspicion()) if self._announce_first else "remove"
        if decision != "remove" and await self._announce(decision, now):
            return ANNOUNCE_PERIOD
        self.last_result = await self._cleanup.run()
        # Where nothing can expire nothing was swept: a TTL that is set later meets an unswept workspace.
        if not self.last_result.interrupted and self._cleanup.policy.shortest_ttl() is not None:
            await self._remember(CleanupState(last_run_at=now))
        return self._interval

    async def _announce(self, reason: Suspicion, now: datetime) -> bool:
        """Say what the next run will remove; return False where that is nothing, and nothing is worth saying."""
        plan = await self._cleanup.plan()
        if not plan.removals:
            return False
        log.warning(
            "Session cleanup announced; nothing is removed yet",
            sessions=len(plan.removals),
            bytes=plan.bytes,
            because=_EXPLANATIONS[reason],
            until=(now + ANNOUNCE_PERIOD).isoformat(timespec="seconds"),
            list_them="miniclaw sessions cleanup --dry-run",
            remove_them_now=f"stop the gateway, then {COMMAND}",
        )
        await self._remember(schedule.announced(now, reason, self._state))
        return True

    async def _remember(self, state: CleanupState) -> None:
        # In memory first: also a state directory that cannot be written must not turn an announcement into a loop.
        self._state = state
        try:
            await self._in_thread(partial(self._state_directory.write_cleanup, state))
        except StoreError as error:
            log.error("Cleanup state could not be written", error=str(error))
            await self._guard.dealt_with(durably=False)
        else:
            await self._guard.dealt_with(durably=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._run(work, limiter=self._limiter)
