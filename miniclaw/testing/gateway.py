"""A channel and a model for tests of programs that embed the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import trio

from miniclaw.agent.models import ModelEvent
from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.session.types import Message

_NUMBER: Final = "fake_channel_number"


class FakeChannel:
    """A channel whose people are a test: `ask` a question, and get the answer. It streams.

    Args:
        name: Its name, ``[a-z0-9-]{1,32}``.

    Attributes:
        sent: All messages that were delivered, oldest first.
        pieces: All pieces of answers, oldest first.
    """

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.sent: list[OutboundMessage] = []
        self.pieces: list[OutboundDelta] = []
        self._inbound: InboundSender | None = None
        self._accepts = trio.Event()
        self._over = trio.Event()
        self._waiting: dict[str, trio.MemorySendChannel[OutboundMessage]] = {}  # by the number of the question
        self._count = 0

    async def ask(self, content: str, *, chat_id: str = "anna", inbound_id: str | None = None) -> OutboundMessage:
        """Send a person's message, and return the message that answers it.

        Waits until the gateway accepts messages. The answer may be a failure (`OutboundMessage.failed`).

        Args:
            content: The text.
            chat_id: The chat.
            inbound_id: The channel's own id of the message, if any.

        Cancellation: the message may have been handed over.
        """
        self._count += 1
        number = str(self._count)
        await self._accepts.wait()
        assert self._inbound is not None  # noqa: S101 - for mypy: it is set before the event
        self._waiting[number], answers = trio.open_memory_channel[OutboundMessage](1)
        try:
            await self._inbound.send(InboundMessage(self.name, chat_id, content, {_NUMBER: number}, inbound_id))
            return await answers.receive()
        finally:
            del self._waiting[number]

    def end(self) -> None:
        """Let `run` return. The gateway ends when all of its channels have ended."""
        self._over.set()

    # For the gateway ------------------------------------------------------------------------------------------

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept messages until `end` is called."""
        self._inbound = inbound
        self._accepts.set()
        task_status.started()
        await self._over.wait()

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message."""
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        number = "" if message.reply_to is None else message.reply_to.metadata.get(_NUMBER, "")
        if number in self._waiting:
            self._waiting[number].send_nowait(message)

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Show a piece."""
        await trio.lowlevel.checkpoint()
        self.pieces.append(delta)


Answer: TypeAlias = str | Sequence[ModelEvent] | Exception
"""An answer of a `FakeModel`: a text, its pieces, or an exception that is raised instead."""


class FakeModel:
    """A model that gives prepared answers.

    Args:
        answers: The answers, in order; the last one is repeated. Without any, the question is the answer.

    Attributes:
        asked: The conversations that were passed to `stream`, oldest first, each as it was then.
    """

    name = "fake"

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[list[Message]] = []
        self._answers = list(answers)

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Give the next answer."""
        self.asked.append(list(messages))
        number = min(len(self.asked), len(self._answers)) - 1
        answer = self._answers[number] if self._answers else messages[-1].content
        if isinstance(answer, Exception):
            raise answer
        yield _Pieces([answer] if isinstance(answer, str) else answer)


class _Pieces:
    def __init__(self, pieces: Sequence[ModelEvent]) -> None:
        self._left = list(pieces)

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> ModelEvent:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)
