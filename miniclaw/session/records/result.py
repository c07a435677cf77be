"""What a cleanup did: counted, and as a line of the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct, field

from miniclaw.session.entries import Leftover, LeftoverRemoval
from miniclaw.session.records.history import Actor, EventKind, FileTally, HistoryEvent, HistorySession, Tally
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.notice import DueFile, DueSession
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import PlanRow, Reason

_ANNOUNCED: Final[tuple[Reason, ...]] = ("ttl", "max_sessions")


class CleanupResult(Struct, frozen=True):
    """What a run did. Every scanned file is in exactly one of the counts below `sessions_scanned`, or was kept by age.

    Attributes:
        sessions_scanned: Session files looked at, good and bad.
        sessions_deleted: Removed, durably; those that are in the trash now, too.
        bytes_freed: What the disk got back, by sessions and leftovers.
        kept_active: Would have gone by what the scan read, but are fresh, unsaved or in use in memory, or are not to go
            when their files are read whole.
        future: Kept because their `last_accessed` is ahead of the clock.
        unreadable: The system refused to read them, or they are too large.
        corrupt: Their content is no session.
        mismatched: Their content names another session than their file name.
        conflicts: Copies of sessions that other programs have made; not counted as scanned.
        foreign: Entries that do not claim to be sessions, or are no regular files; likewise.
        failed: Were to go, but the system refused to remove them, or to make their removal durable.
        pending: Are going, but the disk takes too long; log, history and statistics tell their end when it comes.
        pinned: Kept because somebody pinned them.
        removed_by_reason: Of `sessions_deleted`, how many each rule took.
        trashed: Of `sessions_deleted`, how many are in the trash.
        leftovers_removed: How many leftovers were removed, or moved to quarantine, by their kind.
        leftovers_trashed: Of them, how many are in the trash now: files that lay in quarantine.
        announced: Sessions that are due, and that no earlier run has announced.
        due: Sessions that are announced, and will go if nobody uses them; 0 for a run that acts at once.
        unmet: Budgets that are not met, because the rest is protected.
        held: Why nothing was removed, where the guard against mass removal held the run; else empty.
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
    conflicts: int = 0
    foreign: int = 0
    failed: int = 0
    pending: int = 0
    pinned: int = 0
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
        """Return how many files are no sessions that can be judged, by their kind."""
        return {
            "unreadable": self.unreadable,
            "corrupt": self.corrupt,
            "mismatched": self.mismatched,
            "conflict": self.conflicts,
            "foreign": self.foreign,
        }


