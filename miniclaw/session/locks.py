"""One lock per session, around its file. Memory needs none: only the trio thread touches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
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
        await trio.lowlevel.checkpoint()
        if not self.acquire_nowait(session_id):
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
    async def hold(self, session_id: str) -> AsyncIterator[None]:
        """Hold the lock of one session for a block."""
        await self.acquire(session_id)
        try:
            yield
        finally:
            self.release(session_id)
