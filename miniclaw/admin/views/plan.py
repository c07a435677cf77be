"""A plan as JSON has it, for scripts and for the API; its fields are described in ``docs/commands.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from miniclaw.admin.views.rows import as_dict
from miniclaw.formats import printable
from miniclaw.session.cleanup_plan import CleanupPlan
from miniclaw.session.leftover_rules import LeftoverRow
from miniclaw.session.rows import ProblemFile

PLAN_VERSION: Final = 2
"""Raised when a field changes its meaning or goes."""


def plan_as_dict(plan: CleanupPlan, foreign: Sequence[ProblemFile]) -> dict[str, Any]:
    """Return a plan.

    Args:
        plan: The plan.
        foreign: What lies beside the sessions and is not ours.
    """
    return {
        "version": PLAN_VERSION,
        "now": plan.now,
        "sessions_scanned": plan.sessions_scanned,
        "readable": plan.readable,
        "sessions_bytes": plan.sessions_bytes,
        "remove": {"sessions": len(plan.removals), "bytes": plan.bytes},
        "by_reason": plan.by_reason(),
        "sessions": [as_dict(row) for row in plan.removals],
        "leftovers_by_kind": _by_kind(plan.leftovers),
        "leftovers": [_leftover_as_dict(row) for row in plan.leftovers],
        "pinned": plan.pinned,
        "min_idle": plan.min_idle,
        "unmet": plan.unmet,
        "held": plan.held,
        "future": [as_dict(row) for row in plan.future],
        "problems": [
            {"file": printable(problem.key), "kind": problem.kind, "reason": printable(problem.reason)}
            for problem in [*plan.problems, *foreign]
        ],
    }


def _by_kind(rows: Iterable[LeftoverRow]) -> dict[str, dict[str, int]]:
    """Return how many files of each kind there are, and their sizes added up."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(row.leftover.kind, []).append(row.leftover.size)
    return {kind: {"files": len(sizes), "bytes": sum(sizes)} for kind, sizes in groups.items()}


def _leftover_as_dict(row: LeftoverRow) -> dict[str, Any]:
    leftover = row.leftover
    return {
        "kind": leftover.kind,
        "file": printable(leftover.key),
        "bytes": leftover.size,
        "since": leftover.since,
        "reason": row.reason,
    }
