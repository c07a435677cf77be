"""One lock per session, around its file. Memory needs none: only the trio thread touches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio


class FileLocks:
    """Locks by session id, made on demand.

    A lock belongs to a piece of work and not to a task: a thread that outlives its task still holds it, and whoever
    hears of its end releases it. Hence semaphores of one.
    """

    def __init__(self) -> None:
        # Held or awaited ones only. Changed by the methods here, on the trio thread.
        self._semaphores: dict[str, trio.Semaphore] = {}

    def __repr__(self) -> str:
        return f"<FileLocks held={sorted(self._semaphores)}>"

    def __len__(self) -> int:
        return len(self._semaphores)

    def is_held(self, session_id: str) -> bool:
        """Return whether somebody works on this session's file."""
        return session_id in self._semaphores

    def acquire_nowait(self, session_id: str) -> bool:
        """Take the lock if it is free; return whether it was."""
        if session_id in self._semaphores:
            return False
        self._semaphores[session_id] = trio.Semaphore(0, max_value=1)
        return True

    async def acquire(self, session_id: str) -> None:
        """Take the lock, in turn.

        Cancellation: it is not taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.acquire_nowait(session_id):  # at once: who has seen that it is free does not come to wait for it
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            # The holder's release hands it over, so there is no moment at which it is free.
            await self._semaphores[session_id].acquire()

    def release(self, session_id: str) -> None:
        """Hand the lock to who waits longest, or forget it."""
        semaphore = self._semaphores[session_id]
        if semaphore.statistics().tasks_waiting:
            semaphore.release()
        else:
            del self._semaphores[session_id]

    def release_all(self, session_ids: Iterable[str]) -> None:
        """Release several."""
        for session_id in session_ids:
            self.release(session_id)

    @asynccontextmanager
    async def hold(self, session_id: str) -> AsyncIterator[Lease]:
        """Hold the lock of one session for a block, and for the work that joins the lease."""
        await self.acquire(session_id)
        lease = Lease(self, session_id)
        try:
            yield lease
        finally:
            lease.leave()


class Lease:
    """A lock that a task holds together with the threads that work for it; free when the last of them has left.

    A task that is cancelled leaves at once, and the thread that it leaves behind may still be about to rename the
    file: nobody else may work on it before that has ended.
    """

    def __init__(self, locks: FileLocks, session_id: str) -> None:
        self._locks = locks
        self._session_id = session_id
        self._parties = 1

    def join(self) -> Callable[[], None]:
        """Add a party; return what it calls, once, when it leaves."""
        self._parties += 1
        return self.leave

    def leave(self) -> None:
        """Leave; the last one releases the lock."""
        self._parties -= 1
        if not self._parties:
            self._locks.release(self._session_id)
