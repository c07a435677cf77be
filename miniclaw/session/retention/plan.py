"""The plan of a cleanup: sessions and leftovers to remove, each for one reason, and counts of those kept, by rule.

`miniclaw.session.retention.planner` makes it. A dry run, a run and its record are based on nothing else.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from miniclaw.session.entries import ProblemFile, Tally, tally_by
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.notice import DueFile, DueSession
from miniclaw.session.retention.policy import GUARD_LEAST_SESSIONS, REMOVING, PlanRow, Reason, RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import Session, SessionHeader


class CleanupPlan(Struct):
    """The removals of a run that began at `now`.

    Attributes:
        ages: The moment at which all sessions were judged.
        removals: The sessions to remove; those of the TTL first, then those of the budgets in their order.
        problems: Files that are no readable sessions; they are kept.
        future: Sessions that are ahead of the clock; they are kept.
        sessions_scanned: Number of session files scanned.
        leftovers: The leftovers to remove.
        pinned: Number of pinned sessions; no rule removes them.
        in_use: Number of sessions that a rule would have removed, were they not in use, unsaved or fresh in memory.
        min_idle: Number of sessions that a budget would have removed, had they been idle for longer.
        readable: Number of sessions that could be judged.
        sessions_bytes: The sum of their sizes.
        unmet: Budgets that remain unmet, because the rest is protected or would not be enough.
        for_good: Keys of removals and leftovers that would be moved to the trash, if a disk budget did not need the
            room.
        due: Sessions that their TTL or `max_sessions` removes unless they are used: soon, or by this plan.
        due_files: Files in quarantine likewise.
        notes: Entries added to or kept in the list of due sessions and files; each rule has its own.
        policy: The rules of the plan.
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
    policy: RetentionPolicy = RetentionPolicy(ttl=None)  # under which nothing expires

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.ages.now

    @property
    def held(self) -> str | None:
        """Why the plan needs a confirmation: it would remove too much at once. None: it needs none."""
        fraction, going = self.policy.max_removed_fraction, len(self.removals)
        if fraction is None or self.readable < GUARD_LEAST_SESSIONS or going / self.readable <= fraction:
            return None
        return (
            f"it would remove {going:,} of {self.readable:,} sessions, "
            f"more than max_removed_fraction = {fraction} allows"
        )

    @property
    def bytes(self) -> int:
        """The sum of the sizes of the sessions to remove."""
        return sum(row.session.size for row in self.removals)

    @property
    def due_count(self) -> Tally:
        """The number of due sessions, and the sum of their sizes."""
        return Tally(len(self.due), sum(due.session.size for due in self.due))

    def by_reason(self) -> dict[Reason, Tally]:
        """Return the counts of removed sessions by rule, in the order of the rules; a rule without any is absent."""
        found = tally_by(Tally, ((row.reason, row.session.size) for row in self.removals))
        return {reason: found[reason] for reason in REMOVING if reason in found}

    def trashes(self, row: PlanRow | LeftoverRow) -> bool:
        """Return whether a session or a file in quarantine is moved to the trash on removal."""
        if isinstance(row, LeftoverRow):
            return row.trashes and row.leftover.key not in self.for_good
        return self.policy.trashes(row.reason) and row.session.key not in self.for_good

    def problem_count(self, kind: str) -> int:
        """Return the number of problems of this kind."""
        return sum(problem.kind == kind for problem in self.problems)

    def still_goes(self, row: PlanRow, header: SessionHeader | Session) -> bool:
        """Return whether a session may still be removed, given its state at the last moment.

        Args:
            row: The plan's verdict on it.
            header: The session as it is now, in its file, whole, or in memory.

        Returns:
            True if it is not pinned and was not used since the plan was made.
        """
        return (
            not header.pinned and row.removes and header.last_accessed in {row.session.header.last_accessed, row.used}
        )
