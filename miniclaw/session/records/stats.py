"""What the session runtime has done since its start, counted where it happens.

Plain numbers for whoever watches the program (`miniclaw.admin.monitoring.metrics`); nothing is decided by them but
whether the program calls itself ready. The labels are closed sets, so that no input can make them grow. All of it is
changed on the trio thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

from miniclaw.clock import Now, utc_now
from miniclaw.session.entries import LeftoverKind
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.policy import REMOVING

RunOutcome: TypeAlias = Literal["removed", "announced", "held", "interrupted", "failed"]
"""How a cleanup ended.

``removed``: it did what there was to do. ``announced``: it only said what would go. ``held``: by the guard against mass
removal. ``interrupted``: it was stopped. ``failed``: the sessions could not be listed.
"""

RUN_OUTCOMES: Final[tuple[RunOutcome, ...]] = get_args(RunOutcome)

REMOVAL_REASONS: Final[tuple[str, ...]] = (*REMOVING, "deleted")
"""Why sessions were removed: by which rule, or because somebody deleted them."""

LEFTOVER_KINDS: Final[tuple[LeftoverKind, ...]] = get_args(LeftoverKind)

OTHER: Final = "other"
"""Counted so is what belongs to no closed set, which would be a bug."""


class SaveStats:
    """What was saved and what was not.

    Attributes:
        saved: Saves that are durable; a session that is saved twice counts twice.
        failed: Saves that failed.
        failing_ticks: How many regular autosaves in a row have not saved everything, up to now.
        misplaced: Why the sessions directory is not in its place, as of the last look; None: it is.
        lost_to: The process that owns the sessions directory instead of this one; None: this one does.
    """

    def __init__(self, clock: Now = utc_now, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic  # not trio's: the last saves may be settled when that has ended
        self._last_saved: float | None = None
        self.saved = 0
        self.failed = 0
        self.failing_ticks = 0
        self.misplaced: str | None = None
        self.lost_to: str | None = None

    def settled(self, *, saved: bool) -> None:
        """Count one save that has ended."""
        if saved:
            self.saved += 1
            self._last_saved = self._monotonic()
        else:
            self.failed += 1

    def ticked(self, *, complete: bool, early: bool) -> None:
        """Count one autosave.

        Args:
            complete: Whether it saved all there was, and in its time.
            early: Whether it came between two regular ones. Its failure is not yet that of an interval.
        """
        if complete:
            self.failing_ticks = 0
        elif not early:
            self.failing_ticks += 1

    @property
    def last_saved_at(self) -> datetime | None:
        """When the last save became durable, by the wall clock as it is now; None: none has."""
        age = self.last_save_age()
        return None if age is None else self._clock() - timedelta(seconds=age)

    def last_save_age(self) -> float | None:
        """Return for how many seconds nothing has been saved, whatever the wall clock does; None: nothing ever was."""
        return None if self._last_saved is None else max(0.0, self._monotonic() - self._last_saved)


class RunCount:
    """One cleanup while it is counted. A run that ends without saying how was interrupted."""

    def __init__(self) -> None:
        self.outcome: RunOutcome | None = "interrupted"  # None: it does not count
        self.result: CleanupResult | None = None
        self.scanned = 0

    def done(self, result: CleanupResult) -> None:
        """Say what it did."""
        self.result = result
        self.scanned = result.sessions_scanned
        self.outcome = "held" if result.held else "interrupted" if result.interrupted else "removed"

    def announced(self, scanned: int, *, counts: bool) -> None:
        """Say that it only looked. Where it found nothing to announce, it was no run: one that removes follows it."""
        self.scanned = scanned
        self.outcome = "announced" if counts else None


class CleanupStats:
    """What was removed: by the cleanups of the service, by those of commands, and by deleting.

    Attributes:
        runs: How many ended how.
        removed: How many sessions went for which reason.
        leftovers: How many leftovers were removed, or moved to quarantine, by their kind.
        bytes_freed: What the disk got back by all of it.
        last_run_at: When the last run ended, or found nothing to announce, by the wall clock; None: there was none.
        last_duration_seconds: How long it took.
        last_scanned: How many session files it has looked at; 0 where it did not come so far.
        problems: How many files it has found that are no sessions that can be judged, by their kind.
    """

    def __init__(self, clock: Now = utc_now, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.runs: dict[str, int] = dict.fromkeys(RUN_OUTCOMES, 0)
        self.removed: dict[str, int] = dict.fromkeys(REMOVAL_REASONS, 0)
        self.leftovers: dict[str, int] = dict.fromkeys(LEFTOVER_KINDS, 0)
        self.bytes_freed = 0
        self.last_run_at: datetime | None = None
        self.last_duration_seconds = 0.0
        self.last_scanned = 0
        self.problems = CleanupResult().problems()

    @contextmanager
    def counting(self) -> Iterator[RunCount]:
        """Count a cleanup for the length of a block, however that ends."""
        run, began = RunCount(), self._monotonic()
        try:
            yield run
        except Exception:
            run.outcome = "failed"
            raise
        finally:
            self._count(run, self._monotonic() - began)

    def _count(self, run: RunCount, seconds: float) -> None:
        if run.outcome is not None:
            self.runs[run.outcome] += 1
        self.last_run_at = self._clock()
        self.last_duration_seconds = seconds
        self.last_scanned = run.scanned
        if run.result is not None:
            self.problems = run.result.problems()
            self.gone(run.result.removed_by_reason, run.result.leftovers_removed, run.result.bytes_freed)

    def gone(self, reasons: Mapping[str, int], leftovers: Mapping[str, int], bytes_freed: int) -> None:
        """Count what was removed, by reason and by kind."""
        _add(self.removed, reasons)
        _add(self.leftovers, leftovers)
        self.bytes_freed += max(0, bytes_freed)


class SessionStats:
    """All that is counted around one `SessionManager`."""

    def __init__(self, clock: Now = utc_now) -> None:
        self.saves = SaveStats(clock)
        self.cleanups = CleanupStats(clock)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for label, count in more.items():
        known = label if label in counts else OTHER
        counts[known] = counts.get(known, 0) + count
