"""The log of cleanups about single files: each file is named once, and only counted by later runs.

Otherwise a damaged file that is left alone would cause the same line at each run, for months. A run names new files, at
most `MOST_NAMED` for each event, and counts the others in one line. All conflict copies share one line, and so do all
foreign entries: they are in no session's place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import BESIDE, LeftoverRemoval, ProblemKind
from miniclaw.session.records.history import History, HistoryEvent
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.timeline import Ages

MOST_NAMED: Final = 20
"""Most files that a run names for each event."""

MOST_IN_LINE: Final = 5
"""Most files that a line of counts names, as examples."""

_FAILED: Final = frozenset({"failed", "unsynced", "corrupt", "unreadable", "unanswered"})

_UNJUDGED: Final = "Session file kept, it cannot be judged"
_AHEAD: Final = "Session kept, it is ahead of the clock"
_NOT_REMOVED: Final = "Session not removed"
_KEPT: Final = "Session kept by before_remove"
_LEFTOVER_NOT_REMOVED: Final = "Leftover not removed"
_UNFINISHED: Final = "Unfinished removal waits for the next start"

_MORE: Final = {
    _UNJUDGED: "More session files cannot be judged",
    _AHEAD: "More sessions are ahead of the clock",
    _NOT_REMOVED: "More sessions not removed",
    _KEPT: "More sessions kept by before_remove",
    _LEFTOVER_NOT_REMOVED: "More leftovers not removed",
    _UNFINISHED: "More unfinished removals wait for the next start",
}
_WARNINGS: Final = frozenset({_AHEAD, _UNFINISHED})  # _KEPT is INFO; the others are ERRORs

log: Final = get_logger("miniclaw.session.cleanup")


class CleanupLog:
    """The log of the runs of one cleanup; it remembers the files that the last run logged."""

    def __init__(self, sessions_dir: Path) -> None:
        self._sessions_dir = sessions_dir
        # Event -> the files of a run, each with the reason: of the last run, and of the one under way.
        self._before: dict[str, set[tuple[str, str]]] = {}
        self._found: dict[str, set[tuple[str, str]]] = {}
        self._named: Counter[str] = Counter()
        self._counted: dict[str, list[str]] = {}

    @contextmanager
    def run(self) -> Iterator[Self]:
        """Log one run, for a block; at its end, log the number of files that were only counted. Runs do not overlap."""
        self._found, self._named, self._counted = {}, Counter(), {}
        try:
            yield self
        finally:
            for event, keys in self._counted.items():
                _level_of(event)(_MORE[event], more=len(keys), first=keys[:MOST_IN_LINE])
            self._before = self._found

    def _name_or_count(self, event: str, key: str, why: str, /, **fields: object) -> None:
        """Log an event about one file, or count it."""
        self._found.setdefault(event, set()).add((key, why))
        if self._named[event] == MOST_NAMED or (key, why) in self._before.get(event, ()):
            self._counted.setdefault(event, []).append(key)
            return
        self._named[event] += 1
        _level_of(event)(event, **fields)

    def problems(self, plan: CleanupPlan) -> None:
        """Log the files that cannot be judged as sessions, and the sessions ahead of the clock."""
        for problem in plan.problems:
            if problem.kind not in BESIDE:
                path = str(self._sessions_dir / problem.key)
                self._name_or_count(
                    _UNJUDGED, problem.key, problem.reason, path=path, kind=problem.kind, reason=problem.reason
                )  # fmt: skip
        if copies := _keys(plan, "conflict"):
            log.warning(
                "Copies of sessions left alone that other programs have made",
                files=len(copies),
                first=copies[:MOST_IN_LINE],
            )
        if foreign := _keys(plan, "foreign"):
            log.info("Entries left alone, they are no sessions", files=len(foreign), first=foreign[:MOST_IN_LINE])
        for row in plan.future:
            header = row.session.header
            used = header.last_accessed.isoformat()
            self._name_or_count(_AHEAD, row.session.key, used, session_id=header.session_id, last_accessed=used)

    def removals(self, removals: Sequence[Removal], ages: Ages) -> None:
        """Log each session that was removed, at DEBUG, and each that could not be, as an ERROR."""
        for removal in removals:
            if removal.outcome == "removed":  # nearly all; they need no path
                log_removed(removal, ages)
                continue
            path = str(self._sessions_dir / removal.key)
            if removal.outcome == "kept_by_hook":
                self._name_or_count(_KEPT, removal.key, removal.reason, path=path, reason=removal.reason)
            elif removal.outcome == "pending":
                log.error("Session not removed yet", path=path, outcome=removal.outcome, reason=removal.reason)
            elif removal.outcome in _FAILED:
                self._name_or_count(
                    _NOT_REMOVED, removal.key, removal.reason, path=path, outcome=removal.outcome, reason=removal.reason
                )  # fmt: skip

    def leftovers(self, removals: Sequence[LeftoverRemoval]) -> None:
        """Log each leftover that was removed, at DEBUG, and each that could not be, as an ERROR."""
        for done in removals:
            kind, key = done.leftover.kind, done.leftover.key
            if kind == "unfinished":
                # The refusal itself was logged as an ERROR; nothing is lost, and only the next start can resolve it.
                self._name_or_count(_UNFINISHED, key, done.reason, reason=done.reason, kind=kind, file=key)
            elif done.outcome == "pending":
                log.error("Leftover not removed yet", reason=done.reason, kind=kind, file=key)
            elif done.outcome == "failed":
                self._name_or_count(_LEFTOVER_NOT_REMOVED, key, done.reason, reason=done.reason, kind=kind, file=key)
            elif done.outcome != "vanished":
                log.debug(
                    "Leftover removed", outcome=done.outcome, bytes_freed=done.bytes_freed, kind=kind, file=key
                )  # fmt: skip


def log_removed(removal: Removal, ages: Ages) -> None:
    """Log at DEBUG that a session was removed."""
    if removal.header is not None:
        age = ages.age(removal.header.last_accessed)
        log.debug(
            "Session removed",
            session_id=removal.header.session_id,
            last_accessed=removal.header.last_accessed.isoformat(),
            age_days=None if age is None else round(age / timedelta(days=1), 2),
            bytes_freed=removal.bytes_freed,
        )


def _keys(plan: CleanupPlan, kind: ProblemKind) -> list[str]:
    return sorted(problem.key for problem in plan.problems if problem.kind == kind)


def _level_of(event: str) -> Callable[..., None]:
    return log.info if event == _KEPT else log.warning if event in _WARNINGS else log.error


def record_late(history: History | None, event: HistoryEvent) -> None:
    """Append an event to the history, if there is one, in the calling thread; log a failure as an ERROR."""
    if history is None:
        return
    try:
        history.append(event)
    except StoreError as error:
        log.error("Late removal could not be written into the history", error=str(error))
