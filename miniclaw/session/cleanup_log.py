"""What a cleanup says in the log about single files: the first of each kind, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from miniclaw.session.leftovers import LeftoverRemoval
from miniclaw.session.logs import get_logger
from miniclaw.session.removal import Removal
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.timeline import Ages

_MAX_PROBLEMS_LOGGED: Final = 20

log = get_logger("miniclaw.session.cleanup")


def log_removals(removals: Sequence[Removal], ages: Ages, sessions_dir: Path) -> None:
    """Say what was removed, at DEBUG, and what could not be, as an ERROR."""
    for removal in removals:
        if removal.outcome == "removed":
            log_removed(removal, ages)
        elif removal.outcome in {"failed", "unsynced", "corrupt", "unreadable", "unanswered", "pending"}:
            event = "Session not removed yet" if removal.outcome == "pending" else "Session not removed"
            path = str(sessions_dir / removal.key)
            log.error(event, path=path, outcome=removal.outcome, reason=removal.reason)


def log_leftovers(removals: Sequence[LeftoverRemoval]) -> None:
    """Say which leftovers were removed, at DEBUG, and which could not be, as an ERROR."""
    for done in removals:
        fields = {"kind": done.leftover.kind, "file": done.leftover.key}
        if done.leftover.kind == "unfinished":
            # The ERROR was when the system refused; nothing is lost, and nothing can be done before the next start.
            log.warning("Unfinished removal waits for the next start", reason=done.reason, **fields)
        elif done.outcome in {"failed", "pending"}:
            event = "Leftover not removed yet" if done.outcome == "pending" else "Leftover not removed"
            log.error(event, reason=done.reason, **fields)
        elif done.outcome != "vanished":
            log.debug("Leftover removed", outcome=done.outcome, bytes_freed=done.bytes_freed, **fields)


def log_removed(removal: Removal, ages: Ages) -> None:
    """Say at DEBUG what was removed."""
    if removal.header is not None:
        age = ages.age(removal.header.last_accessed)
        log.debug(
            "Session removed",
            session_id=removal.header.session_id,
            last_accessed=removal.header.last_accessed.isoformat(),
            age_days=None if age is None else round(age / timedelta(days=1), 2),
            bytes_freed=removal.bytes_freed,
        )


def log_problems(plan: CleanupPlan, sessions_dir: Path) -> None:
    """Say which files cannot be read as sessions; the first of them, and how many more there are."""
    bad = [problem for problem in plan.problems if problem.kind != "foreign"]
    for problem in bad[:_MAX_PROBLEMS_LOGGED]:
        path = str(sessions_dir / problem.key)
        log.error("Session file kept, it cannot be judged", path=path, kind=problem.kind, reason=problem.reason)
    if (more := len(bad) - _MAX_PROBLEMS_LOGGED) and more > 0:
        log.error("More session files cannot be judged", more=more, see="miniclaw sessions cleanup --dry-run")
    foreign = [problem for problem in plan.problems if problem.kind == "foreign"]
    for problem in foreign[:_MAX_PROBLEMS_LOGGED]:
        log.info("Entry left alone, it is no session", path=str(sessions_dir / problem.key), reason=problem.reason)
    for row in plan.future[:_MAX_PROBLEMS_LOGGED]:
        log.warning(
            "Session kept, it is ahead of the clock",
            session_id=row.session.header.session_id,
            last_accessed=row.session.header.last_accessed.isoformat(),
        )
