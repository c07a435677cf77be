"""The cleanup as a background service: daily, and announcing first where removing in silence could be wrong.

When and whether is decided in `miniclaw.session.retention.schedule`; this module waits, runs and remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import partial
from typing import Final, TypeVar

import trio

from miniclaw.errors import RuntimeClosedError, StoreError
from miniclaw.session.cleanup import Cleanup, CleanupResult
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.clock_guard import ClockGuard
from miniclaw.session.idle import Idle, check_interval
from miniclaw.session.logs import get_logger
from miniclaw.session.retention import schedule
from miniclaw.session.retention.schedule import ANNOUNCE_PERIOD, CLEANUP_INTERVAL_SECS
from miniclaw.session.retention.time_of_day import next_time_of_day
from miniclaw.session.state import Announcement, CleanupState, StateDirectory, Suspicion
from miniclaw.session.threads import ThreadRunner, run_in_thread

T = TypeVar("T")

COMMAND = "miniclaw sessions cleanup --yes"

CHECK_SECONDS: Final = 60 * 60
"""How often the wall clock is looked at while a time of day is waited for: it may be set, or change to summer time."""

_EXPLANATIONS: dict[Suspicion, str] = {
    "first_sweep": "this workspace has never been swept",
    "clock_ran_ahead": "the wall clock ran more than a day ahead of the monotonic one",
    "long_absence": "by the clock, nobody was here for more than half of the shortest TTL; it may be wrong",
}

log = get_logger("miniclaw.session.cleanup")


class CleanupService:
    """Runs a `Cleanup` at its times.

    Args:
        cleanup: What is run.
        state: Where the times are kept.
        guard: Watches the clock; started by the caller.
        interval_seconds: From the beginning of one run to the beginning of the next, positive; None: never.
        at: A time of day in the machine's zone, naive, instead of `interval_seconds`.
        removes: False: each run only announces.
        announce_first: Whether to announce in the cases that `miniclaw.session.retention.schedule` lists.
        waits: Whether nothing is done before `release` is called.
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
        at: time | None = None,
        removes: bool = True,
        announce_first: bool = True,
        waits: bool = False,
        clock: Clock = utc_now,
        run: ThreadRunner = run_in_thread,
    ) -> None:
        if interval_seconds is not None:
            check_interval(interval_seconds)
        if at is not None and not (isinstance(at, time) and at.tzinfo is None):
            raise ValueError(f"cleanup_at is a datetime.time without a zone, not {at!r}")
        self._cleanup = cleanup
        self._state_directory = state
        self._guard = guard
        self._interval = None if interval_seconds is None or at else timedelta(seconds=interval_seconds)
        self._at = at
        self._removes = removes
        self._announce_first = announce_first
        self._waits = waits
        self._clock = clock
        self._run = run
        self._idle = Idle()
        self._released = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._state = CleanupState()
        self._deadline = 0.0  # of the next turn, on trio's clock
        self._turn_began = clock()  # by the wall clock
        self.next_run_at: datetime | None = None
        self.last_result: CleanupResult | None = None
        self.runs = 0

    @property
    def suspicion(self) -> Suspicion | None:
        """What is suspicious about the clock and not dealt with."""
        return self._guard.suspicion()

    @property
    def announcement(self) -> Announcement | None:
        """The removal that was announced and not yet carried out, if there is one."""
        return self._state.announcement

    @property
    def held(self) -> str:
        """Why the last run was held by the guard against mass removal; empty where it was not."""
        return self._state.held

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up until stopped. Started once the time of the next run is known.

        Cancellation: as `Cleanup.run`.
        """
        self._state = await self._in_thread(self._state_directory.read_cleanup)
        if self._interval is None and self._at is None:
            task_status.started()
            await self._idle.until(float("inf"))
            return
        self._state, found = schedule.corrected(self._state, self._clock()), self._state
        if self._state != found:
            await self._keep_state()
        self._next_in(self._first_delay())
        task_status.started()
        if self._waits:
            await self._released.wait()
        while await self._is_due():
            period = None
            try:
                period = await self._turn()
            except RuntimeClosedError:  # the end has come before it could begin
                return
            except StoreError as error:
                log.error("Session cleanup failed; the next one follows as planned", error=str(error))
            self._plan_next(period)
            self.runs += 1

    def release(self) -> None:
        """Let a service that was told to wait begin; else without effect."""
        self._released.set()

    def _first_delay(self) -> timedelta:
        now = self._clock()
        if self._at is not None:
            return schedule.delay_until_time_of_day(self._state, now, self._at)
        assert self._interval is not None  # noqa: S101 - for mypy: run() does not come here without
        return schedule.delay_until_next_run(self._state, now, self._interval)

    def _plan_next(self, period: timedelta | None) -> None:
        """Set the time of the next turn.

        Args:
            period: From the beginning of this one, if it is a special one.
        """
        if self._at is not None:
            if period is None:
                self._next_at(next_time_of_day(self._turn_began, self._at))
            else:
                self._next_in(period)
            return
        period = period or self._interval
        assert period is not None  # noqa: S101 - for mypy: without a time of day there is an interval
        self._deadline += period.total_seconds()  # exactly: what a turn takes makes the next one no later
        self.next_run_at = self._clock() + timedelta(seconds=self._deadline - trio.current_time())

    def _next_in(self, delay: timedelta) -> None:
        self._deadline = trio.current_time() + delay.total_seconds()
        self.next_run_at = self._clock() + delay

    def _next_at(self, due: datetime) -> None:
        self._next_in(max(timedelta(0), due - self._clock()))
        self.next_run_at = due  # and not a moment before: the run would see the same time of day ahead of it again

    async def _is_due(self) -> bool:
        """Wait until the next turn is due; return False when the service is to end."""
        while True:
            deadline = self._deadline
            at = self._at if self._state.announcement is None else None
            if at is not None:
                deadline = min(deadline, trio.current_time() + CHECK_SECONDS)
            await self._idle.until(deadline)
            if self._idle.stopping:
                return False
            now, due = self._clock(), self.next_run_at
            if at is None or due is None or now >= due:
                return True
            # Not yet by the wall clock, which may have been set back, by a second or by years.
            self._next_at(min(due, next_time_of_day(now, at)))

    def stop(self) -> None:
        """End the service after the batch it is at, if any."""
        self._idle.stop()
        self._released.set()
        self._cleanup.stop()

    async def remember_run(self, at: datetime) -> None:
        """Take note of a run that somebody has ordered: what it removed need not be announced any more.

        Args:
            at: When it began.

        Raises:
            StoreError: The next start will not know of it.
        """
        self._state = CleanupState(last_run_at=at)
        error = await self._write_state()
        await self._guard.dealt_with(durably=error is None)
        if error is not None:
            raise error

    async def _turn(self) -> timedelta | None:
        """Announce or remove; return the time until the next turn, from the beginning of this one, if it is special."""
        now = self._turn_began = self._clock()
        if not self._removes:
            await self._announce("the mode is to announce", until=None)
            return None
        decision = schedule.decide(self._state, self._guard.suspicion()) if self._announce_first else "remove"
        if decision != "remove":
            if await self._announce(_EXPLANATIONS[decision], until=now + ANNOUNCE_PERIOD):
                await self._remember(schedule.announced(now, decision, self._state))
                return ANNOUNCE_PERIOD
            if self._idle.stopping:
                return None  # the scan broke off: nobody knows what there is to announce
        self.last_result = await self._cleanup.run()
        if not self.last_result.interrupted:
            # Where no session can go nothing was swept: a rule that is set later meets an unswept workspace.
            swept_at = now if self._cleanup.policy.removes_anything else None
            await self._remember(CleanupState(last_run_at=swept_at, held=self.last_result.held))
        return None

    async def _announce(self, because: str, *, until: datetime | None) -> bool:
        """Say what a run would remove; return False where that is nothing, and nothing is worth saying."""
        plan = await self._cleanup.announce(because)
        if self._idle.stopping or not plan.takes_anything:
            return False
        log.warning(
            "Session cleanup announced; nothing is removed yet",
            sessions=len(plan.removals),
            bytes=plan.bytes,
            leftovers=len(plan.leftovers),
            reasons={reason: count.sessions for reason, count in plan.by_reason().items()},
            because=because,
            until=until.isoformat(timespec="seconds") if until else "somebody changes the mode",
            list_them="miniclaw sessions cleanup --dry-run",
            remove_them_now=COMMAND,
        )
        return True

    async def _remember(self, state: CleanupState) -> None:
        # In memory first: also a state directory that cannot be written must not turn an announcement into a loop.
        self._state = state
        await self._guard.dealt_with(durably=await self._keep_state())

    async def _write_state(self) -> StoreError | None:
        """Write the state; return why that failed, or None."""
        try:
            await self._in_thread(partial(self._state_directory.write_cleanup, self._state))
        except StoreError as error:
            return error
        return None

    async def _keep_state(self) -> bool:
        """Write the state; return whether that succeeded, for otherwise it is an ERROR in the log."""
        error = await self._write_state()
        if error is not None:
            log.error("Cleanup state could not be written", error=str(error))
        return error is None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._run(work, limiter=self._limiter)
