"""The common part of an administrator's operations: a worker thread, a bounded wait, and a receipt.

The receipt is an event in the history. A failure to write it is logged as an ERROR and stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Final, Self, TypeVar

import trio

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.cleanup import RECORD_SECONDS, Cleanup
from miniclaw.session.entries import FileTally, Tally
from miniclaw.session.live.locks import Lease
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.cleanup_log import record_late
from miniclaw.session.records.history import Actor, EventKind, History, HistoryEvent, HistorySession
from miniclaw.session.threads import Epilogue, Job, telling

T = TypeVar("T")

log: Final = get_logger("miniclaw.session.operations")


class Acts:
    """Operations on one owned workspace.

    Args:
        manager: The sessions in memory; it has the store and the clock.
        cleanup: The one cleanup of the workspace.
        history: The destination of the receipts.
        by: The actor, for trash and history.
    """

    def __init__(self, manager: SessionManager, cleanup: Cleanup, history: History, *, by: Actor = "command") -> None:
        self._manager = manager
        self._store = manager.store
        self._cleanup = cleanup
        self._history = history
        self._by = by
        self._clock = manager.clock
        # Two limiters: a thread that hangs must not block the event that reports it.
        self._limiter = trio.CapacityLimiter(1)
        self._history_limiter = trio.CapacityLimiter(1)

    @classmethod
    def beside(cls, other: Acts) -> Self:
        """Return operations of this class by the same actor on the same workspace; both share the thread limits."""
        acts = cls(other._manager, other._cleanup, other._history, by=other._by)
        acts._limiter, acts._history_limiter = other._limiter, other._history_limiter
        return acts

    def acting(self, by: Actor) -> Self:
        """Return the same operations, with another actor."""
        other = copy(self)
        other._by = by
        return other

    async def _in_thread(self, work: Callable[[], T], *leases: Lease) -> T:
        return await self._store.run(work, self._limiter, *leases)

    async def _see_through(self, work: Callable[[], T], late: Callable[[T], HistoryEvent | None]) -> T | None:
        """Run a removal in a worker thread, as `Job.run` does; a late outcome is recorded in the history."""
        job = Job[T](lambda outcome: self._record_late(late(outcome)))
        job.commit()
        return await job.run(partial(self._in_thread, telling(work, job.settle)))

    def _record_late(self, event: HistoryEvent | None) -> Epilogue:
        return None if event is None else partial(record_late, self._history, event)

    async def _tell(self, event: HistoryEvent) -> None:
        """Write an event into the history, for up to `RECORD_SECONDS`, also if the caller is cancelled."""
        with trio.move_on_after(RECORD_SECONDS, shield=True):
            try:
                await self._store.run(partial(self._history.append, event), self._history_limiter)
            except StoreError as error:
                log.error("Event could not be written into the history", event_kind=event.event, error=str(error))

    def _event(
        self,
        event: EventKind,
        *,
        reasons: dict[str, Tally] | None = None,
        freed: int = 0,
        sessions: Sequence[HistorySession] = (),
        leftovers: dict[str, FileTally] | None = None,
        because: str = "",
    ) -> HistoryEvent:
        return HistoryEvent(
            at=self._clock(),
            event=event,
            by=self._by,
            reasons=reasons or {},
            bytes_freed=freed,
            sessions=list(sessions),
            leftovers=leftovers or {},
            because=because,
        )
