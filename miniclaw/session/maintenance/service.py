"""The cleanup as a background service: daily, and limited to sessions that an earlier run has announced.

`miniclaw.session.retention.schedule` decides when it runs, and `miniclaw.session.retention.notice` which sessions it
may delete.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from math import isfinite
from typing import Final

import trio

from miniclaw.errors import RuntimeClosedError, StoreError
from miniclaw.foreign import Contained
from miniclaw.loggers import get_logger
from miniclaw.session.cleanup import RECORD_SECONDS, Cleanup, CleanupResult, OnPlan
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.maintenance.announcements import WHY, Announcement, OnAnnounced, due_entries, find_new
from miniclaw.session.maintenance.wakeup import Idle
from miniclaw.session.records.result import plan_event
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.timekeeper import Timekeeper

CHECK_SECONDS: Final = 15 * 60
"""Time between two looks at the clocks during the wait for a run.

The wall clock may be set, and trio's clock stands still while the machine sleeps.
"""

_ONLY_ANNOUNCES: Final = "the mode is to announce"

log: Final = get_logger("miniclaw.session.cleanup")


class CleanupService:
    """Runs a `Cleanup` by its schedule.

    Args:
        cleanup: The cleanup, which has the schedule.
        time: The time and the announcements of earlier runs; already started.
        removes: If false, each run only announces the sessions that it would delete.
        notice: If true, a run deletes only sessions announced by an earlier run.
        waits: If true, no run begins before `release` is called.
        on_announced: Called after a run with an announcement of expired sessions; None: no call.
        hooks: Told of all sessions that a run announces; None: there are none.

    Attributes:
        removes: As the argument, like `notice`; both are replaced by `change_rules`.
        next_run_at: Time at which the next run is due; None: no run is scheduled.
        last_result: The result of the last deleting run; None: none since the start.
        runs: Number of runs attempted since the start.
        failures: Number of calls of `on_announced` that raised.
        announcement: The latest announcement of expired sessions; None: none since the start.
        announced_in_time: Number of sessions announced before they had expired, since the start.
        announced_late: Number of sessions announced after they had expired, since the start.
    """

    def __init__(
        self,
        cleanup: Cleanup,
        *,
        time: Timekeeper,
        removes: bool = True,
        notice: bool = True,
        waits: bool = False,
        on_announced: OnAnnounced | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self._cleanup = cleanup
        self._time = time
        self.removes: bool = removes
        self.notice: bool = notice
        self._waits = waits
        self._on_announced = on_announced
        self._hooks = hooks or Hooks()
        self._idle = Idle()
        self._began: LastRun | None = None  # the last run since the start, also one that failed
        self._due: int | None = None  # after a deleting run, without those that it deleted; None: as announced
        self._released = trio.Event()
        self.next_run_at: datetime | None = None
        self.last_result: CleanupResult | None = None
        self.runs: int = 0
        self.failures: int = 0
        self.announcement: Announcement | None = None
        self._untold: Announcement | None = None  # the same, until the program is called with it
        self.announced_in_time: int = 0
        self.announced_late: int = 0

    @property
    def held(self) -> str:
        """The reason why the guard against mass removal held the last run; empty if it was not held, or let through."""
        return self._time.state.held

    @property
    def due(self) -> int:
        """Number of sessions due after the last run; before the first run since the start, files count as well."""
        return len(self._time.due) if self._due is None else self._due

    @property
    def is_behind(self) -> bool:
        """True if the wall clock is behind a time known earlier, and therefore in doubt."""
        return self._time.ages().doubted

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up until stopped. Started once the time of the next run is known.

        Cancellation: as for `Cleanup.run`.
        """
        self._look()
        task_status.started()
        if self._waits:
            await self._released.wait()
        while await self._is_due():
            try:
                await self._turn()
            except RuntimeClosedError:  # the runtime ended before the run could begin
                return
            except StoreError as error:
                log.error("Session cleanup failed; the next one follows as planned", error=str(error))
            self.runs += 1
            self._look()
            await self._tell_program()

    def release(self) -> None:
        """Let a service begin that was made with `waits`; otherwise without effect."""
        self._released.set()

    def change_rules(self, schedule: Schedule, *, removes: bool, notice: bool) -> None:
        """Apply other rules, and the manager's present policy; on the trio thread.

        A run under way ends after its present batch, and is repeated.
        """
        self.removes, self.notice = removes, notice
        self._cleanup.change_rules(schedule)
        self._began = None
        self._look()
        self._idle.wake()

    def stop(self) -> None:
        """Stop the service after its present batch, if any."""
        self._idle.stop()
        self._released.set()
        self._cleanup.stop()

    def _look(self) -> float:
        """Update `next_run_at`, and return the seconds until the next run; infinite if none is scheduled."""
        moment = self._time.moment()
        last = moment.last_run if self._began is None else self._began
        self.next_run_at = self._cleanup.schedule.next_run(moment.ages, last, moment.boottime)
        return float("inf") if self.next_run_at is None else (self.next_run_at - moment.ages.now).total_seconds()

    async def _is_due(self) -> bool:
        """Wait until the next run is due; return False if the service is stopping."""
        while not self._idle.stopping:
            delay = self._look()
            if delay <= 0:
                await trio.lowlevel.checkpoint()
                return not self._idle.stopping
            await self._idle.until(trio.current_time() + (min(delay, CHECK_SECONDS) if isfinite(delay) else delay))
        return False

    async def _turn(self) -> None:
        """Make one run, and store its announcements."""
        moment = self._time.moment()
        policy, schedule = self._cleanup.policy, self._cleanup.schedule
        notice = moment.notice(policy, schedule.interval, waits=self.notice, on=self.notice)
        # A failed run postpones the next one as well; only a restart or other rules cause an immediate retry.
        began = self._began = schedule.due_at(notice.ended(), moment.last_run)
        told = False

        async def tell(plan: CleanupPlan) -> None:
            nonlocal told
            if notice.on:
                await self._tell_due(plan)  # first: if it is cancelled, the next run announces all again
                await self.announce(plan)
            told = True

        held, complete = "", False
        try:
            if self.removes:
                self.last_result = await self._cleanup.run(notice=notice, on_plan=tell)
                held, complete = self.last_result.held, not self.last_result.interrupted
                self._due = self.last_result.due
            else:
                complete = await self._only_announce(notice, tell)
                self._due = None if complete else self._due
        except BaseException:
            if told:  # otherwise the next run would announce the same again
                with trio.move_on_after(RECORD_SECONDS, shield=True):
                    await self._time.remember(notice, None, held=held)
            raise
        if told:
            await self._time.remember(notice, began if complete else None, held=held)

    async def _only_announce(self, notice: Notice, tell: OnPlan) -> bool:
        """Announce the sessions that a run would delete; return whether the scan was complete, by the present rules."""
        with self._cleanup.stats.counting() as count:
            plan = await self._cleanup.plan(notice)
            if self._idle.stopping or self._began is None:  # other rules: the run is repeated
                return False
            would_go = bool(plan.removals) or any(
                row.leftover.kind in {"trash", "quarantined"} for row in plan.leftovers
            )
            count.scanned = plan.sessions_scanned
            count.outcome = "announced" if would_go else None
        await tell(plan)
        if would_go:
            log.warning(
                "Session cleanup only announces; nothing is removed",
                sessions=len(plan.removals),
                bytes=plan.bytes,
                leftovers=len(plan.leftovers),
                reasons={reason: count.sessions for reason, count in plan.by_reason().items()},
                because=_ONLY_ANNOUNCES,
            )
            await self._cleanup.record(partial(plan_event, plan, "announced", "service", because=_ONLY_ANNOUNCES))
        return True

    async def announce(self, plan: CleanupPlan) -> None:
        """Count the sessions that a plan announces, and report those that have expired in the log and the history."""
        new = await self._cleanup.in_thread(partial(find_new, plan))
        self.announced_in_time += new.in_time
        self.announced_late += len(new.late)
        if not (new.late or new.files):
            return
        goes_at = self._goes_at()(new.stays)
        announcement = new.announcement(plan.now, goes_at)
        because = "; ".join(WHY[why] for why in new.reasons)
        log.warning(
            "Expired sessions announced; they are deleted unless they are used",
            sessions=announcement.sessions,
            bytes=announcement.bytes,
            quarantined=announcement.files,
            goes_at="not by itself" if goes_at is None else goes_at.isoformat(timespec="minutes"),
            reasons=announcement.reasons,
            because=because,
        )
        await self._cleanup.record(
            partial(
                plan_event, plan, "announced", "service", sessions=new.late, files=[due.leftover for due in new.files],
                because=because, announced=len(new.late), goes_at=goes_at,
            )
        )  # fmt: skip
        self.announcement = self._untold = announcement

    async def _tell_due(self, plan: CleanupPlan) -> None:
        if self._hooks.wants_due:
            work = partial(due_entries, plan, self._goes_at())
            await self._hooks.tell_due(await self._cleanup.in_thread(work))

    def _goes_at(self) -> Callable[[timedelta], datetime | None]:
        """Return a function that returns the time of the first run at least so long from now.

        That is None if no run is scheduled, or none deletes.
        """
        ages, schedule = self._time.ages(), self._cleanup.schedule
        next_run = schedule.next_run(ages, self._began, self._time.look()) if self.removes else None
        return lambda stays: schedule.run_from(next_run, ages.now + stays)

    async def _tell_program(self) -> None:
        announcement, self._untold = self._untold, None
        if announcement is not None and self._on_announced is not None:
            with Contained(self._could_not_tell):
                await self._on_announced(announcement)

    def _could_not_tell(self, error: BaseException) -> None:
        self.failures += 1
        log.bug("Program could not be told what was announced", error)
