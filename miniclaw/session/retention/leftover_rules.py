"""Which leftovers go: trash and quarantine by their age, what no one owns at once. Pure.

What a budget takes of the trash is decided in `miniclaw.session.retention.budgets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.rows import Leftover

LEGACY_LEAST_AGE: Final = timedelta(days=1)
"""How old, exclusive, a file of an earlier implementation has to be: until then that may still be running."""

LeftoverReason: TypeAlias = Literal[
    "trash_expired", "quarantine_expired", "no_owner", "legacy", "max_disk_bytes", "min_free_disk"
]
"""Why a leftover goes: its time is over, nobody owns it, or a budget needs the room (the trash only).

``legacy`` does not delete: such a file moves to quarantine and ages there. An ``unfinished`` removal that has no owner
is resolved, not deleted.
"""


class LeftoverRow(Struct, frozen=True, gc=False):
    """A leftover that goes.

    Attributes:
        leftover: What it is.
        reason: The rule that decided.
    """

    leftover: Leftover
    reason: LeftoverReason

    @property
    def frees(self) -> bool:
        """Whether its bytes come free: what is moved to quarantine or put back stays on the disk."""
        return self.leftover.kind not in {"legacy", "unfinished"}


def judge_leftover(leftover: Leftover, policy: RetentionPolicy, now: datetime) -> LeftoverReason | None:
    """Return why a leftover goes at this time, budgets aside; None where it stays.

    What does not tell its age stays. An entry of the trash goes by the time that it was promised; `trash_for` counts
    only where it carries none.
    """
    match leftover.kind:
        case "temporary" | "unfinished":
            return "no_owner"
        case "legacy":
            return "legacy" if _is_older(leftover, LEGACY_LEAST_AGE, now) else None
        case "quarantined":
            return "quarantine_expired" if _is_older(leftover, policy.quarantine_for, now) else None
        case "trash" if leftover.expires_at is not None:
            return "trash_expired" if now > leftover.expires_at else None
        case _:
            return "trash_expired" if _is_older(leftover, policy.trash_for, now) else None


def judge_leftovers(
    leftovers: Iterable[Leftover], policy: RetentionPolicy, now: datetime
) -> tuple[list[LeftoverRow], list[Leftover]]:
    """Return what goes, and what stays in trash and quarantine or comes there."""
    rows: list[LeftoverRow] = []
    staying: list[Leftover] = []
    for leftover in leftovers:
        reason = judge_leftover(leftover, policy, now)
        if reason is not None:
            rows.append(LeftoverRow(leftover, reason))
        if reason == "legacy" or (reason is None and leftover.kind in {"trash", "quarantined"}):
            staying.append(leftover)
    return rows, staying


def _is_older(leftover: Leftover, limit: timedelta | None, now: datetime) -> bool:
    return leftover.since is not None and limit is not None and now - leftover.since > limit
