"""What a turn leaves in its session.

A turn is the person's message and the answer to it. An answer that was begun and not finished is kept as far as it
came, as an ordinary message of the assistant, and behind it stands a *mark*: a message of the role ``system`` whose
content begins with ``[interrupted]`` and says why. A turn that was cut before the answer began has the mark alone.
So the mark needs no field that a session file does not have, and no text of a model can be taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from miniclaw.channels.base import InboundMessage
from miniclaw.clock import Now
from miniclaw.errors import InvalidMessageError, ModelError, SessionNotFoundError
from miniclaw.loggers import get_logger
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message, Role, ToolCall

INTERRUPTED: Final = "[interrupted]"
"""How the content of a mark begins."""

STOPPED: Final = "the program was stopped before the answer was complete"
"""Why a turn was cut whose person could not be told; any other reason they were told."""

MAX_LOOKBACK: Final = 1000
"""How many of the newest messages are looked at for one that is delivered again."""

Delivery: TypeAlias = Literal["new", "unanswered", "answered", "interrupted"]
"""What a session knows of a message that is delivered: nothing; that nothing followed it, so the program was killed in
its turn; that it was dealt with; that its turn was cut short and the person could not be told."""

log = get_logger("miniclaw.agent")


def is_mark(message: Message) -> bool:
    """Return whether a message says that the answer before it was cut short."""
    return message.role == "system" and message.content.startswith(INTERRUPTED)


def find_delivery(messages: Sequence[Message], inbound_id: str | None) -> Delivery:
    """Return what a session knows of a message, by the channel's id of it.

    Args:
        messages: The session's, oldest first.
        inbound_id: The id; None: the channel has none, and every message is new.
    """
    if inbound_id is None:
        return "new"
    last = len(messages) - 1
    for index in range(last, max(-1, last - MAX_LOOKBACK), -1):
        if messages[index].inbound_id == inbound_id:
            break
    else:
        return "new"
    if index == last:
        return "unanswered"
    for message in messages[index + 1 :]:
        if message.role == "user":
            break  # what was answered later was answered with this one in view
        if is_mark(message) and message.content.endswith(STOPPED):
            return "interrupted"
    return "answered"


class Transcript:
    """Writes the messages of one turn into its session.

    Args:
        manager: The sessions.
        session_id: The session.
        clock: The wall clock.
    """

    def __init__(self, manager: SessionManager, session_id: str, clock: Now) -> None:
        self._manager = manager
        self._session_id = session_id
        self._clock = clock

    async def add_question(self, said: Sequence[Message], message: InboundMessage) -> Delivery:
        """Record what the person wrote, once, however often it is delivered; return what the session knew of it before.

        Args:
            said: The session's messages.
            message: What the person wrote.

        Raises:
            MiniclawError: It could not be recorded.
        """
        delivery = find_delivery(said, message.inbound_id)
        if delivery != "new":
            return delivery
        question = Message("user", message.content, self._now(), inbound_id=message.inbound_id)
        await self._manager.add_message(self._session_id, question)
        return delivery

    async def add_answer(self, text: str, tool_calls: tuple[ToolCall, ...] = ()) -> None:
        """Record an answer.

        A session that was deleted meanwhile does not come back for it.

        Raises:
            ModelError: It could not be saved.
        """
        try:
            await self._add("assistant", text, tool_calls or None)
        except InvalidMessageError as error:
            reason = f"the model's answer could not be recorded ({error.problem})"
            raise ModelError(reason, kind="invalid_answer") from error
        except SessionNotFoundError:
            log.info("Session was deleted during the turn", session_id=self._session_id)

    async def add_interrupted(self, text: str, reason: str) -> None:
        """Record how far an answer came and why no further."""
        try:
            if text:
                await self._add("assistant", text)
            await self._add("system", f"{INTERRUPTED} {reason}")
        except InvalidMessageError as error:
            log.error("Unfinished answer could not be recorded", session_id=self._session_id, error=str(error))
        except SessionNotFoundError:
            log.info("Session was deleted during the turn", session_id=self._session_id)

    async def _add(self, role: Role, content: str, tool_calls: tuple[ToolCall, ...] | None = None) -> None:
        await self._manager.add_message(self._session_id, Message(role, content, self._now(), tool_calls))

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)
