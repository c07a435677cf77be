"""The agent loop: takes what people write, records it, asks the model, records the answer and sends it.

Messages of one chat are handled one at a time and in their order; different chats at the same time, up to a limit.
A person's message is in the session before the model is asked, and stays there whatever the model does. What the
loop has taken from a channel is recorded, also when the loop is cancelled; an answer that was not finished is marked
as interrupted (see `miniclaw.agent.transcript`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import Model
from miniclaw.agent.reply import Reply
from miniclaw.agent.transcript import Transcript
from miniclaw.channels.base import Channel, InboundMessage, OutboundMessage
from miniclaw.errors import ChannelError, MiniclawError, ModelError
from miniclaw.redaction import redact
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.logs import get_logger
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message

MAX_TURNS: Final = 16
"""Chats that are answered at the same time; the others wait for their turn."""

RECORDING_SECONDS: Final = 1
"""How long recording what was interrupted may take once the loop is cancelled."""

_STOPPED: Final = "the program was stopped before the answer was complete"
_SORRY_NOT_KEPT: Final = "Your message could not be recorded, so it was not answered. Please try again later."
_SORRY_NO_REPLY: Final = "Your message is recorded, but there is no answer: {reason}"
_SORRY_CUT: Final = "The answer ends here: {reason}"

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

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until the inbox is closed and every message is answered.

        Cancellation: turns in flight end where they are and are recorded as interrupted; so is what still waits in
        the inbox, which is closed. It takes `RECORDING_SECONDS` at the most.
        """
        turns = trio.Semaphore(MAX_TURNS)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await turns.acquire()
                    message = await inbox.next_message()
                    if message is None:
                        break
                    nursery.start_soon(self._run_turn, message, inbox, turns)
        finally:
            inbox.close()
            with trio.move_on_after(RECORDING_SECONDS, shield=True) as recording:
                await self._record_unanswered(inbox.take_rest())
            if recording.cancelled_caught:
                log.error("Messages that waited could not all be recorded before the end")

    async def _run_turn(self, message: InboundMessage, inbox: Inbox, turns: trio.Semaphore) -> None:
        try:
            await self.handle(message)
        finally:
            inbox.done(message)
            turns.release()

    async def handle(self, message: InboundMessage) -> OutboundMessage:
        """Do one turn: record, ask, record, send; return what was sent.

        Cancellation: the person's message is recorded, the answer as far as it came, and that it was interrupted.
        """
        reply = Reply(message, self._channels[message.channel])
        failed = True
        try:
            await self._answer(message, reply)
            content, failed = reply.text, False
        except ModelError as error:
            log.error("Model did not answer", model=self._model.name, error=redact(str(error)), detail=_detail(error))
            sorry = _SORRY_CUT if reply.text else _SORRY_NO_REPLY
            content = _behind(reply.text, sorry.format(reason=redact(str(error))))
        except MiniclawError as error:
            log.error("Message could not be recorded", channel=message.channel, error=str(error))
            content = _behind(reply.text, _SORRY_NOT_KEPT)
        outbound = OutboundMessage(message.channel, message.chat_id, content, message, failed)
        try:
            await self._channels[message.channel].send(outbound)
        except ChannelError as error:
            log.error("Reply could not be delivered", channel=message.channel, error=str(error))
        return outbound

    async def _answer(self, message: InboundMessage, reply: Reply) -> None:
        """Record the message, collect the answer, and record that as far as it comes."""
        recorded = False
        try:
            session = await self._manager.get_or_create_session(message.channel, message.chat_id)
            async with self._manager.using(session.session_id):
                transcript = Transcript(self._manager, session.session_id, self._clock)
                await transcript.add_question(message.content)
                recorded = True
                await self._collect(session.messages, reply, transcript)
        except MiniclawError:
            raise
        except BaseException:  # cancelled, alone or in a group
            if not recorded:
                with trio.move_on_after(RECORDING_SECONDS, shield=True):
                    await self._record_unanswered([message])
            raise

    async def _collect(self, messages: Sequence[Message], reply: Reply, transcript: Transcript) -> None:
        try:
            await self._ask(messages, reply)
        except ModelError as error:
            if reply.text:
                with trio.move_on_after(RECORDING_SECONDS, shield=True):
                    await transcript.add_interrupted(reply.text, redact(error.reason))
            raise
        except BaseException:  # cancelled, alone or in a group
            with trio.move_on_after(RECORDING_SECONDS, shield=True):
                await transcript.add_interrupted(reply.text, _STOPPED)
            raise
        with trio.move_on_after(RECORDING_SECONDS, shield=True):
            await transcript.add_answer(reply.text, tuple(reply.tool_calls))
        if not reply.text.strip():
            names = ", ".join(sorted({call.name for call in reply.tool_calls}))
            raise ModelError(f"the model asked for a tool that there is not ({names})")

    async def _ask(self, messages: Sequence[Message], reply: Reply) -> None:
        try:
            async with self._model.stream(messages) as events:
                async for event in events:
                    await reply.add(event)
        except ModelError:
            raise
        except Exception as error:  # a model is foreign code: its bug is one unanswered message, not the end of all
            raise ModelError(f"the model failed ({type(error).__name__})") from error
        if not reply.text.strip() and not reply.tool_calls:
            raise ModelError("the model's answer is empty")

    async def _record_unanswered(self, messages: Sequence[InboundMessage]) -> None:
        """Record messages that are not going to be answered, and that they are not."""
        for message in messages:
            try:
                session = await self._manager.get_or_create_session(message.channel, message.chat_id)
                transcript = Transcript(self._manager, session.session_id, self._clock)
                await transcript.add_question(message.content)
                await transcript.add_interrupted("", _STOPPED)
            except MiniclawError as error:
                log.error("Message could not be recorded", channel=message.channel, error=str(error))


def _behind(text: str, sentence: str) -> str:
    return f"{text}\n\n{sentence}" if text else sentence


def _detail(error: ModelError) -> str:
    return redact(error.detail if error.detail is not None else repr(error.__cause__))
