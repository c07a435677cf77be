"""The rules for leftovers: trash and quarantine are removed by age, orphaned files at once. Pure.

A file in quarantine that by now is a usable session is removed by the TTL of its session, and kept if that is pinned;
its age counts from its quarantining, or from its last use if that is later. Any other is removed after
`RetentionPolicy.quarantine_for`.

`miniclaw.session.retention.budgets` decides which entries of the trash a budget removes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.clock import to_microseconds
from miniclaw.session.entries import Leftover, identity, name_identity
from miniclaw.session.format.codec import MAX_SESSION_BYTES
from miniclaw.session.retention.notice import DueFile, Notice, Rules
from miniclaw.session.retention.policy import RetentionPolicy, lead_of, notice_of

LEGACY_LEAST_AGE: Final = timedelta(days=1)
"""Age, exclusive, at which a file of an earlier implementation is a leftover: until then that may be running."""

LeftoverReason: TypeAlias = Literal[
    "trash_expired", "ttl", "quarantine_expired", "no_owner", "legacy", "max_disk_bytes", "min_free_disk"
]
"""Why a leftover is removed: its time is over, it is orphaned, or a budget needs the room (the trash only).

In quarantine, `ttl` removes files that hold a usable session, and ``quarantine_expired`` the rest. ``legacy`` does not
delete: such a file moves to quarantine and ages there. An ``unfinished`` removal that has no owner is resolved, not
deleted.
"""


class LeftoverRow(Struct, frozen=True, gc=False):
    """A leftover to remove.

    Attributes:
        leftover: The leftover.
        reason: The rule that decided.
        trashes: If true, it is moved to the trash, unless a disk budget needs the room.
    """

    leftover: Leftover
    reason: LeftoverReason
    trashes: bool = False

    @property
    def frees(self) -> bool:
        """True if its bytes come free; a file that is moved or put back still occupies the disk."""
        return not self.trashes and self.leftover.kind not in {"legacy", "unfinished"}


def goes_to_trash(leftover: Leftover, policy: RetentionPolicy) -> bool:
    """Return whether a file is moved from quarantine to the trash on removal; a file that is too large is deleted."""
    return policy.trash_for is not None and leftover.kind == "quarantined" and leftover.size <= MAX_SESSION_BYTES


def judge_leftover(leftover: Leftover, policy: RetentionPolicy, notice: Notice) -> LeftoverReason | None:
    """Return why a leftover is removed at this time, budgets and notice aside; None: it is kept.

    A leftover of unknown age is kept. An entry of the trash expires at the time that it carries; `trash_for` counts
    only if it carries none.
    """
    match leftover.kind:
        case "temporary" | "unfinished":
            return "no_owner"
        case "legacy":
            return "legacy" if _is_older(leftover, LEGACY_LEAST_AGE, notice) else None
        case "quarantined":
            reason: LeftoverReason = "quarantine_expired" if leftover.header is None else "ttl"
            return reason if _is_older(leftover, _limit(leftover, policy), notice) else None
        case _:
            keep_for = policy.trash_for
            if leftover.since is not None and leftover.expires_at is not None:
                keep_for = leftover.expires_at - leftover.since
            return "trash_expired" if _is_older(leftover, keep_for, notice) else None


def judge_leftovers(
    leftovers: Iterable[Leftover], policy: RetentionPolicy, notice: Notice
) -> tuple[list[LeftoverRow], list[Leftover], list[DueFile]]:
    """Return the leftovers to remove, those kept in trash or quarantine or moved to quarantine, and the due files."""
    rows: list[LeftoverRow] = []
    staying: list[Leftover] = []
    due: list[DueFile] = []
    for leftover in leftovers:
        reason = judge_leftover(leftover, policy, notice)
        if leftover.kind == "quarantined":
            if waits(leftover, policy, notice):
                reason = None
            due += _note_if_due(leftover, policy, notice)
        if reason is not None:
            rows.append(LeftoverRow(leftover, reason, goes_to_trash(leftover, policy)))
        if reason == "legacy" or (reason is None and leftover.kind in {"trash", "quarantined"}):
            staying.append(leftover)
    return rows, staying, due


def waits(leftover: Leftover, policy: RetentionPolicy, notice: Notice) -> bool:
    """Return whether a file in quarantine has to be kept, even if expired, because its notice period is not over."""
    file, limit = foresee(leftover, policy, notice), _limit(leftover, policy)
    return file is not None and not notice.is_ready(file.noted, notice_of(limit, notice.rules.interval))


def foresee(leftover: Leftover, policy: RetentionPolicy, notice: Notice) -> DueFile | None:
    """Return when a file in quarantine will be removed, however late; None: no rule does, or its age is not known.

    This announces nothing.
    """
    limit = _limit(leftover, policy)
    age = None if limit is None else _age(leftover, notice)
    if age is None or limit is None:
        return None
    before = None if notice.last is None else _limit(leftover, notice.last.rules)
    noted = notice.announced(notice.due.find(_identity(leftover)), age, limit, before)
    stays = max(limit - age, notice.stays(noted, notice_of(limit, notice.rules.interval)))
    return DueFile(leftover, age, noted, stays, notice.why(age, limit, before) if noted is None else None)


def _note_if_due(leftover: Leftover, policy: RetentionPolicy, notice: Notice) -> list[DueFile]:
    """Return a file that will be removed soon, announced by this or an earlier run; otherwise an empty list."""
    file, limit = foresee(leftover, policy, notice), _limit(leftover, policy)
    if file is None or limit is None or file.age <= limit - lead_of(limit, notice.rules.interval):
        return []
    if file.noted is None:
        notice.due.add(_identity(leftover), notice.ages.lived)
    else:
        notice.due.keep(_identity(leftover))
    return [file]


def _limit(leftover: Leftover, rules: RetentionPolicy | Rules) -> timedelta | None:
    """Return the age after which a file in quarantine is removed; None: it is kept.

    A usable session has its own TTL, as if it were in its place. An unreadable file may be a pinned session.
    """
    header = leftover.header
    if not leftover.readable or (header is not None and header.pinned):
        return None
    return rules.quarantine_for if header is None else rules.ttl_of(header.channel)


def _is_older(leftover: Leftover, limit: timedelta | None, notice: Notice) -> bool:
    age = None if limit is None else _age(leftover, notice)
    return age is not None and limit is not None and age > limit


def _age(leftover: Leftover, notice: Notice) -> timedelta | None:
    """Return the age of a leftover; for a session in quarantine since its last use, if that is later."""
    if leftover.since is None:
        return None
    which, header = _identity(leftover), leftover.header
    age = notice.age(leftover.since, which)
    if header is None or leftover.kind != "quarantined":
        return age
    used = notice.age(header.last_accessed, identity(which, 1))
    return None if age is None or used is None else min(age, used)


def _identity(leftover: Leftover) -> int:
    """Return the identity by which the next run recognises a leftover; editing a file into a session changes it."""
    which = name_identity(f"{leftover.kind}/{leftover.key}")
    if leftover.header is None or leftover.kind != "quarantined":
        return which
    return identity(which, 2 * to_microseconds(leftover.header.last_accessed))
