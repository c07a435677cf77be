"""Iterators over the pages of a store. They are objects and no generators: a caller may drop one half-way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from miniclaw.session.records.history import HistoryEvent
from miniclaw.stores.history import event_of
from miniclaw.stores.hot import patiently
from miniclaw.stores.types import AuditLine

T = TypeVar("T")
U = TypeVar("U")

PAGE: Final = 500
"""Items that are asked of a store at once."""


class Paged(AsyncIterator[T]):
    """The items of all pages.

    Args:
        page_after: Returns the page after an item; None: the first one.
    """

    def __init__(self, page_after: Callable[[T | None], Awaitable[Sequence[T]]]) -> None:
        self._page_after = page_after
        self._page: Sequence[T] = ()
        self._place = 0
        self._last: T | None = None

    async def __anext__(self) -> T:
        if self._place == len(self._page):
            self._page = await patiently(partial(self._page_after, self._last))
            self._place = 0
            if not self._page:
                raise StopAsyncIteration
        self._last = self._page[self._place]
        self._place += 1
        return self._last


class Converted(AsyncIterator[U]):
    """The items of another iterator, each converted."""

    def __init__(self, items: AsyncIterator[T], convert: Callable[[T], U]) -> None:
        self._items: AsyncIterator[T] = items
        self._convert: Callable[[T], U] = convert

    async def __anext__(self) -> U:
        return self._convert(await anext(self._items))


class Events(AsyncIterator[HistoryEvent]):
    """The events of the lines of an audit log, the newest first; the lines of one operation form one event."""

    def __init__(self, lines: AsyncIterator[AuditLine]) -> None:
        self._lines = lines
        self._next: AuditLine | None = None  # of the next event

    async def __anext__(self) -> HistoryEvent:
        first = await anext(self._lines) if self._next is None else self._next
        self._next, lines = None, [first]
        async for line in self._lines:
            if line.op != first.op:
                self._next = line
                break
            lines.append(line)
        return event_of(lines)
