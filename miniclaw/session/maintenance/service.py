"""The cleanup as a background service: daily, and deleting only what an earlier run has announced.

When it runs is decided in `miniclaw.session.retention.schedule`, what may go in `miniclaw.session.retention.notice`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from miniclaw.errors import RuntimeClosedError, StoreError
from miniclaw.foreign import Contained
from miniclaw.loggers import get_logger
from miniclaw.session.cleanup import RECORD_SECONDS, Cleanup, CleanupResult, OnPlan
from miniclaw.session.maintenance.announcements import Announcement, Announcer, OnAnnounced
from miniclaw.session.maintenance.wakeup import Idle
from miniclaw.session.records.result import planned_event
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.timekeeper import Timekeeper

CHECK_SECONDS: Final = 15 * 60
"""How often it is looked at the clocks while a run is waited for: they may be set, and trio's stands still in sleep."""

_ONLY_ANNOUNCES: Final = "the mode is to announce"

log = get_logger("miniclaw.session.cleanup")

__all__ = ["Announcement", "CleanupService", "OnAnnounced"]


class CleanupService:
    """Runs a `Cleanup` at its times.

    Args:
        cleanup: What is run; it has the schedule.
        time: The time, and what earlier runs have announced; started.
        removes: False: each run only says what would go.
        notice: Whether it deletes only what was announced.
        waits: Whether nothing is done before `release` is called.
        on_announced: See `OnAnnounced`; None: nobody is told.

    Attributes:
        removes: See above; exchanged by `change_rules`.
        notice: Likewise.
        next_run_at: When the next run is due; None: none comes by itself.
        last_result: What the last run did.
        runs: How many were tried since the start.
        failures: How often `on_announced` has raised.
        announcer: What was announced since the start.
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
    ) -> None:
        self._cleanup = cleanup
        self._time = time
        self.removes = removes
        self.notice = notice
        self._waits = waits
        self._on_announced = on_announced
        self._idle = Idle()
        self._began: LastRun | None = None  # the run before, whatever became of it
        self._released = trio.Event()
        self.next_run_at: datetime | None = None
        self.last_result: CleanupResult | None = None
        self.runs = self.failures = 0
        self.announcer = Announcer(cleanup, self._goes_at)

    @property
    def held(self) -> str:
        """Why the last run was held by the guard against mass removal; empty where it was not, or one went through."""
        return self._time.state.held

    @property
    def announcement(self) -> Announcement | None:
        """What was announced last after it had expired; None: nothing was, since the start."""
        return self.announcer.latest

    @property
    def due(self) -> int:
        """How many sessions were due after the last run; before the first since the start, files as well."""
        return len(self._time.due) if self.last_result is None else self.last_result.due

    @property
    def is_behind(self) -> bool:
        """Whether the wall clock is behind what was known before, and is not believed."""
        return self._time.ages().doubted

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up until stopped. Started once the time of the next run is known.

        Cancellation: as `Cleanup.run`.
        """
        self._look()
        task_status.started()
        if self._waits:
            await self._released.wait()
        while await self._is_due():
            try:
                await self._turn()
            except RuntimeClosedError:  # the end has come before it could begin
                return
            except StoreError as error:
                log.error("Session cleanup failed; the next one follows as planned", error=str(error))
            self.runs += 1
            self._look()
            await self._tell_program()

    def release(self) -> None:
        """Let a service that was told to wait begin; else without effect."""
        self._released.set()

    def change_rules(self, schedule: Schedule, *, removes: bool, notice: bool) -> None:
        """Go by other rules, and by the policy that the manager has now; on the trio thread.

        A run that is going ends after its batch, and is made again.
        """
        self.removes, self.notice = removes, notice
        self._cleanup.change_rules(schedule)
        self._began = None
        self._look()
        self._idle.wake()

    def stop(self) -> None:
        """End the service after the batch it is at, if any."""
        self._idle.stop()
        self._released.set()
        self._cleanup.stop()

    def _look(self) -> float:
        """Return in how many seconds the next run is due."""
        moment = self._time.moment()
        last = moment.last_run if self._began is None else self._began
        delay = self._cleanup.schedule.delay(moment.ages, last, moment.boottime)
        self.next_run_at = None if delay is None else moment.ages.now + delay
        return float("inf") if delay is None else delay.total_seconds()

    async def _is_due(self) -> bool:
        """Wait until the next run is due; return False when the service is to end."""
        while not self._idle.stopping:
            delay = self._look()
            if delay <= 0:
                await trio.lowlevel.checkpoint()
                return not self._idle.stopping
            await self._idle.until(
                trio.current_time() + (delay if delay == float("inf") else min(delay, CHECK_SECONDS))
            )
        return False

    async def _turn(self) -> None:
        """Announce and remove, and remember that."""
        moment = self._time.moment()
        policy, schedule = self._cleanup.policy, self._cleanup.schedule
        notice = moment.notice(policy, schedule.interval, waits=self.notice, on=self.notice)
        # Also one that fails moves the next one on; only the next start, or other rules, try again at once.
        began = self._began = schedule.due_at(notice.ended(), moment.last_run)
        told = False

        async def tell(plan: CleanupPlan) -> None:
            nonlocal told
            if notice.on:
                await self.announcer.tell(plan)
            told = True

        held, complete = "", False
        try:
            if self.removes:
                self.last_result = await self._cleanup.run(notice=notice, on_plan=tell)
                held, complete = self.last_result.held, not self.last_result.interrupted
            else:
                complete = await self._only_announce(notice, tell)
        except BaseException:
            if told:  # or else the next run would tell it again
                with trio.move_on_after(RECORD_SECONDS, shield=True):
                    await self._time.remember(notice, None, held=held)
            raise
        if told:
            await self._time.remember(notice, began if complete else None, held=held)

    async def _only_announce(self, notice: Notice, tell: OnPlan) -> bool:
        """Say what would go; return whether all of it was seen."""
        with self._cleanup.stats.counting() as count:
            plan = await self._cleanup.plan(notice)
            complete = not self._idle.stopping
            would_go = bool(plan.removals) or any(
                row.leftover.kind in {"trash", "quarantined"} for row in plan.leftovers
            )
            count.announced(plan.sessions_scanned, counts=complete and would_go)
        if not complete:
            return False
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
            await self._cleanup.record(partial(planned_event, plan, "announced", "service", because=_ONLY_ANNOUNCES))
        return True

    def _goes_at(self, stays: timedelta) -> datetime | None:
        """Return when the first run after this one comes that may delete what stays for so long."""
        ages = self._time.ages()
        if not self.removes:
            return None
        delay = self._cleanup.schedule.delay(ages, self._began, self._time.look())
        return None if delay is None else self._cleanup.schedule.run_from(ages.now + delay, ages.now + stays)

    async def _tell_program(self) -> None:
        announcement, self.announcer.untold = self.announcer.untold, None
        if announcement is None or self._on_announced is None:
            return
        with Contained(self._could_not_tell):
            await self._on_announced(announcement)

    def _could_not_tell(self, error: Exception) -> None:
        self.failures += 1
        log.bug("Program could not be told what was announced", error)
