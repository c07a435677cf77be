"""Announcements of sessions that have already expired.

Sessions announced in time, a week before they expire, are only counted in the log line of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from msgspec import Struct

from miniclaw.session.hooks.types import DueEntry
from miniclaw.session.retention.notice import DueFile, DueSession, Why
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.types import AwareDatetime

NAMED: Final = 100
"""Most sessions that an announcement names."""

WHY: Final[dict[Why, str]] = {
    "first_run": "no earlier run is known: old sessions were there before, or the state was lost",
    "tightened_rule": "by the rules of the last run they were not due: a rule was tightened",
    "absence": "the machine was off for long, and a time server says so",
    "new_file": "they were not there at the last run, or pinned: restored, put in, or changed by hand",
}


class Announcement(Struct, frozen=True):
    """An announcement of sessions and files that had already expired.

    Attributes:
        sessions: Number of announced sessions.
        bytes: Sum of their sizes.
        files: Number of announced files in quarantine.
        goes_at: Time of the first run that may delete them; None: no run is scheduled.
        reasons: Number of sessions and files by reason; `Why` lists the reasons.
        session_ids: Ids of the first `NAMED` sessions.
    """

    at: AwareDatetime
    sessions: int
    bytes: int
    files: int
    goes_at: AwareDatetime | None
    reasons: dict[Why, int]
    session_ids: tuple[str, ...]


OnAnnounced: TypeAlias = Callable[[Announcement], Awaitable[None]]
"""Called with the sessions that a run announces after they have expired. The next run waits until it returns.

An exception from it is logged as an ERROR.
"""


class Found(Struct):
    """The announcements of a plan: the number of those in time, and those after expiry.

    Attributes:
        stays: Shortest time for which these remain.
    """

    in_time: int
    late: list[DueSession]
    files: list[DueFile]
    bytes: int
    reasons: dict[Why, int]
    stays: timedelta

    def announcement(self, at: datetime, goes_at: datetime | None) -> Announcement:
        """Return the announcement of those after expiry."""
        named = tuple(due.session.header.session_id for due in self.late[:NAMED])
        return Announcement(at, len(self.late), self.bytes, len(self.files), goes_at, self.reasons, named)


def find_new(plan: CleanupPlan) -> Found:
    """Return the announcements of a plan; slow for a large plan."""
    late = [due for due in plan.due if due.noted is None and due.why is not None]
    files = [due for due in plan.due_files if due.why is not None]
    both: list[DueSession | DueFile] = [*late, *files]
    return Found(
        sum(due.noted is None and due.why is None for due in plan.due),
        late,
        files,
        sum(due.session.size for due in late),
        dict(Counter(due.why for due in both if due.why is not None)),
        min((due.stays for due in both), default=timedelta(0)),
    )


def due_entries(plan: CleanupPlan, goes_at: Callable[[timedelta], datetime | None]) -> list[DueEntry]:
    """Return the sessions that a plan announces, in time or late, but not those that it removes; slow for a large plan.

    Args:
        plan: The plan.
        goes_at: Returns the time of the first run that deletes a session which remains for so long; any thread calls.
    """
    going = {row.session.key for row in plan.removals}
    return [
        DueEntry(
            session_id=header.session_id,
            channel=header.channel,
            chat_id=header.chat_id,
            last_accessed=header.last_accessed,
            goes_at=goes_at(due.stays),
            reason=due.reason,
        )
        for due in plan.due
        if due.noted is None and due.session.key not in going
        for header in [due.session.header]
    ]