class Progress:
    """What a run has done so far, counted as it goes: at the end of a large run nothing is left to be added up.

    Attributes:
        plan: What it does.
        announced: Sessions that it has announced.
        due: Sessions that are announced, those that it removes among them.
    """

    def __init__(self, plan: CleanupPlan) -> None:
        self.plan = plan
        self.announced = self.due = 0
        self._outcomes: Counter[str] = Counter()
        self._removed: list[PlanRow] = []
        self._pending: list[str] = []  # ids of sessions
        self._removed_by_reason: Counter[str] = Counter()
        self._trashed = 0
        self._bytes_freed = 0
        self._swept: list[Leftover] = []
        self._swept_to_trash = 0

    def add_removals(self, rows: Sequence[PlanRow], removals: Sequence[Removal]) -> None:
        """Take note of what became of some rows of the plan."""
        row_of = {row.session.key: row for row in rows}
        for removal in removals:
            self._outcomes[removal.outcome] += 1
            self._bytes_freed += removal.bytes_freed
            if removal.outcome == "pending":
                self._pending.append(row_of[removal.key].session.header.session_id)
            if removal.outcome == "removed":
                row = row_of[removal.key]
                self._removed.append(row)
                self._removed_by_reason[row.reason] += 1
                self._trashed += bool(removal.entry_id)

    def add_leftovers(self, removals: Iterable[LeftoverRemoval]) -> None:
        """Take note of what became of some leftovers."""
        for done in removals:
            self._bytes_freed += done.bytes_freed
            if done.outcome in {"removed", "moved"}:
                self._swept.append(done.leftover)
                self._swept_to_trash += bool(done.entry_id)

    def pending(self) -> str:
        """Return which sessions were still being removed, for the history: the program may end before their outcome."""
        if not self._pending:
            return ""
        return f"still being removed when the run ended: {', '.join(self._pending)}"

    def result(self, *, interrupted: bool = False, held: bool = False, seconds: float = 0.0) -> CleanupResult:
        """Return the counts."""
        plan, outcomes = self.plan, self._outcomes
        return CleanupResult(
            sessions_scanned=plan.sessions_scanned,
            sessions_deleted=len(self._removed),
            bytes_freed=self._freed(),
            kept_active=plan.in_use + outcomes["active"] + outcomes["kept"],
            future=len(plan.future),
            unreadable=plan.problem_count("unreadable") + outcomes["unreadable"],
            corrupt=plan.problem_count("corrupt") + outcomes["corrupt"],
            mismatched=plan.problem_count("mismatched"),
            conflicts=plan.problem_count("conflict"),
            foreign=plan.problem_count("foreign"),
            failed=outcomes["failed"] + outcomes["unsynced"] + outcomes["unanswered"],
            pending=outcomes["pending"],
            pinned=plan.pinned,
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

    def event(self, kind: EventKind, by: Actor, *, seconds: float, because: str = "") -> HistoryEvent:
        """Return what the history tells about the run; of a large one that takes a while, in any thread."""
        return HistoryEvent(
            at=self.plan.now,
            event=kind,
            by=by,
            reasons=_tally((row.reason, row.session.size) for row in self._removed),
            bytes_freed=self._freed(),
            duration_seconds=round(seconds, 3),
            sessions_scanned=self.plan.sessions_scanned,
            because=because,
            sessions=[_session(row) for row in self._removed],
            leftovers=_tally_files(self._swept),
            announced=self.announced,
        )

    def _freed(self) -> int:
        return max(0, self._bytes_freed)  # small sessions may take a little more room in the trash than before


def planned_event(plan: CleanupPlan, kind: EventKind, by: Actor, *, because: str) -> HistoryEvent:
    """Return what the history tells about a run that only said what would go; may take a while, as `event`."""
    return HistoryEvent(
        at=plan.now,
        event=kind,
        by=by,
        reasons=_tally((row.reason, row.session.size) for row in plan.removals),
        sessions_scanned=plan.sessions_scanned,
        because=because,
        sessions=[_session(row) for row in plan.removals],
        leftovers=_tally_files(row.leftover for row in plan.leftovers),
    )


def announced_event(
    plan: CleanupPlan,
    sessions: Sequence[DueSession],
    files: Sequence[DueFile],
    *,
    because: str,
    goes_at: datetime | None,
) -> HistoryEvent:
    """Return what the history tells about sessions that were announced; may take a while, as `event`."""
    return HistoryEvent(
        at=plan.now,
        event="announced",
        by="service",
        reasons=_tally((due.reason, due.session.size) for due in sessions),
        sessions_scanned=plan.sessions_scanned,
        because=because,
        sessions=[_session(due) for due in sessions],
        leftovers=_tally_files(due.leftover for due in files),
        announced=len(sessions),
        goes_at=goes_at,
    )


def _session(row: PlanRow | DueSession) -> HistorySession:
    header = row.session.header
    return HistorySession(header.session_id, header.last_accessed, row.session.size, row.reason)


def _tally(rows: Iterable[tuple[str, int]]) -> dict[str, Tally]:
    found: dict[str, list[int]] = {}
    for reason, size in rows:
        found.setdefault(reason, []).append(size)
    return {reason: Tally(len(sizes), sum(sizes)) for reason, sizes in found.items()}


def _tally_files(leftovers: Iterable[Leftover]) -> dict[str, FileTally]:
    found: dict[str, list[int]] = {}
    for leftover in leftovers:
        found.setdefault(leftover.kind, []).append(leftover.size)
    return {kind: FileTally(len(sizes), sum(sizes)) for kind, sizes in found.items()}
