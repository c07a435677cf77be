"""The interface of a model, and the built-in echo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

from miniclaw.session.types import Message, ToolCall

ModelEvent: TypeAlias = str | ToolCall
"""A part of an answer: a piece of text, not empty, or a whole call of a tool."""


class Model(Protocol):
    """Answers a conversation."""

    name: str

    def stream(self, messages: Sequence[Message]) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Ask for the answer to the last message, and give it piece by piece for the length of a block.

        The block may end before the answer does. All resources of an answer belong to this context manager. It alone
        may keep a nursery or a cancel scope open while the caller's code runs; the iterator may not.

        Args:
            messages: The conversation, oldest first. The model must not change it; it may grow meanwhile.

        Raises:
            ModelError: The answer is missing or incomplete; the text is for the person who asked. Raised on entering
                the block or by the iterator.
        """
        ...


class EchoModel:
    """The default model: answers with the text of the last message. It needs no key, no server and no account."""

    name = "echo"

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Give the text of the last message."""
        yield _Echo(messages[-1].content)


class _Echo:
    """An answer of one piece. A generator would have to be closed, which costs more than the answer."""

    def __init__(self, text: str) -> None:
        self._pieces = [text]

    def __aiter__(self) -> _Echo:
        return self

    async def __anext__(self) -> ModelEvent:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()
