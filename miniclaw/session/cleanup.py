"""The cleanup: scan, plan, remove, report.

One listing of the directory a run, header by header, in threads; a pure plan (`miniclaw.session.retention`); removals
in batches, each verified at the last moment and with the manager's consent (`miniclaw.session.removal`). Nothing is
ever removed for being unreadable.

When it runs by itself is the business of `miniclaw.session.cleanup_service`; called directly it does what it says at
once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import asdict

from miniclaw.errors import StoreError
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.logs import get_logger
from miniclaw.session.manager import SessionManager
from miniclaw.session.plan import CleanupPlan, Planner
from miniclaw.session.removal import Removal
from miniclaw.session.retention import SESSION_TTL_DAYS, PlanRow, RetentionPolicy
from miniclaw.session.rows import StoredSession
from miniclaw.session.schedule import CLEANUP_INTERVAL_SECS
from miniclaw.session.store import SessionStore, open_store
from miniclaw.session.types import Session, SessionHeader

__all__ = [
    "CLEANUP_INTERVAL_SECS",
    "SESSION_TTL_DAYS",
    "Cleanup",
    "CleanupPlan",
    "CleanupResult",
]

REMOVAL_BATCH: Final = 32
"""Sessions removed in one thread call: some milliseconds on a disk, some tens on an SD card."""

_MAX_PROBLEMS_LOGGED: Final = 20

log = get_logger("miniclaw.session.cleanup")


class CleanupResult(Struct, frozen=True):
    """What a run did. Every scanned file is in exactly one of the counts below `sessions_scanned`, or was kept by age.

    Attributes:
        sessions_scanned: Session files looked at, good and bad.
        sessions_deleted: Removed, durably.
        bytes_freed: Sizes of what was removed.
        kept_active: Expired by their files, but fresh, unsaved or in use in memory.
        future: Kept because their `last_accessed` is ahead of the clock.
        unreadable: The system refused to read them, or they are too large.
        corrupt: Their content is no session.
        mismatched: Their content names another session than their file name.
        foreign: Entries that do not claim to be sessions, or are no regular files; not counted as scanned.
        failed: Expired, but the system refused to remove them, or to make their removal durable.
        interrupted: The run was stopped before its end.
        duration_seconds: From the beginning to the end.
    """

    sessions_scanned: int = 0
    sessions_deleted: int = 0
    bytes_freed: int = 0
    kept_active: int = 0
    future: int = 0
    unreadable: int = 0
    corrupt: int = 0
    mismatched: int = 0
    foreign: int = 0
    failed: int = 0
    interrupted: bool = False
    duration_seconds: float = 0.0


class Cleanup:
    """Removes the expired sessions of a directory.

    Args:
        sessions_dir: The directory. Without `manager`, each call opens it as its one owner for as long as it takes.
        policy: How long sessions are kept.
        clock: The wall clock.
        manager: The manager of a running program, which owns the directory and knows what is in use.
        store: The store of that manager; goes with `manager`.
        on_progress: Called on the trio thread with the number of entries scanned so far.
    """

    def __init__(
        self,
        sessions_dir: Path | str,
        *,
        policy: RetentionPolicy | None = None,
        clock: Clock = utc_now,
        manager: SessionManager | None = None,
        store: SessionStore | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        if (manager is None) != (store is None):
            raise ValueError("manager and store go together")
        self.sessions_dir = Path(sessions_dir)
        self.policy = policy or RetentionPolicy()
        self._clock = clock
        self._manager = manager
        self._store = store
        self._on_progress = on_progress
        self._stopping = False

    def is_expired(self, session: SessionHeader | Session) -> bool:
        """Return whether a session may be removed now: last used longer ago than its TTL, not exactly that long."""
        return self.policy.is_expired(session, self._clock())

    async def scan_expired_sessions(self) -> list[StoredSession]:
        """Return the expired sessions, by one listing of the directory. Nothing is removed.

        Raises:
            StoreError: The directory cannot be opened or listed.
        """
        return [row.session for row in (await self.plan()).removals]

    async def plan(self) -> CleanupPlan:
        """Return what a run would do now. Nothing is changed.

        What would go is read whole, as the removal will: a damaged file is told from an expired one.

        Raises:
            StoreError: The directory cannot be opened or listed.

        Cancellation: leaves at once.
        """
        async with self._opened(own=False) as (_, store):
            return await self._scan(store, verify=True)

    async def delete_session(self, session: StoredSession) -> int:
        """Remove one session if it is still expired, and return the bytes freed; 0 where it was kept or is gone.

        Raises:
            StoreError: The system refused.
        """
        async with self._opened() as (manager, _):
            removal = (await manager.remove_sessions([session], self.is_expired))[0]
        if removal.outcome in {"failed", "unsynced"}:
            raise StoreError(f"{self.sessions_dir / removal.key}: {removal.reason}")
        if removal.outcome == "removed":
            _log_removed(removal, self._clock())
        return removal.bytes_freed

    async def run(self) -> CleanupResult:
        """Scan once and remove what is expired.

        Each removal is verified when it happens: what was used since the scan stays. Errors about single files are
        logged and counted; the run goes on.

        Raises:
            StoreError: The directory cannot be opened or listed.

        Cancellation: a batch that has begun is completed, none is begun after; what was done until then is logged.
        """
        started = trio.current_time()
        self._stopping = False
        async with self._opened() as (manager, store):
            plan = await self._scan(store, verify=False)  # each removal verifies for itself
            _log_problems(plan, self.sessions_dir)
            removals: list[Removal] = []
            done = False
            try:
                done = await self._remove(manager, plan, removals)
            finally:
                result = _result(plan, removals, interrupted=not done, seconds=trio.current_time() - started)
                event = "Session cleanup complete" if done else "Session cleanup interrupted"
                log.info(event, **asdict(result))
        return result

    def stop(self) -> None:
        """Have a run end after the batch it is at."""
        self._stopping = True

    async def _remove(self, manager: SessionManager, plan: CleanupPlan, removals: list[Removal]) -> bool:
        """Remove what the plan says, append what became of each to `removals`, return whether it was all done."""
        rows = iter(plan.removals)
        while batch := list(islice(rows, REMOVAL_BATCH)):
            if self._stopping:
                return False
            await trio.lowlevel.checkpoint()
            done = await manager.remove_sessions([row.session for row in batch], partial(_still_goes, plan, batch))
            removals += done
            for removal in done:
                if removal.outcome == "removed":
                    _log_removed(removal, plan.now)
                elif removal.outcome in {"failed", "unsynced", "corrupt", "unreadable"}:
                    path = str(self.sessions_dir / removal.key)
                    log.error("Session not removed", path=path, outcome=removal.outcome, reason=removal.reason)
        return True

    async def _scan(self, store: SessionStore, *, verify: bool) -> CleanupPlan:
        planner = Planner(self.policy, now := self._clock())
        expired = partial(self.policy.is_expired, now=now)
        entries = 0
        async with store.scan(expired if verify else None) as scan:
            while not self._stopping and (rows := await scan.next_batch()):
                planner.add(rows)
                entries += len(rows)
                if self._on_progress is not None:
                    self._on_progress(entries)
        return planner.finish()

    @asynccontextmanager
    async def _opened(self, *, own: bool = True) -> AsyncIterator[tuple[SessionManager, SessionStore]]:
        if self._manager is not None and self._store is not None:
            yield self._manager, self._store
            return
        async with open_store(self.sessions_dir, create=False, own=own) as store:
            yield SessionManager(store, clock=self._clock), store


def _still_goes(plan: CleanupPlan, batch: list[PlanRow], session: SessionHeader | Session) -> bool:
    # Judged at the time of the plan: a clock that jumps during the run condemns nobody.
    rows = (row for row in batch if row.session.header.session_id == session.session_id)
    return any(plan.still_goes(row, session) for row in rows)


def _result(plan: CleanupPlan, removals: list[Removal], *, interrupted: bool, seconds: float) -> CleanupResult:
    def count(*outcomes: str) -> int:
        return sum(removal.outcome in outcomes for removal in removals)

    return CleanupResult(
        sessions_scanned=plan.sessions_scanned,
        sessions_deleted=count("removed"),
        bytes_freed=sum(removal.bytes_freed for removal in removals),
        kept_active=count("active", "kept"),
        future=len(plan.future),
        unreadable=plan.problem_count("unreadable") + count("unreadable"),
        corrupt=plan.problem_count("corrupt") + count("corrupt"),
        mismatched=plan.problem_count("mismatched"),
        foreign=plan.problem_count("foreign"),
        failed=count("failed", "unsynced"),
        interrupted=interrupted,
        duration_seconds=round(seconds, 3),
    )


def _log_removed(removal: Removal, now: datetime) -> None:
    if removal.header is not None:
        age = (now - removal.header.last_accessed) / timedelta(days=1)
        log.debug(
            "Session removed",
            session_id=removal.header.session_id,
            last_accessed=removal.header.last_accessed.isoformat(),
            age_days=round(age, 2),
            bytes_freed=removal.bytes_freed,
        )


def _log_problems(plan: CleanupPlan, sessions_dir: Path) -> None:
    """Say which files cannot be read as sessions; the first of them, and how many more there are."""
    bad = [problem for problem in plan.problems if problem.kind != "foreign"]
    for problem in bad[:_MAX_PROBLEMS_LOGGED]:
        path = str(sessions_dir / problem.key)
        log.error("Session file kept, it cannot be judged", path=path, kind=problem.kind, reason=problem.reason)
    if (more := len(bad) - _MAX_PROBLEMS_LOGGED) and more > 0:
        log.error("More session files cannot be judged", more=more, see="miniclaw sessions cleanup --dry-run")
    foreign = [problem for problem in plan.problems if problem.kind == "foreign"]
    for problem in foreign[:_MAX_PROBLEMS_LOGGED]:
        log.info("Entry left alone, it is no session", path=str(sessions_dir / problem.key), reason=problem.reason)
    for row in plan.future[:_MAX_PROBLEMS_LOGGED]:
        log.warning(
            "Session kept, it is ahead of the clock",
            session_id=row.session.header.session_id,
            last_accessed=row.session.header.last_accessed.isoformat(),
        )
