"""Which leftovers go: trash and quarantine by their age, what no one owns at once. Pure.

What a budget takes of the trash is decided in `miniclaw.session.retention.budgets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.retention.notice import DueFile, Notice
from miniclaw.session.retention.policy import RetentionPolicy, lead_of, notice_of
from miniclaw.session.rows import Leftover, name_identity

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


def judge_leftover(leftover: Leftover, policy: RetentionPolicy, notice: Notice) -> LeftoverReason | None:
    """Return why a leftover goes at this time, budgets and notice aside; None where it stays.

    What does not tell its age stays. An entry of the trash goes by the time that it was promised; `trash_for` counts
    only where it carries none.
    """
    match leftover.kind:
        case "temporary" | "unfinished":
            return "no_owner"
        case "legacy":
            return "legacy" if _is_older(leftover, LEGACY_LEAST_AGE, notice) else None
        case "quarantined":
            return "quarantine_expired" if _is_older(leftover, policy.quarantine_for, notice) else None
        case _:
            keep_for = policy.trash_for
            if leftover.since is not None and leftover.expires_at is not None:
                keep_for = leftover.expires_at - leftover.since
            return "trash_expired" if _is_older(leftover, keep_for, notice) else None


def judge_leftovers(
    leftovers: Iterable[Leftover], policy: RetentionPolicy, notice: Notice
) -> tuple[list[LeftoverRow], list[Leftover], list[DueFile]]:
    """Return what goes, what stays in trash and quarantine or comes there, and what of the quarantine is due."""
    rows: list[LeftoverRow] = []
    staying: list[Leftover] = []
    due: list[DueFile] = []
    for leftover in leftovers:
        reason = judge_leftover(leftover, policy, notice)
        if leftover.kind == "quarantined" and (file := _due(leftover, policy.quarantine_for, notice)) is not None:
            due.append(file)
            if not notice.is_ready(file.noted, notice_of(policy.quarantine_for, notice.rules.interval)):
                reason = None
        if reason is not None:
            rows.append(LeftoverRow(leftover, reason))
        if reason == "legacy" or (reason is None and leftover.kind in {"trash", "quarantined"}):
            staying.append(leftover)
    return rows, staying, due


def _due(leftover: Leftover, limit: timedelta | None, notice: Notice) -> DueFile | None:
    """Return what is to be said of a file that goes by this age, if it is soon enough."""
    age = _age(leftover, notice)
    if age is None or limit is None or age <= limit - lead_of(limit, notice.rules.interval):
        return None
    before = None if notice.last is None else notice.last.rules.quarantine_for
    which = _identity(leftover)
    noted = notice.announced(notice.due.find(which), age, limit, before)
    if noted is None:
        notice.due.add(which, notice.ages.lived)
    else:
        notice.due.keep(which)
    stays = max(limit - age, notice.stays(noted, notice_of(limit, notice.rules.interval)))
    return DueFile(leftover, age, noted, stays, notice.why(age, limit, before) if noted is None else None)


def _is_older(leftover: Leftover, limit: timedelta | None, notice: Notice) -> bool:
    age = None if limit is None else _age(leftover, notice)
    return age is not None and limit is not None and age > limit


def _age(leftover: Leftover, notice: Notice) -> timedelta | None:
    return None if leftover.since is None else notice.age(leftover.since, _identity(leftover))


def _identity(leftover: Leftover) -> int:
    return name_identity(f"{leftover.kind}/{leftover.key}")
