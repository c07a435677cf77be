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

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.cleanup_result import announced_event
from miniclaw.session.logs import get_logger
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
        new = [due for due in plan.due if due.noted is None]
        late = [due for due in new if due.why is not None]
        files = [due for due in plan.due_files if due.why is not None]
        self.expected += len(new) - len(late)
        self.unexpected += len(late)
        if not (late or files):
            return
        both: list[DueSession | DueFile] = [*late, *files]
        goes_at = self._goes_at(min(due.stays for due in both))
        reasons = Counter(due.why for due in both if due.why is not None)
        announcement = Announcement(
            plan.now, len(late), sum(due.session.size for due in late), len(files), goes_at, dict(reasons),
            tuple(due.session.header.session_id for due in late[:NAMED]),
        )  # fmt: skip
        because = "; ".join(WHY[why] for why in reasons)
        log.warning(
            "Sessions announced that have expired; they go if nobody uses them",
            sessions=announcement.sessions,
            bytes=announcement.bytes,
            quarantined=announcement.files,
            goes_at="not by itself" if goes_at is None else goes_at.isoformat(timespec="minutes"),
            reasons=announcement.reasons,
            because=because,
        )
        await self._cleanup.record(partial(announced_event, plan, late, files, because=because, goes_at=goes_at))
        self.latest = self.untold = announcement
