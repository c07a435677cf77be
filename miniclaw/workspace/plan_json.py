"""Plans, history events and trash entries as JSON, for scripts and the API.

``docs/commands.md`` describes the fields.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from miniclaw.formats import encodable, one_line
from miniclaw.session.entries import FileTally, LeftoverKind, ProblemFile, ProblemKind, Tally, tally_by
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.notice import DueFile, DueSession
from miniclaw.session.retention.policy import Reason
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.types import AwareDatetime
from miniclaw.workspace.plan import Outlook
from miniclaw.workspace.sessions import SessionRow, shown

PLAN_VERSION: Final = 2
"""Version of a plan's JSON, raised when a field changes its meaning or is removed."""


class ShownLeftover(Struct, frozen=True):
    """A leftover that a cleanup would remove; if `to_trash`, into the trash."""

    kind: LeftoverKind
    file: str
    bytes: int
    since: AwareDatetime | None
    reason: str
    to_trash: bool


class ShownProblem(Struct, frozen=True):
    """A file that is no readable session; a cleanup keeps it.

    Attributes:
        reason: Why retention does not judge it.
        way_out: The command that moves it out of the way; null: its kind has none.
    """

    file: str
    kind: ProblemKind
    reason: str
    way_out: str | None


class DueRow(Struct, frozen=True, kw_only=True):
    """A session that is due: a run will delete it unless it is used before.

    Attributes:
        age_days: Days since its last use.
        reason: The rule that deletes it.
        announced: True if an earlier run has announced it.
        goes_at: The time of the first scheduled run that may delete it; null: none is scheduled.
    """

    session_id: str
    last_accessed: AwareDatetime
    age_days: float
    bytes: int
    reason: Reason
    announced: bool
    goes_at: AwareDatetime | None


class DueFileRow(Struct, frozen=True, kw_only=True):
    """A file in quarantine that is due.

    Attributes:
        file: Its id in quarantine.
        announced: True if an earlier run has announced it.
        goes_at: The time of the first scheduled run that may remove it; null: none is scheduled.
    """

    file: str
    bytes: int
    announced: bool
    goes_at: AwareDatetime | None


class ShownPlan(Struct, frozen=True, kw_only=True):
    """The plan of a cleanup; ``docs/commands.md`` describes the fields."""

    version: int = PLAN_VERSION
    now: AwareDatetime
    sessions_scanned: int
    readable: int
    sessions_bytes: int
    remove: Tally
    by_reason: dict[Reason, Tally]
    sessions: list[SessionRow]
    due: Tally
    due_sessions: list[DueRow]
    due_files: list[DueFileRow]
    leftovers_by_kind: dict[LeftoverKind, FileTally]
    leftovers: list[ShownLeftover]
    pinned: int
    min_idle: int
    unmet: list[str]
    held: str | None
    future: list[SessionRow]
    problems: list[ShownProblem]
    warnings: list[str]


def shown_plan(outlook: Outlook, warnings: Sequence[str] = ()) -> ShownPlan:
    """Return a plan for JSON; `warnings` are further ones, which come first."""
    plan = outlook.plan
    return ShownPlan(
        now=plan.now,
        sessions_scanned=plan.sessions_scanned,
        readable=plan.readable,
        sessions_bytes=plan.sessions_bytes,
        remove=Tally(len(plan.removals), plan.bytes),
        by_reason=plan.by_reason(),
        sessions=[shown(row) for row in plan.removals],
        due=plan.due_count,
        due_sessions=[due_row(due, outlook.timetable.goes_at(due)) for due in in_order(plan.due)],
        due_files=[_due_file(due, outlook.timetable.goes_at(due)) for due in plan.due_files],
        leftovers_by_kind=tally_by(FileTally, ((row.leftover.kind, row.leftover.size) for row in plan.leftovers)),
        leftovers=[_leftover(row, to_trash=plan.trashes(row)) for row in plan.leftovers],
        pinned=plan.pinned,
        min_idle=plan.min_idle,
        unmet=plan.unmet,
        held=plan.held,
        future=[shown(row) for row in plan.future],
        problems=[shown_problem(problem) for problem in [*plan.problems, *outlook.foreign]],
        warnings=[encodable(warning) for warning in (*warnings, *outlook.warnings)],
    )


def shown_problem(problem: ProblemFile) -> ShownProblem:
    """Return a file that is no readable session, for JSON."""
    way_out = None
    if problem.kind == "conflict":
        # An escaped name cannot be pasted into a shell; the command then has a placeholder.
        can_be_pasted = one_line(problem.key) == problem.key
        way_out = f"miniclaw quarantine add {shlex.quote(problem.key) if can_be_pasted else 'FILE'}"
    return ShownProblem(encodable(problem.key), problem.kind, encodable(problem.reason), way_out)


def in_order(due: Iterable[DueSession]) -> list[DueSession]:
    """Return due sessions in the order of their deletion; of those of one moment, the oldest first."""
    return sorted(due, key=lambda each: (each.stays, -each.age, each.session.key))


def due_row(due: DueSession, goes_at: datetime | None) -> DueRow:
    """Return a due session for JSON."""
    header = due.session.header
    return DueRow(
        session_id=header.session_id,
        last_accessed=header.last_accessed,
        age_days=round(due.age / timedelta(days=1), 3),
        bytes=due.session.size,
        reason=due.reason,
        announced=due.noted is not None,
        goes_at=goes_at,
    )


def _due_file(due: DueFile, goes_at: datetime | None) -> DueFileRow:
    file = due.leftover
    return DueFileRow(file=encodable(file.key), bytes=file.size, announced=due.noted is not None, goes_at=goes_at)


def _leftover(row: LeftoverRow, *, to_trash: bool) -> ShownLeftover:
    leftover = row.leftover
    return ShownLeftover(leftover.kind, encodable(leftover.key), leftover.size, leftover.since, row.reason, to_trash)


def sessions_of(event: HistoryEvent) -> int:
    """Return the number of sessions that an event is about."""
    named = len(event.sessions) + event.sessions_omitted
    return max(named, sum(tally.sessions for tally in event.reasons.values()))


class ShownEvent(Struct, frozen=True, kw_only=True):
    """A `HistoryEvent` with the number of its sessions in place of their list, which may have thousands of entries."""

    version: int
    at: AwareDatetime
    event: str
    by: str
    reasons: dict[str, Tally]
    bytes_freed: int
    duration_seconds: float
    sessions_scanned: int
    because: str
    leftovers: dict[str, FileTally]
    sessions: int


def shown_event(event: HistoryEvent | None) -> ShownEvent | None:
    """Return an event for JSON; None for None."""
    if event is None:
        return None
    fields = {name: value for name, value in asdict(event).items() if name in ShownEvent.__struct_fields__}
    return ShownEvent(**fields | {"sessions": sessions_of(event)})


def shown_entry(entry: TrashEntry) -> TrashEntry:
    """Return a trash entry for JSON; characters that JSON cannot encode are escaped."""
    return replace(entry, **{key: encodable(value) for key, value in asdict(entry).items() if isinstance(value, str)})
