"""The agent loop: takes people's messages, records them, asks the model, and records and sends the answers.

Messages of one chat are handled one at a time and in their order; up to `inbox.MAX_TURNS_PER_CHANNEL` chats of each
channel are handled at the same time.
A person's message is in the session before the model is asked, and no failure of the model removes it. Every message
that the loop has taken from a channel is recorded, also when the loop is cancelled. An unfinished answer is marked as
interrupted (see `miniclaw.agent.transcript`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import Model
from miniclaw.agent.reply import Reply
from miniclaw.agent.stats import TurnStats
from miniclaw.agent.transcript import STOPPED, Transcript
from miniclaw.agent.turn import FAILED, NOT_RECORDED, RECORDING_SECONDS, Turn, log_failure, try_to_record
from miniclaw.channels.base import Channel, InboundMessage, OutboundMessage
from miniclaw.channels.foreign_calls import OVERDUE_SECONDS, ForeignCalls
from miniclaw.channels.port import Port
from miniclaw.errors import (
    InvalidMessageError,
    InvalidSessionIdError,
    MiniclawError,
    ModelBugError,
    ModelError,
    SessionFullError,
)
from miniclaw.foreign import text_of
from miniclaw.loggers import get_logger
from miniclaw.secret import redact
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import make_session_id
from miniclaw.session.persistence import PromptSaver

SETTLING_SECONDS: Final = 1
"""Time limit for the last saves and their confirmations to the channels when the loop ends."""

_SORRY_NOT_KEPT: Final = "Your message could not be recorded, so it was not answered. Please try again later."
_SORRY_REFUSED: Final = "Your message was not recorded, so it was not answered: {reason}."
_SORRY_NO_ROOM: Final = "Your message is recorded, but its answer is not: {reason}."
_SORRY_NO_REPLY: Final = "Your message is recorded, but there is no answer: {reason}"
_DELETED: Final = "the conversation was deleted before the message was saved"
_SORRY_CUT: Final = "The answer ends here: {reason}"

log: Final = get_logger("miniclaw.agent")


class AgentLoop:
    """Answers the messages of an inbox.

    Args:
        manager: The session manager.
        model: The model that answers.
        channels: The channels by name, for the replies.

    Attributes:
        calls: The calls of channels and model under way.
        ports: The channels by name; each port contains the exceptions of its channel.
        stats: Counts of the turns since the start.
    """

    def __init__(self, manager: SessionManager, model: Model, channels: Mapping[str, Channel]) -> None:
        self._manager = manager
        self._model = model
        self.calls: ForeignCalls = ForeignCalls()
        self.ports: dict[str, Port] = {name: Port(name, channel, self.calls) for name, channel in channels.items()}
        self._saver = PromptSaver(manager)
        self.model_name: str = model.name
        self.stats: TurnStats = TurnStats(channels)

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until the inbox is closed and every message is answered.

        Cancellation: turns in flight stop and are recorded as interrupted. The inbox is closed, and the messages that
        wait in it are recorded as interrupted as well. Each of the two takes at most `RECORDING_SECONDS`, also beside a
        turn that foreign code keeps from ending; the loop then waits for that turn.
        """
        async with trio.open_nursery() as saving:
            await saving.start(self._saver.run)
            saving.start_soon(self.calls.watch, _tell_overdue)
            async with trio.open_nursery() as nursery:
                task_status.started()
                try:
                    while (message := await inbox.next_message()) is not None:
                        nursery.start_soon(self._run_turns, message, inbox)
                finally:
                    inbox.close()
                    if inbox.waiting():
                        await self._record_rest(inbox)  # noqa: ASYNC102 - it has shields and deadlines of its own
            with trio.move_on_after(SETTLING_SECONDS):
                await self._saver.settle()
            saving.cancel_scope.cancel()

    async def _run_turns(self, first: InboundMessage, inbox: Inbox) -> None:
        """Run a turn, and then those that wait for their turn: a task of its own for each would cost more."""
        message: InboundMessage | None = first
        while message is not None:
            try:
                await self.handle(message)
            except BaseException:
                inbox.done(message)
                raise
            message = inbox.next_after(message)

    async def handle(self, message: InboundMessage) -> OutboundMessage | None:
        """Run one turn: record, ask, record, send.

        A `ConfirmingChannel` gets a confirmation when the person's message, and later the answer, is on disk.

        Returns:
            The message sent, or None if the person's message had been answered before.

        Cancellation: the person's message, the answer so far and a mark of the interruption are recorded.
        """
        with self.stats.turn(message.channel) as count:
            port = self.ports[message.channel]
            reply = Reply(message, port if port.streams else None, came=count.piece_came)
            recorded = partial(self._confirm_saved, message, answered=False)
            asking = self.calls.call(f"{self.model_name}.stream")
            turn = Turn(self._manager, self._model, message, reply, asking=asking, recorded=recorded)
            failure: str | None = None  # the sentence for the person
            refusal: str | None = None  # the reason that the message can never be recorded
            is_kept = True
            try:
                delivery = await turn.run()
                if delivery == "answered":
                    count.outcome = None
                    self._confirm_saved(message, answered=True)
                    return None
                if delivery == "interrupted":
                    failure = _SORRY_NO_REPLY.format(reason=STOPPED)
            except ModelError as error:
                self.stats.model_failed(error.kind)
                reason = redact(text_of(error))
                if not isinstance(error, ModelBugError):  # a bug was logged with its traceback
                    log.error("Model did not answer", model=self.model_name, error=reason, detail=_detail(error))
                failure = (_SORRY_CUT if reply.text else _SORRY_NO_REPLY).format(reason=reason)
            except MiniclawError as error:
                log_failure(NOT_RECORDED, message.channel, error)
                failure, refusal, is_kept = _judge(error, is_recorded=turn.is_recorded)
            except Exception as error:  # noqa: BLE001 - a bug costs the answer to one message, and nothing else
                log.bug("Turn failed", error, channel=message.channel)
                is_kept = turn.is_recorded
                failure = _SORRY_NO_REPLY.format(reason=FAILED) if is_kept else _SORRY_NOT_KEPT
            text = "\n\n".join(part for part in (reply.text, failure) if part)
            outbound = OutboundMessage(message.channel, message.chat_id, text, message, failed=failure is not None)
            await port.send(outbound)
            if refusal is not None:  # another delivery would fail, too
                port.refuse(message, refusal)
                port.confirm(message, answered=True)
            elif is_kept:
                self._confirm_saved(message, answered=True)
            count.outcome = "failed" if outbound.failed else "answered"
        return outbound

    def _confirm_saved(self, message: InboundMessage, *, answered: bool) -> None:
        """Notify a `ConfirmingChannel` as soon as the session's present state is saved."""
        if self.ports[message.channel].confirms:
            session_id = make_session_id(message.channel, message.chat_id)
            self._saver.want(session_id, partial(self._settle, message, answered=answered))

    def _settle(self, message: InboundMessage, saved: bool, *, answered: bool) -> None:
        port = self.ports[message.channel]
        if saved or answered:
            port.confirm(message, answered=answered)
        else:
            port.refuse(message, _DELETED)

    async def _record_rest(self, inbox: Inbox) -> None:
        """Record the messages that wait in the inbox, each with a mark, behind those of the turns in flight."""
        with trio.move_on_after(RECORDING_SECONDS, shield=True):
            await inbox.until_idle()
        with trio.move_on_after(RECORDING_SECONDS, shield=True) as recording:
            for message in inbox.take_rest():
                transcript = Transcript(self._manager, message)
                await try_to_record(transcript.add_unanswered, message.channel, NOT_RECORDED)
        if recording.cancelled_caught:
            log.error("Messages that waited could not all be recorded before the end")


def _tell_overdue(call: str) -> None:
    log.warning("Channel or model does not return; its chat waits for it", call=call, seconds=OVERDUE_SECONDS)


def _judge(error: MiniclawError, *, is_recorded: bool) -> tuple[str, str | None, bool]:
    """Judge a failure to record a message or its answer.

    Returns:
        The sentence for the person; the reason that the message can never be recorded, or None if a later delivery may
        succeed; and whether the message is kept, so that no delivery is needed.
    """
    if isinstance(error, SessionFullError) and is_recorded:  # no file has room for the answer
        return _SORRY_NO_ROOM.format(reason=error.problem), None, True
    if isinstance(error, InvalidMessageError | InvalidSessionIdError | SessionFullError):
        return _SORRY_REFUSED.format(reason=error.problem), error.problem, False
    return _SORRY_NOT_KEPT, None, False


def _detail(error: ModelError) -> str:
    """Return the detail for the log, redacted; the model of an embedder may have set any object."""
    if error.detail is not None:
        return redact(text_of(error.detail))
    cause = error.__cause__
    return redact(f"{type(cause).__name__}({text_of(cause)})") if cause is not None else ""
