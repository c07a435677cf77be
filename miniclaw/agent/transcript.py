"""The messages that a turn writes into its session.

A turn is the person's message and the answer to it. An unfinished answer is kept as an ordinary message of the
assistant, followed by a *mark*: a message of the role ``system`` whose content begins with ``[interrupted]`` and gives
the reason. A turn that was cut before the answer began has the mark alone. The mark needs no additional field in the
session file, and no text of a model can be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final, Literal, TypeAlias

from miniclaw.channels.base import InboundMessage
from miniclaw.errors import SessionNotFoundError
from miniclaw.loggers import get_logger
from miniclaw.session.calls.in_use import SessionInUse
from miniclaw.session.format.codec import measure_message
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import make_session_id
from miniclaw.session.types import Message, ToolCall

INTERRUPTED: Final = "[interrupted]"
"""Beginning of a mark's content."""

STOPPED: Final = "the program was stopped before the answer was complete"
"""Reason in the mark of a turn that the end of the program cut short. The person is notified of any other reason."""

MAX_LOOKBACK: Final = 1000
"""Number of the newest messages that are searched for one that is delivered again."""

Delivery: TypeAlias = Literal["new", "unanswered", "answered", "interrupted"]
"""State of a delivered message in its session.

``new``: the session does not have it. ``unanswered``: it is the last message, so the program was killed in its turn.
``answered``: its turn is over. ``interrupted``: its turn was cut short, and the person could not be notified.
"""

_inbound_id: Final = attrgetter("inbound_id")

log: Final = get_logger("miniclaw.agent")


def is_mark(message: Message) -> bool:
    """Return whether a message is the mark of an answer that was cut short."""
    return message.role == "system" and message.content.startswith(INTERRUPTED)


def find_delivery(messages: Sequence[Message], inbound_id: str | None) -> Delivery:
    """Return the state of a message in a session, by the channel's id of the message.

    Args:
        messages: The session's messages, oldest first.
        inbound_id: The id. None: the channel has no ids, and every message is new.
    """
    if inbound_id is None:
        return "new"
    last = len(messages) - 1
    if inbound_id not in map(_inbound_id, messages[-MAX_LOOKBACK:]):  # nearly always: no loop of Python's own
        return "new"
    index = next(index for index in range(last, -1, -1) if messages[index].inbound_id == inbound_id)
    if index == last:
        return "unanswered"
    for message in messages[index + 1 :]:
        if message.role == "user":
            break  # a later answer took this message into account
        if is_mark(message) and message.content.endswith(STOPPED):
            return "interrupted"
    return "answered"


class Transcript:
    """Writes the messages of one turn into the session of its chat.

    Args:
        manager: The session manager, whose clock stamps the messages.
        message: The person's message.
    """

    def __init__(self, manager: SessionManager, message: InboundMessage) -> None:
        self._manager = manager
        self._message = message
        # Both are set by `open`.
        self._question: tuple[Message, int]  # with its size
        self._in_use: SessionInUse

    def open(self) -> SessionInUse:
        """Hold the session of the chat in use for a block, and create a missing one, unless none can have the message.

        Raises:
            InvalidMessageError: No session can have the message.
            InvalidSessionIdError: The id of its session is malformed.
            StoreError: The session could not be read; raised on entering the block.
        """
        message, now = self._message, self._now()
        self._question = measure_message(Message("user", message.content, now, inbound_id=message.inbound_id))
        self._in_use = self._manager.turn(make_session_id(message.channel, message.chat_id), now)
        return self._in_use

    async def add_question(self) -> Delivery:
        """Record the person's message, once however often it is delivered; return its state before that.

        Raises:
            MiniclawError: The message could not be recorded.
        """
        delivery = find_delivery(self._in_use.session.messages, self._message.inbound_id)
        if delivery == "new":
            await self._in_use.add_measured(*self._question)
        return delivery

    async def add_answer(self, text: str, tool_calls: tuple[ToolCall, ...] = ()) -> None:
        """Record an answer, unless the session was deleted meanwhile.

        Raises:
            MiniclawError: The answer could not be recorded.

        Cancellation: the answer is not in the session.
        """
        await self._add(Message("assistant", text, self._now(), tool_calls or None))

    async def add_interrupted(self, text: str, reason: str) -> None:
        """Record an unfinished answer, unless it is empty, and a mark with the reason, as `add_answer`."""
        mark = Message("system", f"{INTERRUPTED} {reason}", self._now())
        await self._add(*([Message("assistant", text, self._now())] if text else []), mark)

    async def add_unanswered(self, reason: str = STOPPED) -> None:
        """Record a message that will not be answered, with the reason; a message delivered again is recorded once.

        Raises:
            MiniclawError: The message could not be recorded.
        """
        async with self.open():
            if await self.add_question() in {"new", "unanswered"}:
                await self.add_interrupted("", reason)

    async def _add(self, *messages: Message) -> None:
        try:
            for message in messages:
                await self._in_use.add(message)
        except SessionNotFoundError:
            log.info("Session was deleted during the turn", session_id=self._in_use.session.session_id)

    def _now(self) -> datetime:
        return self._manager.clock().astimezone(UTC)
