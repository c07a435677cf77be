"""The plan of a cleanup: which sessions and leftovers would go, each for one reason, and how many stay for what.

It is made by `miniclaw.session.retention.planner` and is all that a dry run, a run and its record go by.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from miniclaw.session.entries import Leftover, LeftoverKind, ProblemFile
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.notice import DueFile, DueSession
from miniclaw.session.retention.policy import GUARD_LEAST_SESSIONS, REMOVING, PlanRow, Reason, RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import Session, SessionHeader


class Count(Struct, frozen=True):
    """How many, and their sizes added up."""

    sessions: int = 0
    bytes: int = 0


class CleanupPlan(Struct):
    """What a run would do, if it began at `now`.

    Attributes:
        ages: The moment that all sessions were judged at.
        removals: The sessions that would go; those of the TTL first, then those of the budgets as they are taken.
        problems: Files that are no readable sessions; they stay.
        future: Sessions that are ahead of the clock; they stay.
        sessions_scanned: Session files looked at.
        leftovers: What goes beside the sessions.
        pinned: Sessions that are pinned; no rule takes them.
        in_use: Sessions that a rule would have taken, were they not in use, unsaved or fresh in memory.
        min_idle: Sessions that a budget would have taken, had they been idle for longer.
        readable: Sessions that could be judged.
        sessions_bytes: Their sizes, added up.
        unmet: Budgets that stay unmet, because the rest is protected or would not be enough.
        for_good: Keys of removals and leftovers that would go to the trash, if a disk budget did not need the room.
        due: Sessions that go for their TTL or `max_sessions` if nobody uses them: soon, or by this plan.
        due_files: Files in quarantine likewise.
        notes: What was noted or kept in the list of what is due, for these and by each rule.
        held: Why the plan is not to be carried out unless somebody confirms it; None: it may be.
        policy: What it was made by.
    """

    ages: Ages
    removals: list[PlanRow] = field(default_factory=list)
    problems: list[ProblemFile] = field(default_factory=list)
    future: list[PlanRow] = field(default_factory=list)
    sessions_scanned: int = 0
    leftovers: list[LeftoverRow] = field(default_factory=list)
    pinned: int = 0
    in_use: int = 0
    min_idle: int = 0
    readable: int = 0
    sessions_bytes: int = 0
    unmet: list[str] = field(default_factory=list)
    for_good: frozenset[str] = frozenset()
    due: list[DueSession] = field(default_factory=list)
    due_files: list[DueFile] = field(default_factory=list)
    notes: int = 0
    held: str | None = None
    policy: RetentionPolicy = RetentionPolicy(ttl=None)  # under which nothing expires

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.ages.now

    @property
    def bytes(self) -> int:
        """The sizes of the sessions that would go, added up."""
        return sum(row.session.size for row in self.removals)

    @property
    def due_count(self) -> Count:
        """How many sessions are due, and their sizes added up."""
        return Count(len(self.due), sum(due.session.size for due in self.due))

    def by_reason(self) -> dict[Reason, Count]:
        """Return how many sessions go by each rule that takes any, in the order of the rules."""
        rows: dict[Reason, list[int]] = {reason: [] for reason in REMOVING}
        for row in self.removals:
            rows[row.reason].append(row.session.size)
        return {reason: Count(len(sizes), sum(sizes)) for reason, sizes in rows.items() if sizes}

    def leftovers_of(self, kind: LeftoverKind) -> list[Leftover]:
        """Return what goes of this kind."""
        return [row.leftover for row in self.leftovers if row.leftover.kind == kind]

    def trashes(self, row: PlanRow | LeftoverRow) -> bool:
        """Return whether a session, or a file in quarantine, that goes is kept in the trash."""
        if isinstance(row, LeftoverRow):
            return row.trashes and row.leftover.key not in self.for_good
        return self.policy.trashes(row.reason) and row.session.key not in self.for_good

    def problem_count(self, kind: str) -> int:
        """Return how many problems are of this kind."""
        return sum(problem.kind == kind for problem in self.problems)

    def still_goes(self, row: PlanRow, header: SessionHeader | Session) -> bool:
        """Return whether a session may go after all, as it is found at the last moment.

        Args:
            row: What the plan says about it.
            header: The session as it is now, in its file, whole, or in memory.

        Returns:
            True where it is not pinned and was not used since the plan was made.
        """
        return (
            not header.pinned and row.removes and header.last_accessed in {row.session.header.last_accessed, row.used}
        )


def why_held(plan: CleanupPlan) -> str | None:
    """Return why a plan is to be confirmed by somebody: it would remove too much at once. None: it need not be."""
    fraction, going = plan.policy.max_removed_fraction, len(plan.removals)
    if fraction is None or plan.readable < GUARD_LEAST_SESSIONS or going / plan.readable <= fraction:
        return None
    return (
        f"it would remove {going:,} of {plan.readable:,} sessions, more than max_removed_fraction = {fraction} allows"
    )
