"""Announcements are heard: what is announced after it has expired is told in the log, the history, and to a program.

What comes as it should, a week before it expires, is a count in the line of the run.
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
from miniclaw.session.records.result import announced_event
from miniclaw.session.retention.notice import DueFile, DueSession, Why
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.types import AwareDatetime

NAMED: Final = 100
"""So many sessions an announcement names."""

WHY: Final[dict[Why, str]] = {
    "first_run": "no earlier run is known: old sessions were there before, or the state was lost",
    "tightened_rule": "by the rules of the last run they were not due: a rule was tightened",
    "absence": "the machine was off for long, and a time server says so",
    "new_file": "they were not there at the last run, or pinned: restored, put in, or changed by hand",
}

log = get_logger("miniclaw.session.cleanup")


class Announcement(Struct, frozen=True):
    """What was announced after it had expired.

    Attributes:
        at: When.
        sessions: How many sessions go.
        bytes: Their sizes, added up.
        files: How many files in quarantine go.
        goes_at: When the first run comes that may delete them; None: none comes by itself.
        reasons: How many for which reason; see `Why`.
        session_ids: The first `NAMED` of them.
    """

    at: AwareDatetime
    sessions: int
    bytes: int
    files: int
    goes_at: AwareDatetime | None
    reasons: dict[Why, int]
    session_ids: tuple[str, ...]


OnAnnounced: TypeAlias = Callable[[Announcement], Awaitable[None]]
"""Told about sessions that are announced after they have expired. It may take a while; the next run waits for it.

An exception from it is an ERROR in the log.
"""


class Announcer:
    """Tells what a run of the daily cleanup announces.

    Args:
        cleanup: Whose history it is told in.
        goes_at: Returns when the first run comes that is not before a time.

    Attributes:
        latest: What was announced last after it had expired; None: nothing was, since the start.
        untold: The same, until `on_announced` is told of it.
        expected: How many sessions were announced in time, since the start.
        unexpected: How many were after they had expired.
    """

    def __init__(self, cleanup: Cleanup, goes_at: Callable[[timedelta], datetime | None]) -> None:
        self._cleanup = cleanup
        self._goes_at = goes_at
        self.latest: Announcement | None = None
        self.untold: Announcement | None = None
        self.expected = self.unexpected = 0

    async def tell(self, plan: CleanupPlan) -> None:
        """Tell what a plan announces."""
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
        event = partial(announced_event, plan, new.late, new.files, because=because, goes_at=goes_at)
        await self._cleanup.record(event)
        self.latest = self.untold = announcement


class _New(Struct):
    """What a plan announces: how many in time, and what after it had expired."""

    expected: int
    late: list[DueSession]
    files: list[DueFile]
    bytes: int
    reasons: dict[Why, int]
    stays: timedelta


def _new_of(plan: CleanupPlan) -> _New:
    """Return what a plan announces; of a large one that takes a while."""
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
