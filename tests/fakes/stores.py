"""Ways to open stores for `check_store`, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import trio

from miniclaw.clock import Clock, Now
from miniclaw.errors import StoreUnavailableError
from miniclaw.stores.memory import MemoryStore
from miniclaw.stores.types import Change, Lease, Outcome, Restoration, Saved

T = TypeVar("T")


class StoreClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.present = datetime(2026, 6, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.present

    def move(self, by: timedelta) -> None:
        self.present += by


def opening(
    clock: StoreClock, make: Callable[..., MemoryStore] = MemoryStore
) -> Callable[[Sequence[str]], AbstractAsyncContextManager[Sequence[MemoryStore]]]:
    """Return a function that opens new stores in memory, of a class, for `check_store`."""

    @asynccontextmanager
    async def open_stores(owners: Sequence[str]) -> AsyncIterator[Sequence[MemoryStore]]:
        store = make(owner=owners[0], clock=clock)
        yield [store, *map(store.beside, owners[1:])]

    return open_stores


def trio_time() -> datetime:
    """Return a time that follows trio's clock, and so a MockClock."""
    return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())


class LostAnswers(MemoryStore):
    """A store in memory that makes the next changes and does not answer.

    Attributes:
        lost: Number of changes that are still made without an answer.
        deaf: Number of changes that are still not made, without an answer.
    """

    def __init__(self, *, owner: str = "memory", clock: Clock | Now | None = None) -> None:
        super().__init__(owner=owner, clock=clock)
        self.lost = self.deaf = 0

    async def commit(self, lease: Lease, change: Change) -> Saved:
        return await self._answer(partial(super().commit, lease, change))

    async def remove(self, lease: Lease, *, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        call = partial(super().remove, lease, trash_for=trash_for, reason=reason, by=by, op=op)
        return await self._answer(call)

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        return await self._answer(partial(super().restore, entry_id, by=by, op=op))

    async def _answer(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.deaf:
            self.deaf -= 1
            raise StoreUnavailableError("the connection was refused")
        answer = await call()
        if self.lost:
            self.lost -= 1
            raise StoreUnavailableError("the connection was cut")
        return answer
