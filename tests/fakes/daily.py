"""A workspace that the daily service cleans up, on clocks that are moved by hand, and what is told of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime, open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

ANNOUNCED = "Expired sessions announced; they are deleted unless they are used"
COMPLETE = "Session cleanup complete"


class Daily:
    """A workspace, from start to start.

    Attributes:
        path: Where its sessions lie; it may be moved.
    """

    def __init__(self, path: Path, clock: WallClock, logs: LogRecorder) -> None:
        self.path, self.clock, self.logs = path, clock, logs

    @asynccontextmanager
    async def open(self, policy: RetentionPolicy | None = None, **options: Any) -> AsyncIterator[SessionRuntime]:
        """Run the program; the run that is due at the start is over when the block begins."""
        async with open_runtime(self.path, policy=policy, clock=self.clock, **options) as runtime:
            await settle()
            yield runtime

    async def sweep(self, policy: RetentionPolicy | None = None) -> None:
        """Run the program for the one run that is due at its start."""
        async with self.open(policy) as runtime:
            assert runtime.cleanup_service.runs == 1

    def write(self, session_id: str, *, idle: float, **fields: Any) -> Path:
        """Write a session that was used so many days ago, by other means than the program's."""
        return write_session(self.path, session_id, self.clock.now - timedelta(days=idle), **fields)

    def left(self) -> list[str]:
        """Return the ids of the sessions that are there."""
        return sorted(path.stem for path in self.path.glob("*.json"))

    def warnings(self) -> list[dict[str, Any]]:
        """Return what was announced after it had expired, as the log tells it."""
        return self.logs.named(ANNOUNCED)

    def told(self, kind: str = "announced") -> list[HistoryEvent]:
        """Return what the history tells, of one kind of event."""
        return [event for event in state_in(self.path).history().read()[0] if event.event == kind]

    def reasons(self) -> list[dict[str, int]]:
        """Return the reasons of each announcement; the log and the history have told the same ones."""
        warnings, events = self.warnings(), self.told()
        assert [warning["because"] for warning in warnings] == [event.because for event in events]
        assert [warning["sessions"] for warning in warnings] == [event.announced for event in events]
        assert all(warning["level"] == "warning" for warning in warnings)
        return [warning["reasons"] for warning in warnings]
