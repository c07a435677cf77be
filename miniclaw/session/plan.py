"""What a cleanup would do: the scanned sessions, judged. Made the same way for a dry run and for a run.

Nothing here needs trio, so that a command which only looks starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from msgspec import Struct, field

from miniclaw.session.directory import SessionDirectory
from miniclaw.session.retention import PlanRow, Reason, RetentionPolicy
from miniclaw.session.rows import ProblemFile, ScanRow
from miniclaw.session.scanning import DirectoryScan

_LISTED: Final[frozenset[Reason]] = frozenset({"ttl", "future"})

_STEP_SECONDS = 0.2  # between two reports of the progress


class CleanupPlan(Struct):
    """What a run would do, if it began at `now`.

    Attributes:
        now: The time that all sessions were judged at.
        removals: The sessions that would go, in no order.
        problems: Files that are no readable sessions; they stay.
        future: Sessions that are ahead of the clock; they stay.
        sessions_scanned: Session files looked at.
    """

    now: datetime
    removals: list[PlanRow] = field(default_factory=list)
    problems: list[ProblemFile] = field(default_factory=list)
    future: list[PlanRow] = field(default_factory=list)
    sessions_scanned: int = 0

    @property
    def bytes(self) -> int:
        """The sizes of what would go, added up."""
        return sum(row.session.size for row in self.removals)

    def add(self, rows: list[ScanRow], policy: RetentionPolicy) -> None:
        """Judge some more of what was scanned."""
        for row in rows:
            if isinstance(row, ProblemFile):
                self.problems.append(row)
                self.sessions_scanned += row.kind != "foreign"
                continue
            self.sessions_scanned += 1
            reason = policy.judge(row.header, self.now)
            # Rows of what simply stays are not even made: there may be a hundred thousand.
            if reason in _LISTED:
                listed = PlanRow(row, reason, self.now - row.header.last_accessed)
                (self.removals if listed.removes else self.future).append(listed)

    def problem_count(self, kind: str) -> int:
        """Return how many problems are of this kind."""
        return sum(problem.kind == kind for problem in self.problems)


def scan_sync(
    directory: SessionDirectory,
    policy: RetentionPolicy,
    now: datetime,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> CleanupPlan:
    """Plan a cleanup of a directory that need not be owned. Blocks.

    What would go is read whole, as the removal will: a damaged file is told from an expired one.

    Args:
        directory: The sessions directory.
        policy: How long sessions are kept.
        now: The time that all are judged at.
        on_progress: Called with the number of entries scanned so far.

    Raises:
        StoreIOError: The directory cannot be listed.
    """
    plan = CleanupPlan(now)
    entries = 0
    with DirectoryScan(directory, partial(policy.is_expired, now=now)) as scan:
        while rows := scan.next_batch(seconds=_STEP_SECONDS):
            plan.add(rows, policy)
            entries += len(rows)
            if on_progress is not None:
                on_progress(entries)
    return plan
