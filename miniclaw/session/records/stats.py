"""Counters of the session runtime since its start, kept where the counted events happen.

Plain numbers for monitoring (`miniclaw.admin.monitoring.metrics`); the program's readiness is the only decision that
depends on them. The labels are closed sets, so that no input can add one. All counters are changed on the trio thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from miniclaw.clock import Now, utc_now
from miniclaw.session.entries import LeftoverKind
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.policy import REMOVING

RunOutcome: TypeAlias = Literal["removed", "announced", "held", "interrupted", "failed"]
"""The outcomes of a cleanup.

``removed``: it ran to its end. ``announced``: it only announced. ``held``: the guard against mass removal held it.
``interrupted``: it was stopped. ``failed``: the sessions could not be listed.
"""

OTHER: Final = "other"
"""The label for a value that is in no closed set, which would be a bug."""


class SaveStats:
    """Counters of saves.

    Attributes:
        saved: Durable saves; a session that is saved twice counts twice.
        failed: Failed saves.
        failing_ticks: Regular autosaves in a row, up to now, that have not saved everything.
        misplaced: Why the sessions directory was not in its place at the last check; None: it was.
        lost_to: The process that owns the sessions directory instead of this one; None: this process owns it.
    """

    def __init__(self, clock: Now = utc_now, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic  # not trio's clock: the last saves may be settled after trio has ended
        self._last_saved: float | None = None
        self.saved: int = 0
        self.failed: int = 0
        self.failing_ticks: int = 0
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
        """Count one autosave, which saved everything in time if it is complete; as `Persistence.tick` does."""
        if complete:
            self.failing_ticks = 0
        elif not early:
            self.failing_ticks += 1

    @property
    def last_saved_at(self) -> datetime | None:
        """Time at which the last save became durable, by the present wall clock; None: none has."""
        age = self.last_save_age()
        return None if age is None else self._clock() - timedelta(seconds=age)

    def last_save_age(self) -> float | None:
        """Return the seconds since the last durable save, independent of the wall clock; None: there was none."""
        return None if self._last_saved is None else max(0.0, self._monotonic() - self._last_saved)


class RunCount(Struct):
    """The count of one cleanup. A run that ends without a report counts as interrupted.

    Attributes:
        outcome: Its outcome; None: it is not counted, because the run only announced and found nothing.
        result: Its result; None: it has none.
        scanned: Session files examined.
    """

    outcome: RunOutcome | None = "interrupted"
    result: CleanupResult | None = None
    scanned: int = 0

    def done(self, result: CleanupResult) -> None:
        """Report the result of the run."""
        self.result = result
        self.scanned = result.sessions_scanned
        self.outcome = "held" if result.held else "interrupted" if result.interrupted else "removed"


class CleanupStats:
    """Counters of removals: by the service's cleanups, by the cleanups of commands, and by deletion.

    Attributes:
        runs: Outcome -> runs.
        removed: Reason -> sessions removed; the rules, and ``deleted`` for a deletion on request.
        leftovers: Kind -> leftovers removed, or moved to quarantine.
        bytes_freed: Bytes freed on the disk by all of these.
        last_run_at: Time at which the last run ended, or found nothing to announce, by the wall clock; None: there was
            none.
        last_duration_seconds: Duration of that run.
        last_scanned: Session files that it examined; 0 if it did not get so far.
        problems: Kind -> files found that cannot be judged as sessions.
    """

    def __init__(self, clock: Now = utc_now, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.runs: dict[str, int] = dict.fromkeys(get_args(RunOutcome), 0)
        self.removed: dict[str, int] = dict.fromkeys((*REMOVING, "deleted"), 0)
        self.leftovers: dict[str, int] = dict.fromkeys(get_args(LeftoverKind), 0)
        self.bytes_freed: int = 0
        self.last_run_at: datetime | None = None
        self.last_duration_seconds: float = 0.0
        self.last_scanned: int = 0
        self.problems: dict[str, int] = CleanupResult().problems()

    @contextmanager
    def counting(self) -> Iterator[RunCount]:
        """Count a cleanup for the length of a block, however the block ends."""
        run, began = RunCount(), self._monotonic()
        try:
            yield run
        except Exception:
            run.outcome = "failed"
            raise
        finally:
            if run.outcome is not None:
                self.runs[run.outcome] += 1
            self.last_run_at = self._clock()
            self.last_duration_seconds = self._monotonic() - began
            self.last_scanned = run.scanned
            if run.result is not None:
                self.problems = run.result.problems()
                self.gone(run.result.removed_by_reason, run.result.leftovers_removed, run.result.bytes_freed)

    def gone(self, reasons: Mapping[str, int], leftovers: Mapping[str, int], bytes_freed: int) -> None:
        """Count removals, by reason and by kind."""
        for counts, more in ((self.removed, reasons), (self.leftovers, leftovers)):
            for label, count in more.items():
                known = label if label in counts else OTHER
                counts[known] = counts.get(known, 0) + count
        self.bytes_freed += max(0, bytes_freed)


class SessionStats:
    """All counters of one `SessionManager`."""

    def __init__(self, clock: Now = utc_now) -> None:
        self.saves: SaveStats = SaveStats(clock)
        self.cleanups: CleanupStats = CleanupStats(clock)
