"""The parts of a session runtime over one owned store, put together in one place.

A program that runs and a command that owns the workspace for a moment are made of the same parts.
"""

from __future__ import annotations

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.ledger_file import LedgerFile
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import MAX_LIVE_BYTES, MAX_LIVE_SESSIONS, SessionManager
from miniclaw.session.records.history import Actor, History
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.timekeeper import Timekeeper


class SessionParts:
    """What works on the sessions of one store.

    Attributes:
        store: Where they lie; owned by this process.
        state: What the services remember.
        history: What was removed.
        time: The time.
        manager: The sessions in memory.
        cleanup: The one cleanup of all who order one, so that two never go at once.
    """

    def __init__(
        self,
        store: FileSessionStore,
        *,
        policy: RetentionPolicy,
        by: Actor,
        time: Timekeeper,
        schedule: Schedule | None = None,
        max_live_sessions: int = MAX_LIVE_SESSIONS,
        max_live_bytes: int = MAX_LIVE_BYTES,
    ) -> None:
        """Put the parts together.

        Args:
            store: Where the sessions lie.
            policy: How long sessions are kept.
            by: Who runs a cleanup, unless it is told otherwise.
            time: The time, started.
            schedule: When daily cleanups run; None: every 24 hours.
            max_live_sessions: How many saved sessions may stay in memory, at least 1.
            max_live_bytes: How many bytes these may take, about, at least 1.
        """
        self.store = store
        self.state = store.state
        self.history: History = store.state.history()
        self.time = time
        store.keep_ledger(LedgerFile(store.state.folder))
        self.manager = SessionManager(
            store,
            clock=time.now,
            ages=time.ages,
            policy=policy,
            max_live_sessions=max_live_sessions,
            max_live_bytes=max_live_bytes,
        )
        self.cleanup = Cleanup(
            store.directory.path,
            time=time,
            schedule=schedule,
            manager=self.manager,
            store=store,
            history=self.history,
            by=by,
            run=store.run,
        )
