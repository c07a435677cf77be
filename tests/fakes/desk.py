"""A workspace with two sessions, what an administrator does to it, and what the history tells of that."""

from __future__ import annotations

from datetime import timedelta

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session

IDS = ("telegram_1", "telegram_2")
POLICY = RetentionPolicy(trash_for=timedelta(days=7), max_removed_fraction=0.5)


class Desk:
    """Operations on a workspace with two sessions, and what is told of them."""

    def __init__(self, store: FileSessionStore, fs: FaultyOs, clock: WallClock) -> None:
        self.store, self.fs, self.clock = store, fs, clock
        self.state = store.state
        self.manager = SessionManager(store, clock=clock, policy=POLICY)
        self.history = store.state.history()
        self.sizes = {
            session_id: write_session(store.directory.path, session_id, clock.ago(days=2)).stat().st_size
            for session_id in IDS
        }
        cleanup = Cleanup(
            store.directory.path,
            policy=POLICY,
            clock=clock,
            manager=self.manager,
            history=self.history,
            by="command",
        )
        self.cleanup = cleanup
        self.do = SessionOperations(self.manager, cleanup, self.history)

    def told(self) -> list[HistoryEvent]:
        return self.history.read()[0]

    def only(self) -> HistoryEvent:
        (event,) = self.told()
        assert (event.at, event.by) == (self.clock.now, "command")
        return event

    def left(self) -> list[str]:
        return sorted(path.stem for path in self.store.directory.path.glob("*.json"))
