"""The cleanup: scan, plan, remove, report.

A run lists the directory once, header by header, in worker threads; makes a pure plan (`miniclaw.session.retention`);
and removes sessions in batches. Each removal is verified at the last moment and has the manager's consent
(`miniclaw.session.removal.transaction`). No file is ever removed for being unreadable.

`miniclaw.session.maintenance.service` starts the daily runs. A direct call deletes at once, without a notice period.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import trio
from msgspec.structs import asdict

from miniclaw.clock import Clock, Now, SystemClock, as_clock
from miniclaw.errors import NoTrioError, RemovalPendingError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.calls.arguments import checked_path
from miniclaw.session.entries import ProblemFile, StoredSession
from miniclaw.session.executor import Executor
from miniclaw.session.hooks.hooks import inside_hook
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.cleanup_log import CleanupLog, log_removed, record_late
from miniclaw.session.records.history import Actor, EventKind, History, HistoryEvent
from miniclaw.session.records.moment import Moment, by_wall_clock, look_at
from miniclaw.session.records.result import CleanupResult, Progress, plan_event
from miniclaw.session.records.stats import CleanupStats, RunCount
from miniclaw.session.removal.transaction import Removal, TrashOrder
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import DAILY, SESSION_TTL_DAYS, RetentionPolicy
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS, Schedule
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import Epilogue, run_in_thread
from miniclaw.session.timekeeper import Timekeeper
from miniclaw.session.types import Session, SessionHeader

__all__ = [
    "CLEANUP_INTERVAL_SECS",
    "SESSION_TTL_DAYS",
    "Cleanup",
    "CleanupPlan",
    "CleanupResult",
]

RECORD_SECONDS: Final = 2
"""Longest time for the history event of a run that is cancelled."""

ROWS_IN_STEP: Final = 500
"""Rows of a scan that are judged in one step of the event loop."""

OnPlan: TypeAlias = Callable[[CleanupPlan], Awaitable[None]]
"""Called with the plan of a run before any removal; not called if the scan was broken off."""

OnProgress: TypeAlias = Callable[[int], None]
"""Called on the trio thread with the number of entries scanned so far."""

T = TypeVar("T")

log: Final = get_logger("miniclaw.session.cleanup")


class Cleanup:
    """Removes the expired sessions of a directory.

    Args:
        sessions_dir: The directory. Without `manager`, each call that removes opens it as its one owner until it ends.
        policy: The retention policy; None: the manager's policy, or without a manager 30 days.
        clock: The clocks; a plain function serves as the wall clock; None: those of this machine. Ages are computed by
            the time stored in `.state` of the directory; without that, by the wall clock.
        time: The timekeeper of a running program, in place of `clock`.
        schedule: The schedule of the daily runs; None: every 24 hours.
        manager: The manager of a running program, which owns the directory and knows the sessions in use.
        history: The history in which each run is recorded; None: no record.
        by: The default actor of a run, for trash and history.

    Attributes:
        schedule: The schedule in force; replaced by `change_rules`.
        stats: The statistics of all runs; shared with `manager`, if given.

    Raises:
        TypeError: `sessions_dir` is no path.
        ValueError: It is empty, or none that a file system has.
    """

    def __init__(
        self,
        sessions_dir: Path | str,
        *,
        policy: RetentionPolicy | None = None,
        clock: Clock | Now | None = None,
        time: Timekeeper | None = None,
        schedule: Schedule | None = None,
        manager: SessionManager | None = None,
        history: History | None = None,
        by: Actor = "program",
    ) -> None:
        self.sessions_dir: Path = checked_path("sessions_dir", sessions_dir)
        self._policy = policy
        self._clock = SystemClock() if clock is None else as_clock(clock)
        self._time = time
        self.schedule: Schedule = schedule or Schedule(DAILY)
        self._manager = manager
        self._history = history
        self._by = by
        self._log = CleanupLog(self.sessions_dir)
        self._limiter = trio.CapacityLimiter(1)
        self._turns = trio.Lock()  # held by the run under way
        self._stops = 0  # calls of `stop`: a run or plan that began before the latest one ends early
        self._interrupted = False  # only the run under way ends early
        self._changes = 0  # changes of the rules: a run that began before the latest one ends early
        # Shared with every cleanup around the same manager.
        self.stats: CleanupStats = CleanupStats(self._clock.wall) if manager is None else manager.stats.cleanups

    @property
    def policy(self) -> RetentionPolicy:
        """The retention policy in force."""
        return self._policy or (RetentionPolicy() if self._manager is None else self._manager.policy)

    def is_expired(self, session: SessionHeader | Session) -> bool:
        """Return whether a session may be removed now: if its age exceeds its TTL, exclusive."""
        ages = Ages.by_wall_clock(self._clock.wall()) if self._time is None else self._time.ages()
        return self.policy.is_expired(session, ages)

    async def scan_expired_sessions(self) -> list[StoredSession]:
        """Return the sessions that a run would remove now, by one listing of the directory. Removes nothing.

        Raises:
            StoreError: The directory cannot be opened or listed.
        """
        return [row.session for row in (await self.plan()).removals]

    async def plan(self, notice: Notice | None = None) -> CleanupPlan:
        """Return the plan of a run that would begin now, or, after a `stop`, of its scan until then. Changes nothing.

        Each file to be removed is read whole, as by the removal itself, so that damaged files are not taken for expired
        sessions.

        Args:
            notice: The notice of the run, as for `run`.

        Raises:
            StoreError: The directory cannot be opened or listed.

        Cancellation: returns at once.
        """
        stops, policy = self._stops, self.policy  # in one step with `notice`
        async with self._opened(own=False) as (manager, moment):
            notice = notice or self._at_once(moment, policy)
            return await self._scan(manager, policy, notice, verify=True, ends=lambda: self._stops != stops)

    async def delete_session(self, session: StoredSession) -> int:
        """Remove one session if it is still expired, and return the bytes freed; 0 if it was kept or has vanished.

        The session is moved to the trash if the policy keeps one. The program's `before_remove` may keep it.

        Raises:
            StoreError: The system refused. `RemovalPendingError`: the removal goes on, its outcome is not known yet.
        """
        policy = self.policy
        async with self._opened() as (manager, moment):
            ages = moment.ages
            order = None
            if policy.trash_for is not None:
                order = TrashOrder({session.key: "ttl"}, self._by, ages.now, policy.trash_for)
            is_expired = partial(policy.is_expired, ages=ages)
            reasons, tell = {session.key: "ttl"}, partial(self._tell_one, ages)
            if await manager.remover.ask([session], reasons, lambda _: order is not None):
                return 0
            (removal,) = await manager.remover.remove(
                [session], is_expired, late=tell, order=order, reasons=reasons, by=self._by
            )
        if removal.outcome == "pending":
            raise RemovalPendingError(self.sessions_dir / removal.key, removal.reason)
        if removal.outcome in {"failed", "unsynced", "unanswered"}:
            raise StoreError(f"{self.sessions_dir / removal.key}: {removal.reason}")
        tell([removal])
        return removal.bytes_freed

    def _tell_one(self, ages: Ages, removals: list[Removal]) -> None:
        """Count and log the removal of one session, also one that outlasted its caller."""
        for removal in removals:
            if removal.outcome == "removed":
                log_removed(removal, ages)
                self.stats.gone({"ttl": 1}, {}, removal.bytes_freed)

    async def run(
        self,
        *,
        confirmed: bool = False,
        on_progress: OnProgress | None = None,
        by: Actor | None = None,
        notice: Notice | None = None,
        on_plan: OnPlan | None = None,
    ) -> CleanupResult:
        """Scan once and remove the sessions that the rules select, after the run under way, if any.

        Each removal is verified when it happens: a session used since the scan is kept. Errors about single files are
        logged and counted; the run continues. A run that the guard against mass removal holds removes nothing, and
        reports the reason with a WARNING and in `CleanupResult.held`.

        Args:
            confirmed: If true, remove also the sessions that the guard would hold.
            on_progress: Called on the trio thread with the number of entries scanned so far.
            by: The actor, for trash and history; None: the default actor.
            notice: The announcements of earlier runs, and whether this run is limited to them; None: it acts at once.
            on_plan: Called with the plan before any removal.

        Raises:
            StoreError: The directory cannot be opened or listed; `RuntimeClosedError`: the runtime of its manager ends.
                Or a hook of the program calls this while another run, which may wait for that hook, is under way.

        Cancellation: a batch that has begun is completed, no further one begins, and the removals so far are logged.
        """
        stops, changes, policy = self._stops, self._changes, self.policy  # in one step with `notice`
        by = by or self._by

        def ends() -> bool:
            return self._interrupted or self._stops != stops or self._changes != changes

        _check_trio()
        if inside_hook() and self._turns.locked():
            raise StoreError("a cleanup is under way, and may wait for this hook; start another one outside of hooks")
        async with self._turns:
            try:
                with self.stats.counting() as count, self._log.run() as run_log:
                    async with self._opened() as (manager, moment):
                        manager.store.check_owned()
                        started = trio.current_time()
                        announced = notice or self._at_once(moment, policy)
                        # If the number of removals affects other sessions, damaged files must not count as removals.
                        verify = policy.has_budget or policy.max_removed_fraction is not None
                        plan = await self._scan(
                            manager, policy, announced, verify=verify, ends=ends, on_progress=on_progress
                        )
                        run_log.problems(plan)
                        progress = Progress(plan, run_log)
                        if on_plan is not None and not ends():
                            await on_plan(plan)
                            progress.announced = sum(due.noted is None for due in plan.due)
                            progress.due = announced.due.count_renewed() - plan.notes + len(plan.due)
                        if plan.held and not confirmed and not ends():
                            result = progress.result(held=True, seconds=trio.current_time() - started)
                            count.done(result)
                            log.warning("Session cleanup held", because=plan.held, **asdict(result))
                            await self.record(partial(plan_event, plan, "held", by, because=plan.held))
                        else:
                            result = await self._carry_out(progress, manager, count, by, ends=ends, started=started)
                    if self._time is not None and notice is None and not (result.held or result.interrupted):
                        await self._time.let_through()
                    return result
            finally:
                self._interrupted = False

    def stop(self) -> None:
        """End all runs, under way or waiting, after their present batch, and break off the scans of plans."""
        self._stops += 1

    def change_rules(self, schedule: Schedule) -> None:
        """Apply another schedule, and the manager's present policy; on the trio thread.

        Runs under way or waiting follow the earlier rules, and therefore end after their present batch.
        """
        self.schedule = schedule
        self._changes += 1

    def interrupt(self) -> bool:
        """End the run under way after its present batch; return whether there is one.

        Later runs and announcements are not affected.
        """
        self._interrupted = self._turns.locked()
        return self._interrupted

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run work that is slow for a large plan in a worker thread, one call at a time."""
        run = run_in_thread if self._manager is None else self._manager.store.run
        return await run(work, limiter=self._limiter)

    async def record(self, event: Callable[[], HistoryEvent]) -> None:
        """Write an event into the history, if there is one; log a failure as an ERROR.

        The event is made in a worker thread: that is slow for a large plan.
        """
        history = self._history
        if history is None:
            return
        try:
            await self.in_thread(lambda: history.append(event()))
        except StoreError as error:
            log.error("Cleanup could not be written into the history", error=str(error))

    async def _carry_out(
        self,
        progress: Progress,
        manager: SessionManager,
        count: RunCount,
        by: Actor,
        *,
        ends: Callable[[], bool],
        started: float,
    ) -> CleanupResult:
        done = False
        try:
            add_late = partial(self._add_late, progress.plan, by)
            done = await Executor(progress, manager, by=by, add_late=add_late).carry_out(ends)
        finally:
            seconds = trio.current_time() - started
            result = progress.result(interrupted=not done, seconds=seconds)
            count.done(result)
            log.info("Session cleanup complete" if done else "Session cleanup interrupted", **asdict(result))
            with trio.move_on_after(RECORD_SECONDS, shield=True):
                kind: EventKind = "cleanup" if done else "interrupted"
                await self.record(partial(progress.event, kind, by, seconds=seconds))
        return result

    def _add_late(self, plan: CleanupPlan, by: Actor, add: Callable[[Progress], None]) -> Epilogue:
        """Count, log and record a batch for which the run no longer waits; on the trio thread."""
        with CleanupLog(self.sessions_dir).run() as run_log:  # that of the run has ended
            progress = Progress(plan, run_log)
            add(progress)
        result = progress.result()
        if not (result.sessions_deleted or result.leftovers_removed):
            return None
        self.stats.gone(result.removed_by_reason, result.leftovers_removed, result.bytes_freed)
        log.warning(
            "Session cleanup has removed more after its end",
            sessions_deleted=result.sessions_deleted, leftovers_removed=result.leftovers_removed,
            bytes_freed=result.bytes_freed,
        )  # fmt: skip
        return partial(record_late, self._history, progress.event("late", by))

    async def _scan(
        self,
        manager: SessionManager,
        policy: RetentionPolicy,
        notice: Notice,
        *,
        verify: bool,
        ends: Callable[[], bool],
        on_progress: OnProgress | None = None,
    ) -> CleanupPlan:
        store = manager.store
        planner = Planner(policy, notice, live=manager.live)
        expired = partial(policy.is_expired, ages=notice.ages)
        staying = notice.staying(policy)
        entries = 0
        foreign: list[str] = []
        async with store.scan(expired if verify else None, staying) as scan:
            while not (scan.complete or ends()):
                rows = await scan.next_batch()
                kept = scan.take_kept()
                planner.feed([], kept)
                for start in range(0, len(rows), ROWS_IN_STEP):
                    planner.feed(rows[start : start + ROWS_IN_STEP])
                    await trio.lowlevel.checkpoint()  # each due row takes some microseconds
                foreign += [row.key for row in rows if isinstance(row, ProblemFile) and row.kind == "foreign"]
                entries += len(rows) + kept.sessions
                if on_progress is not None:
                    on_progress(entries)
        planner.feed_leftovers(await store.leftovers(notice.ages.now, foreign))
        free_disk = await store.free_disk() if policy.min_free_disk is not None else None
        # In a worker thread: slow for a large plan, and the event loop has to serve chats meanwhile.
        finish = partial(planner.plan, free_disk=free_disk)
        plan = await self.in_thread(finish)
        while sessions := planner.wants(plan):
            planner.feed_whole(await store.examine([session.key for session in sessions]))
            plan = await self.in_thread(finish)
        return plan

    @asynccontextmanager
    async def _opened(self, *, own: bool = True) -> AsyncIterator[tuple[SessionManager, Moment]]:
        _check_trio()
        if self._manager is not None:
            async with self._manager.operation():
                moment = by_wall_clock(self._clock) if self._time is None else self._time.moment()
                yield self._manager, moment
            return
        async with open_store(self.sessions_dir, create=False, own=own, briefly=True) as store:
            moment = await store.run(partial(look_at, store.state, self._clock), self._limiter)
            yield SessionManager(store, clock=self._clock.wall), moment

    def _at_once(self, moment: Moment, policy: RetentionPolicy) -> Notice:
        """Return the notice of a run that deletes without a notice period."""
        return moment.notice(policy, self.schedule.interval, waits=False)


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_task():
        raise NoTrioError
