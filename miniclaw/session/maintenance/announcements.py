"""Announcements of sessions that have already expired: in the log, in the history, and to a program.

Sessions announced in time, a week before they expire, are only counted in the log line of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from msgspec import Struct

from miniclaw.loggers import get_logger
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.records.result import plan_event
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

log = get_logger("miniclaw.session.cleanup")


class Announcement(Struct, frozen=True):
    """An announcement of sessions and files that had already expired.

    Attributes:
        at: Time of the announcement.
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


class Announcer:
    """Reports the announcements of the daily cleanup.

    Args:
        cleanup: The cleanup, whose history and worker thread are used.
        goes_at: Returns the time of the first run that is at least the given time from now; None: no run is scheduled.

    Attributes:
        latest: The latest announcement of expired sessions; None: none since the start.
        untold: The same, until `on_announced` is called with it.
        expected: Number of sessions announced in time, since the start.
        unexpected: Number of sessions announced after they had expired, since the start.
    """

    def __init__(self, cleanup: Cleanup, goes_at: Callable[[timedelta], datetime | None]) -> None:
        self._cleanup = cleanup
        self._goes_at = goes_at
        self.latest: Announcement | None = None
        self.untold: Announcement | None = None
        self.expected = self.unexpected = 0

    async def tell(self, plan: CleanupPlan) -> None:
        """Count the sessions that a plan announces, and report those that have expired."""
        new = await self._cleanup.in_thread(partial(_new_of, plan))
        self.expected += new.expected
        self.unexpected += len(new.late)
        if not (new.late or new.files):
            return
        goes_at = self._goes_at(new.stays)
        announcement = Announcement(
            plan.now, len(new.late), new.bytes, len(new.files), goes_at, new.reasons,
            tuple(due.session.header.session_id for due in new.late[:NAMED]),
        )  # fmt: skip
        because = "; ".join(WHY[why] for why in new.reasons)
        log.warning(
            "Sessions announced that have expired; they go if nobody uses them",
            sessions=announcement.sessions,
            bytes=announcement.bytes,
            quarantined=announcement.files,
            goes_at="not by itself" if goes_at is None else goes_at.isoformat(timespec="minutes"),
            reasons=announcement.reasons,
            because=because,
        )
        await self._cleanup.record(
            partial(
                plan_event, plan, "announced", "service", sessions=new.late, files=[due.leftover for due in new.files],
                because=because, announced=len(new.late), goes_at=goes_at,
            )
        )  # fmt: skip
        self.latest = self.untold = announcement


class _New(Struct):
    """The announcements of a plan: a count of those in time, and a list of those after expiry."""

    expected: int
    late: list[DueSession]
    files: list[DueFile]
    bytes: int
    reasons: dict[Why, int]
    stays: timedelta


def _new_of(plan: CleanupPlan) -> _New:
    """Return the announcements of a plan; slow for a large plan."""
    late = [due for due in plan.due if due.noted is None and due.why is not None]
    files = [due for due in plan.due_files if due.why is not None]
    both: list[DueSession | DueFile] = [*late, *files]
    return _New(
        sum(due.noted is None and due.why is None for due in plan.due),
        late,
        files,
        sum(due.session.size for due in late),
        dict(Counter(due.why for due in both if due.why is not None)),
        min((due.stays for due in both), default=timedelta(0)),
    )
