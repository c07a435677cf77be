"""A workspace that a daily cleanup has been at, and the program on a machine that has been up for long."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from miniclaw.clock import SystemClock, read_clock, to_microseconds
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.records.state import RetentionState
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Rules
from tests.fakes.folders import state_in

UP_FOR_LONG: Final = (
    "from miniclaw.clock import SystemClock\n"
    "boottime = SystemClock.boottime\n"
    "SystemClock.boottime = lambda self: boottime(self) + 3600\n"
)
"""Prepares a process for a machine that was not started just now: no run is put off."""


def remember_run(
    sessions_dir: Path, at: datetime, *, announced: timedelta | None = None, ttl: timedelta = timedelta(days=30)
) -> None:
    """Write down a run of the daily cleanup, as its service does.

    Args:
        sessions_dir: Where; made where it is missing.
        at: When it began.
        announced: How much witnessed time ago it has announced all sessions that are there; None: it has none.
        ttl: By which rule it went.
    """
    state = state_in(sessions_dir)
    found = RetentionState()
    found.timeline.observe(read_clock(SystemClock()))
    ran = 0 if announced is None else -(announced // timedelta(microseconds=1))
    found.timeline.lived -= ran
    found.last_run = LastRun(
        to_microseconds(at), found.timeline.lived, found.timeline.count, Rules(timedelta(days=1), ttl)
    )
    due = Noted()
    if announced is not None:
        for session in _sessions(sessions_dir):
            for which in (session.identity, session.identity_by_number):
                due.note(which, found.timeline.lived + ran, session.mark)
    state.write_due(found.id, due.renewed(), Noted())
    state.write(found)


def _sessions(sessions_dir: Path) -> list[StoredSession]:
    with SessionDirectory.open(sessions_dir) as directory, DirectoryScan(directory) as scan:
        found: list[StoredSession] = []
        while batch := scan.next_batch(seconds=1):
            found += [row for row in batch if isinstance(row, StoredSession)]
        return found
