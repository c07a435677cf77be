"""Ways to open stores for `check_store`, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

from miniclaw.stores.memory import MemoryStore


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
