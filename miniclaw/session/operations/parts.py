"""The parts of a session runtime over one owned store.

A running program and a command that owns the workspace for a moment consist of the same parts.
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
    """The objects that work on the sessions of one store.

    Attributes:
        store: The store, owned by this process.
        state: The persistent state of the services.
        history: The history, which is the audit log.
        time: The clocks and the ages of sessions.
        manager: The sessions in memory.
        cleanup: The one cleanup that all callers share, so that two runs never overlap.
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
            store: The store of the sessions.
            policy: The retention policy.
            by: The default actor of a cleanup.
            time: The timekeeper, already started.
            schedule: The schedule of the daily cleanups; None: every 24 hours.
            max_live_sessions: Bound on the sessions in memory, at least 1; unsaved ones may exceed it.
            max_live_bytes: Approximate bound on the bytes of memory that they take, at least 1.
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
            history=self.history,
            by=by,
        )
