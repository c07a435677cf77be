"""One lock per session, for its file. Memory needs no lock: only the trio thread touches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio


class FileLocks:
    """Locks by session id, made on demand.

    A lock belongs to a piece of work and not to a task: a worker thread that outlives its task still holds the lock,
    and another task releases it. Therefore each lock is a semaphore and not a `trio.Lock`.
    """

    def __init__(self) -> None:
        # Only locks that are held. Changed by these methods, on the trio thread.
        self._semaphores: dict[str, trio.Semaphore] = {}

    def __repr__(self) -> str:
        return f"<FileLocks held={sorted(self._semaphores)}>"

    def __len__(self) -> int:
        return len(self._semaphores)

    def is_held(self, session_id: str) -> bool:
        """Return whether the lock of this session is held."""
        return session_id in self._semaphores

    def acquire_nowait(self, session_id: str) -> bool:
        """Take the lock if it is free; return whether it was taken."""
        if session_id in self._semaphores:
            return False
        self._semaphores[session_id] = trio.Semaphore(0, max_value=1)
        return True

    async def acquire(self, session_id: str) -> None:
        """Take the lock in the order of arrival.

        Cancellation: the lock is not taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.acquire_nowait(session_id):  # before the checkpoint: a caller that saw it free gets it
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            # The holder's release hands the lock over; it is never free in between.
            await self._semaphores[session_id].acquire()

    def release(self, session_id: str) -> None:
        """Hand the lock to the task that has waited longest, or forget it."""
        semaphore = self._semaphores[session_id]
        if semaphore.statistics().tasks_waiting:
            semaphore.release()
        else:
            del self._semaphores[session_id]

    def release_all(self, session_ids: Iterable[str]) -> None:
        """Release the locks of several sessions."""
        for session_id in session_ids:
            self.release(session_id)

    @asynccontextmanager
    async def hold(self, *session_ids: str) -> AsyncIterator[Lease]:
        """Hold the locks of sessions for a block and for all work that joins the lease.

        The locks are taken in the order of the ids, so that two tasks never wait for each other.
        """
        taken: list[str] = []
        lease = Lease(lambda: self.release_all(taken))
        try:
            for session_id in sorted(set(session_ids)):
                await self.acquire(session_id)
                taken.append(session_id)
            yield lease
        finally:
            lease.leave()


class Lease:
    """A hold that a task shares with its worker threads; given up when the last of them has left.

    A cancelled task leaves at once, while its worker thread may still be about to rename the file. The lock keeps other
    work off the file until that thread has ended.

    Args:
        give_up: Gives up what is held, such as a lock; on the trio thread, or in a worker thread if trio has ended.
    """

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._parties = 1  # the task that has made it

    @property
    def is_shared(self) -> bool:
        """True if there is more than one party."""
        return self._parties > 1

    def join(self) -> None:
        """Add a party."""
        self._parties += 1

    def leave(self) -> None:
        """Leave, once for each party; the last one gives up what is held."""
        self._parties -= 1
        if not self._parties:
            self._give_up()
