"""The result of a cleanup: its counts, and its event in the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from miniclaw.session.entries import FileTally, Leftover, LeftoverRemoval, Tally, tally_by
from miniclaw.session.records.cleanup_log import CleanupLog
from miniclaw.session.records.history import Actor, EventKind, HistoryEvent, HistorySession
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.notice import DueSession
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import PlanRow, Reason

KEPT_NAMED: Final = 10
"""Most sessions kept by the program that an event names."""

_ANNOUNCED: Final[tuple[Reason, ...]] = ("ttl", "max_sessions")


class CleanupResult(Struct, frozen=True):
    """Counts of one cleanup run.

    Every scanned file is in exactly one of the counts below `sessions_scanned`, or was kept by age.

    Attributes:
        sessions_scanned: Session files examined, good and bad.
        sessions_deleted: Sessions removed, durably, including those that are in the trash now.
        bytes_freed: Bytes freed on the disk, by sessions and leftovers.
        kept_active: Sessions selected by the scan that are fresh, unsaved or in use in memory, or that no rule takes on
            a full read.
        future: Kept because their `last_accessed` is ahead of the clock.
        unreadable: The system refused to read them, or they are too large.
        corrupt: Their content is no session.
        mismatched: Their content names another session than their file name.
        conflicts: Copies of sessions that other programs have made; not counted as scanned.
        foreign: Entries that do not claim to be sessions, or are no regular files; likewise.
        failed: Selected, but the system refused to remove them, or to make their removal durable.
        pending: Still being removed, because the disk takes too long; log, history and statistics report the outcome
            later.
        pinned: Kept because they are pinned.
        kept_by_hook: Selected, but the program's `before_remove` keeps them, or has failed.
        removed_by_reason: Rule -> the sessions that it took, of `sessions_deleted`.
        trashed: Of `sessions_deleted`, those in the trash.
        leftovers_removed: Kind -> leftovers removed, or moved to quarantine.
        leftovers_trashed: Of these, the files from quarantine that are in the trash now.
        announced: Sessions that are due, and that no earlier run has announced.
        due: Announced sessions that will be deleted unless they are used; 0 for a run that acts at once.
        unmet: Budgets that are not met, because the rest is protected.
        held: Why nothing was removed, if the guard against mass removal held the run; else empty.
        interrupted: True if the run was stopped before its end.
        duration_seconds: Duration from the beginning to the end.
    """

    sessions_scanned: int = 0
    sessions_deleted: int = 0
    bytes_freed: int = 0
    kept_active: int = 0
    future: int = 0
    unreadable: int = 0
    corrupt: int = 0
    mismatched: int = 0
    conflicts: int = 0
    foreign: int = 0
    failed: int = 0
    pending: int = 0
    pinned: int = 0
    kept_by_hook: int = 0
    removed_by_reason: dict[str, int] = field(default_factory=dict)
    trashed: int = 0
    leftovers_removed: dict[str, int] = field(default_factory=dict)
    leftovers_trashed: int = 0
    announced: int = 0
    due: int = 0
    unmet: tuple[str, ...] = ()
    held: str = ""
    interrupted: bool = False
    duration_seconds: float = 0.0

    def problems(self) -> dict[str, int]:
        """Return the number of files of each kind that cannot be judged as sessions."""
        return {
            "unreadable": self.unreadable,
            "corrupt": self.corrupt,
            "mismatched": self.mismatched,
            "conflict": self.conflicts,
            "foreign": self.foreign,
        }


class Progress:
    """The tally of a run, which logs each outcome as it counts it: at the end of a large run nothing is left to add up.

    Args:
        plan: The plan of the run.
        log: The log of the run.

    Attributes:
        announced: Sessions that the run has announced.
        due: Sessions that are announced, those that it removes among them.
    """

    def __init__(self, plan: CleanupPlan, log: CleanupLog) -> None:
        self.plan = plan
        self.announced = self.due = 0
        self._log = log
        self._outcomes: Counter[str] = Counter()
        self._removed: list[PlanRow] = []
        self._pending: list[str] = []  # ids of sessions
        self._kept: list[str] = []  # ids of some that the program keeps, each with its reason
        self._removed_by_reason: Counter[str] = Counter()
        self._trashed = 0
        self._bytes_freed = 0
        self._swept: list[Leftover] = []
        self._swept_to_trash = 0

    def add_removals(self, rows: Sequence[PlanRow], removals: Sequence[Removal]) -> None:
        """Count and log the outcomes of some rows of the plan."""
        row_of = {row.session.key: row for row in rows}
        for removal in removals:
            self._outcomes[removal.outcome] += 1
            self._bytes_freed += removal.bytes_freed
            if removal.outcome == "pending":
                self._pending.append(row_of[removal.key].session.header.session_id)
            if removal.outcome == "kept_by_hook" and len(self._kept) < KEPT_NAMED:
                self._kept.append(f"{row_of[removal.key].session.header.session_id} ({removal.reason})")
            if removal.outcome == "removed":
                row = row_of[removal.key]
                self._removed.append(row)
                self._removed_by_reason[row.reason] += 1
                self._trashed += bool(removal.entry_id)
        self._log.removals(removals, self.plan.ages)

    def add_leftovers(self, removals: Sequence[LeftoverRemoval]) -> None:
        """Count and log the outcomes of some leftovers."""
        for done in removals:
            self._bytes_freed += done.bytes_freed
            if done.outcome in {"removed", "moved"}:
                self._swept.append(done.leftover)
                self._swept_to_trash += bool(done.entry_id)
        self._log.leftovers(removals)

    def result(self, *, interrupted: bool = False, held: bool = False, seconds: float = 0.0) -> CleanupResult:
        """Return the counts."""
        plan, outcomes, problems = self.plan, self._outcomes, Counter(each.kind for each in self.plan.problems)
        return CleanupResult(
            sessions_scanned=plan.sessions_scanned,
            sessions_deleted=len(self._removed),
            bytes_freed=self._freed(),
            kept_active=plan.in_use + outcomes["active"] + outcomes["kept"],
            future=len(plan.future),
            unreadable=problems["unreadable"] + outcomes["unreadable"],
            corrupt=problems["corrupt"] + outcomes["corrupt"],
            mismatched=problems["mismatched"],
            conflicts=problems["conflict"],
            foreign=problems["foreign"],
            failed=outcomes["failed"] + outcomes["unsynced"] + outcomes["unanswered"],
            pending=outcomes["pending"],
            pinned=plan.pinned,
            kept_by_hook=outcomes["kept_by_hook"],
            removed_by_reason=dict(self._removed_by_reason),
            trashed=self._trashed,
            leftovers_removed=dict(Counter(str(leftover.kind) for leftover in self._swept)),
            leftovers_trashed=self._swept_to_trash,
            announced=self.announced,
            due=max(0, self.due - sum(self._removed_by_reason[reason] for reason in _ANNOUNCED)),
            unmet=tuple(plan.unmet),
            held=plan.held or "" if held else "",
            interrupted=interrupted,
            duration_seconds=round(seconds, 3),
        )

    def event(self, kind: EventKind, by: Actor, *, seconds: float = 0.0) -> HistoryEvent:
        """Return the event of the run for the history, as `plan_event`.

        It names the sessions that are pending, and some that the program keeps.
        """
        reasons = []
        if self._pending:  # the program may end before their outcome
            reasons.append(f"still being removed when the run ended: {', '.join(self._pending)}")
        if kept := self._outcomes["kept_by_hook"]:
            more = ", …" if kept > len(self._kept) else ""
            reasons.append(f"before_remove keeps {kept:,}: {', '.join(self._kept)}{more}")
        because = "; ".join(reasons)
        event = plan_event(
            self.plan, kind, by, sessions=self._removed, files=self._swept, because=because, announced=self.announced
        )
        return replace(event, bytes_freed=self._freed(), duration_seconds=round(seconds, 3))

    def _freed(self) -> int:
        return max(0, self._bytes_freed)  # small sessions may take a little more room in the trash than before


def plan_event(
    plan: CleanupPlan,
    kind: EventKind,
    by: Actor,
    *,
    sessions: Sequence[PlanRow | DueSession] | None = None,
    files: Iterable[Leftover] | None = None,
    because: str = "",
    announced: int = 0,
    goes_at: datetime | None = None,
) -> HistoryEvent:
    """Return an event for the history, in any thread; for a large plan that takes a while.

    Without `sessions` and `files` it names everything that the plan removes. `HistoryEvent` has the other arguments.
    """
    sessions = plan.removals if sessions is None else sessions
    files = (row.leftover for row in plan.leftovers) if files is None else files
    return HistoryEvent(
        at=plan.now,
        event=kind,
        by=by,
        reasons=tally_by(Tally, ((row.reason, row.session.size) for row in sessions)),
        sessions_scanned=plan.sessions_scanned,
        because=because,
        sessions=[_session(row) for row in sessions],
        leftovers=tally_by(FileTally, ((leftover.kind, leftover.size) for leftover in files)),
        announced=announced,
        goes_at=goes_at,
    )


def _session(row: PlanRow | DueSession) -> HistorySession:
    header = row.session.header
    return HistorySession(header.session_id, header.last_accessed, row.session.size, row.reason)
