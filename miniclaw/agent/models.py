"""Models: what answers a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

import trio

from miniclaw.session.types import Message, ToolCall

ModelEvent: TypeAlias = str | ToolCall
"""What a model says: a piece of text, not empty, or a whole call of a tool."""


class Model(Protocol):
    """Answers a conversation."""

    name: str

    def stream(self, messages: Sequence[Message]) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Ask for the answer to the last message, and give it piece by piece for the length of a block.

        The block may end before the answer does. What the model needs for an answer it has in this context manager
        and no nursery or cancel scope of it is open in the iterator's caller but through it.

        Args:
            messages: The conversation, oldest first; not to be changed, and it may grow meanwhile.

        Raises:
            ModelError: There is no answer, or no more of it; the text is for the person who asked. Comes from
                entering the block or from the iterator.
        """
        ...


class EchoModel:
    """The embedded default: answers with the text. It needs no key, no server and no account."""

    name = "echo"

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Give the text of the last message."""
        await trio.lowlevel.checkpoint()
        yield _Given(messages[-1].content)


class _Given:
    """An iterator over what is there already."""

    def __init__(self, *events: ModelEvent) -> None:
        self._events = iter(events)

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        return self

    async def __anext__(self) -> ModelEvent:
        await trio.lowlevel.checkpoint()
        for event in self._events:
            return event
        raise StopAsyncIteration
