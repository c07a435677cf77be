"""The agent loop: takes what people write, records it, asks the model, records the answer and sends it.

Messages of one chat are handled one at a time and in their order; different chats at the same time, up to a limit.
A person's message is in the session before the model is asked, and stays there whatever the model does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC
from typing import Final

import trio

from miniclaw.agent.models import Model
from miniclaw.channels.base import Channel, InboundMessage, OutboundMessage
from miniclaw.errors import ChannelError, InvalidMessageError, MiniclawError, ModelError, SessionNotFoundError
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.logs import get_logger
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message, Role, Session

MAX_TURNS: Final = 64
"""Messages that are taken from the channels and not answered yet; beyond it the channels wait."""

_SORRY_NOT_KEPT: Final = "Your message could not be recorded, so it was not answered. Please try again later."
_SORRY_NO_REPLY: Final = "Your message is recorded, but there is no answer: {reason}"

log = get_logger("miniclaw.agent")


class AgentLoop:
    """Answers messages.

    Args:
        manager: The sessions.
        model: Who answers.
        channels: By their names, for the replies.
        clock: The wall clock.
    """

    def __init__(
        self,
        manager: SessionManager,
        model: Model,
        channels: Mapping[str, Channel],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._manager = manager
        self._model = model
        self._channels = channels
        self._clock = clock
        # Waiting messages of the chats that have a turn going; changed on the trio thread.
        self._waiting: dict[tuple[str, str], deque[InboundMessage]] = {}
        self._turns = trio.Semaphore(MAX_TURNS)

    async def run(
        self,
        inbound: trio.MemoryReceiveChannel[InboundMessage],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer until all senders have closed and every message is answered.

        Cancellation: turns in flight end where they are; what people wrote is in their sessions.
        """
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for message in inbound:
                await self._turns.acquire()
                chat = (message.channel, message.chat_id)
                if chat in self._waiting:
                    self._waiting[chat].append(message)
                else:
                    self._waiting[chat] = deque([message])
                    nursery.start_soon(self._run_chat, chat)

    async def _run_chat(self, chat: tuple[str, str]) -> None:
        """Answer the messages of one chat until none waits."""
        waiting = self._waiting[chat]
        try:
            while waiting:
                message = waiting.popleft()
                try:
                    await self.handle(message)
                finally:
                    self._turns.release()
        finally:
            del self._waiting[chat]

    async def handle(self, message: InboundMessage) -> OutboundMessage:
        """Do one turn: record, ask, record, send; return what was sent.

        Cancellation: the person's message may be recorded without an answer.
        """
        failed = False
        try:
            reply = await self._answer(message)
        except ModelError as error:
            log.error("Model did not answer", model=self._model.name, error=str(error), cause=repr(error.__cause__))
            reply, failed = _SORRY_NO_REPLY.format(reason=error), True
        except MiniclawError as error:
            log.error("Message could not be recorded", channel=message.channel, error=str(error))
            reply, failed = _SORRY_NOT_KEPT, True
        outbound = OutboundMessage(message.channel, message.chat_id, reply, message, failed)
        try:
            await self._channels[message.channel].send(outbound)
        except ChannelError as error:
            log.error("Reply could not be delivered", channel=message.channel, error=str(error))
        return outbound

    async def _answer(self, message: InboundMessage) -> str:
        session = await self._manager.get_or_create_session(message.channel, message.chat_id)
        async with self._manager.using(session.session_id):
            await self._record(session.session_id, "user", message.content)
            reply = await self._ask(session)
            try:
                await self._record(session.session_id, "assistant", reply)
            except InvalidMessageError as error:
                raise ModelError(f"the model's answer could not be recorded ({error.problem})") from error
            except SessionNotFoundError:
                log.info("Session was deleted during the turn", session_id=session.session_id)
            return reply

    async def _ask(self, session: Session) -> str:
        try:
            return await self._model.reply(session.messages)
        except ModelError:
            raise
        except Exception as error:  # a model is foreign code: its bug is one unanswered message, not the end of all
            raise ModelError(f"the model failed ({type(error).__name__})") from error

    async def _record(self, session_id: str, role: Role, content: str) -> None:
        await self._manager.add_message(session_id, Message(role, content, self._clock().astimezone(UTC)))
