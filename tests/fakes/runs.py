"""Cleanups of one directory by one set of rules after another, and what the history tells of them."""

from __future__ import annotations

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.samples import write_session


class Runs:
    """Cleanups over one store, by one policy each, and the history of all."""

    def __init__(self, store: FileSessionStore, manager: SessionManager, clock: WallClock) -> None:
        self.store, self.manager, self.clock = store, manager, clock
        self.state = store.state
        self.history = store.state.history()

    def by(self, policy: RetentionPolicy) -> Cleanup:
        return Cleanup(
            self.store.directory.path,
            policy=policy,
            clock=self.clock,
            manager=self.manager,
            history=self.history,
        )

    def write(self, *ages: int, note: str = "") -> None:
        """Write a session for each age in days, called by it."""
        for days in ages:
            write_session(self.store.directory.path, f"telegram_{days}", self.clock.ago(days=days), note=note)

    def left(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("telegram_")) for path in self.store.directory.path.glob("*.json"))

    def told(self) -> list[HistoryEvent]:
        return self.history.read()[0]
