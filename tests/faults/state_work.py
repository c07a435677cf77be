"""Remembering a run, to be broken at each of its system calls: what is due, the state, and the tick after it.

The list is written before the state that knows of the run: a crash in between leaves a list that says more than the
state, and never a run whose announcements are lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from miniclaw.clock import Reading, to_microseconds
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.records.state import RetentionState, tick_of
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Rules
from miniclaw.session.retention.timeline import DAY, Timeline
from tests.fakes.folders import state_in
from tests.faults.file_work import NOW, Told, Work

_RULES: Final = Rules(timedelta(days=1), timedelta(days=30))
_DUE: Final = ((3, 7), (3, 7, 9))
"""By the days: what was due after each run."""


def _after(days: int) -> RetentionState:
    """Return the state after so many days, with the run of each."""
    timeline = Timeline()
    for day in range(days + 1):
        timeline.observe(Reading(to_microseconds(NOW) + day * DAY, (day + 1) * DAY, "boot", False))
    return RetentionState("0123456789abcdef", days, timeline, LastRun(days, days, days, _RULES))


def _listed(which: tuple[int, ...]) -> Noted:
    return Noted(array("Q", which), array("I", [60] * len(which)))


def _lay(root: Path) -> None:
    state = state_in(root / "sessions")
    state.write_due(_after(0).id, _listed(_DUE[0]), Noted())
    state.write(_after(0))
    state.write_last_seen(tick_of(_after(0)))


def _remember(root: Path, fs: OsCalls, told: Told) -> None:
    state = state_in(root / "sessions", fs)
    state.write_due(_after(1).id, _listed(_DUE[1]), Noted())
    state.write(_after(1))
    state.write_last_seen(tick_of(_after(2)))
    told.done = True


def _check(root: Path, told: Told, started: bool) -> Iterator[str]:
    state = state_in(root / "sessions")
    found = state.load()
    if found is None or found.last_run is None:
        yield "the state is lost"
        return
    run, lived = found.last_run.at, found.timeline.lived // DAY
    if run not in {0, 1} or lived not in {run, 2} or (lived == 2 and not run):
        yield f"the state is that of no moment: run {run}, {lived} days"
    due, ahead = state.read_due(found)
    listed = tuple(which for which in _DUE[1] if due.find(which) == 60_000_000)
    if len(due) != len(listed) or len(ahead) or listed not in _DUE[run:]:
        yield f"after run {run} these are due: {listed}, of {len(due)}"
    if told.done and (run, lived) != (1, 2):
        yield f"what was said to be written is not: run {run}, {lived} days"
    if started:
        yield from (f"left: {path}" for path in state.path.glob("tmp-*"))


STATE_WORKS: Final = {"state of a run": Work(_lay, _remember, _check, 25)}
