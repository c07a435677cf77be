"""The parts of a session runtime over one owned store.

A running program and a command that owns the workspace for a moment consist of the same parts.
"""

from __future__ import annotations

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.format.growth import GROWTH_BYTES
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.live.memory import MAX_LIVE_BYTES, MAX_LIVE_SESSIONS
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.history import Actor, History
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.timekeeper import Timekeeper


class SessionParts:
    """The objects that work on the sessions of one store, which this process owns.

    Attributes:
        time: The present, and the ages of sessions.
        manager: The sessions in memory.
        audit_log: The history, as the services write it.
        cleanup: The one cleanup that all callers share, so that two runs never overlap; its `run` starts a run at once.
    """

    def __init__(
        self,
        store: FileSessionStore,
        time: Timekeeper,
        *,
        policy: RetentionPolicy,
        by: Actor,
        schedule: Schedule | None = None,
        max_live_sessions: int = MAX_LIVE_SESSIONS,
        max_live_bytes: int = MAX_LIVE_BYTES,
        max_session_bytes: int = GROWTH_BYTES,
        hooks: Hooks | None = None,
    ) -> None:
        """Put the parts together; `SessionManager` and `Cleanup` have the meanings of the arguments."""
        store.keep_ledger(LedgerFile(store.state.folder))
        self.time = time
        self.audit_log: History = store.state.history()
        self.manager: SessionManager = SessionManager(
            store,
            clock=time.now,
            ages=time.ages,
            policy=policy,
            max_live_sessions=max_live_sessions,
            max_live_bytes=max_live_bytes,
            max_session_bytes=max_session_bytes,
            hooks=hooks,
        )
        self.cleanup: Cleanup = Cleanup(
            store.directory.path, time=time, schedule=schedule, manager=self.manager, history=self.audit_log, by=by
        )
