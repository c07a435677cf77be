"""A plan as JSON has it, for scripts and for the API; its fields are described in ``docs/commands.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from miniclaw.admin.views.looking import Outlook
from miniclaw.admin.views.rows import SessionRow, shown
from miniclaw.formats import printable
from miniclaw.session.history import FileTally
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.plan import Count
from miniclaw.session.retention.policy import Reason
from miniclaw.session.rows import LeftoverKind, ProblemKind
from miniclaw.session.types import AwareDatetime

PLAN_VERSION: Final = 2
"""Raised when a field changes its meaning or goes."""


class ShownLeftover(Struct, frozen=True):
    """Something beside the sessions that would go."""

    kind: LeftoverKind
    file: str
    bytes: int
    since: AwareDatetime | None
    reason: str


class ShownProblem(Struct, frozen=True):
    """A file that is no readable session, and stays."""

    file: str
    kind: ProblemKind
    reason: str


class ShownPlan(Struct, frozen=True, kw_only=True):
    """What a cleanup would do; see ``docs/commands.md``."""

    version: int = PLAN_VERSION
    now: AwareDatetime
    sessions_scanned: int
    readable: int
    sessions_bytes: int
    remove: Count
    by_reason: dict[Reason, Count]
    sessions: list[SessionRow]
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
    """Return a plan for JSON.

    Args:
        outlook: The plan, and what there is besides.
        warnings: More of them.
    """
    plan = outlook.plan
    return ShownPlan(
        now=plan.now,
        sessions_scanned=plan.sessions_scanned,
        readable=plan.readable,
        sessions_bytes=plan.sessions_bytes,
        remove=Count(len(plan.removals), plan.bytes),
        by_reason=plan.by_reason(),
        sessions=[shown(row) for row in plan.removals],
        leftovers_by_kind=_by_kind(plan.leftovers),
        leftovers=[_leftover(row) for row in plan.leftovers],
        pinned=plan.pinned,
        min_idle=plan.min_idle,
        unmet=plan.unmet,
        held=plan.held,
        future=[shown(row) for row in plan.future],
        problems=[
            ShownProblem(printable(problem.key), problem.kind, printable(problem.reason))
            for problem in [*plan.problems, *outlook.foreign]
        ],
        warnings=[printable(warning) for warning in (*warnings, *outlook.warnings)],
    )


def _by_kind(rows: Iterable[LeftoverRow]) -> dict[LeftoverKind, FileTally]:
    groups: dict[LeftoverKind, list[int]] = {}
    for row in rows:
        groups.setdefault(row.leftover.kind, []).append(row.leftover.size)
    return {kind: FileTally(len(sizes), sum(sizes)) for kind, sizes in groups.items()}


def _leftover(row: LeftoverRow) -> ShownLeftover:
    leftover = row.leftover
    return ShownLeftover(leftover.kind, printable(leftover.key), leftover.size, leftover.since, row.reason)
