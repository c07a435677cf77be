"""Admission of operations on sessions: the gate is open, then closed, and finally sealed.

The runtime ends in this order: it *closes* the gate, so that no operation begins any more; it *drains* the operations
that wait for the disk; it flushes; it *seals* the gate. An operation whose disk access ends after that fails, because
its change would not be saved. All methods are called on the trio thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from miniclaw.errors import RuntimeClosedError
from miniclaw.session.live.store import FileSessionStore


class Gate:
    """Counts the operations that wait for the disk.

    Args:
        store: Refuses an operation whose change it could not save any more.
    """

    def __init__(self, store: FileSessionStore) -> None:
        self._store = store
        self._closed = False
        self._sealed = False
        self._under_way = 0
        self._idle = trio.Event()  # set when no operation is under way; replaced by `drain`

    async def enter(self) -> None:
        """Begin an operation: pass a checkpoint, then admit or refuse the operation in one step, as `admit` does."""
        await trio.lowlevel.checkpoint()
        self.admit()

    def admit(self) -> None:
        """Admit or refuse an operation that begins now.

        Raises:
            RuntimeClosedError: The runtime ends.
            OwnershipLostError, ForkedRuntimeError, ForeignRunError: As in `FileSessionStore.check_owned`.
        """
        self._check_closed()
        self._store.check_owned()

    def check_open(self) -> None:
        """Refuse a call from outside, from the end of the block on.

        Raises:
            RuntimeClosedError: The runtime ends.
            ForkedRuntimeError, ForeignRunError: As in `FileSessionStore.check_caller`.
        """
        self._store.check_caller()
        self._check_closed()

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeClosedError

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count an operation during a block in which it waits for the disk."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def check(self) -> None:
        """Check after a disk access that a change made in the same step can still be saved.

        Raises:
            RuntimeClosedError: The gate is sealed: a change would not be saved.
            OwnershipLostError, ForkedRuntimeError: As in `FileSessionStore.check_owned`.
        """
        if self._sealed:
            raise RuntimeClosedError
        self._store.check_owned()

    def close(self) -> None:
        """Refuse new operations; those under way continue."""
        self._closed = True

    async def drain(self) -> None:
        """Wait until no operation is under way."""
        while self._under_way:
            self._idle = trio.Event()
            await self._idle.wait()

    def seal(self) -> None:
        """Refuse new operations, and all changes by those still under way."""
        self._closed = self._sealed = True
