"""Batches of a cleanup that outlast their run: counted, logged, and recorded in the history on their own lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import LeftoverRemoval
from miniclaw.session.records.cleanup_log import CleanupLog
from miniclaw.session.records.history import Actor, History, HistoryEvent
from miniclaw.session.records.result import Progress
from miniclaw.session.records.stats import CleanupStats
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import PlanRow
from miniclaw.session.threads import Epilogue

log = get_logger("miniclaw.session.cleanup")


class LateBatches:
    """Takes the outcomes of those batches of a run for which the run no longer waits.

    Args:
        plan: The plan of the run.
        by: The actor of the run.
        sessions_dir: For messages.
        stats: The counters for the outcomes.
        history: The history that records them; None: there is none.
    """

    def __init__(
        self, plan: CleanupPlan, by: Actor, *, sessions_dir: Path, stats: CleanupStats, history: History | None
    ) -> None:
        self._plan = plan
        self._by = by
        self._log = CleanupLog(sessions_dir)  # separate: that of the run has ended
        self._stats = stats
        self._history = history

    def removals(self, rows: Sequence[PlanRow], removals: Sequence[Removal]) -> Epilogue:
        """Take the outcomes of a batch of sessions; on the trio thread."""
        with self._log.run() as run:
            run.removals(removals, self._plan.ages)
        progress = Progress(self._plan)
        progress.add_removals(rows, removals)
        return self._tell(progress)

    def leftovers(self, removals: Sequence[LeftoverRemoval]) -> Epilogue:
        """Take the outcomes of a batch of leftovers; on the trio thread."""
        with self._log.run() as run:
            run.leftovers(removals)
        progress = Progress(self._plan)
        progress.add_leftovers(removals)
        return self._tell(progress)

    def _tell(self, progress: Progress) -> Epilogue:
        result = progress.result()
        if not (result.sessions_deleted or result.leftovers_removed):
            return None
        self._stats.gone(result.removed_by_reason, result.leftovers_removed, result.bytes_freed)
        log.warning(
            "Session cleanup has removed more after its end",
            sessions_deleted=result.sessions_deleted, leftovers_removed=result.leftovers_removed,
            bytes_freed=result.bytes_freed,
        )  # fmt: skip
        return partial(record_late, self._history, progress.event("late", self._by, seconds=0.0))


def record_late(history: History | None, event: HistoryEvent) -> None:
    """Append an event to the history, in the calling thread; a failure is logged as an ERROR."""
    if history is None:
        return
    try:
        history.append(event)
    except StoreError as error:
        log.error("Late removal could not be written into the history", error=str(error))
