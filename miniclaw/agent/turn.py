"""One turn: records a person's message, then the answer to it, complete or not.

A turn that fails leaves a mark after the message. A message with nothing after it therefore belongs to a turn that is
still running, or that was killed with the program.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio

from miniclaw.agent.models import Model
from miniclaw.agent.reply import Reply
from miniclaw.agent.transcript import STOPPED, Delivery, Transcript
from miniclaw.channels.base import InboundMessage
from miniclaw.channels.foreign_calls import ForeignCall
from miniclaw.errors import MiniclawError, ModelBugError, ModelError, SessionFullError, SessionNotFoundError
from miniclaw.foreign import Contained, name_of, only, text_of
from miniclaw.formats import one_line
from miniclaw.loggers import get_logger
from miniclaw.secret import redact
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message

RECORDING_SECONDS: Final = 2
"""Time limit for recording an interrupted turn, or the waiting messages, once the loop is cancelled.

Longer than a hung disk delays the use of a session in memory (`miniclaw.session.live.loader.LOOK_SECONDS`).
"""

ATTEMPTS: Final = 3
"""Most attempts at recording a message, inclusive, when its session is deleted during each attempt."""

NOT_RECORDED: Final = "Message could not be recorded"
"""Sentence in the log about a message that is in no session."""

FAILED: Final = "something went wrong in the gateway, and its log says what"
"""Reason in the mark of a turn that a bug of this program cut short; the person gets this sentence as well."""

log: Final = get_logger("miniclaw.agent")


class Turn:
    """One message and the answer to it.

    Args:
        manager: The session manager.
        model: The model that answers.
        message: The person's message.
        reply: Collects the answer.
        asking: The call of the model, entered while the model is asked.
        recorded: Called once the message is in the session.

    Attributes:
        is_recorded: True if the message is in the session.
    """

    def __init__(
        self,
        manager: SessionManager,
        model: Model,
        message: InboundMessage,
        reply: Reply,
        *,
        asking: ForeignCall,
        recorded: Callable[[], None],
    ) -> None:
        self._model = model
        self._asking = asking
        self._channel = message.channel
        self._transcript = Transcript(manager, message)
        self._reply = reply
        self._recorded = recorded
        self.is_recorded: bool = False

    async def run(self) -> Delivery:
        """Record the message, collect the answer, and record the answer, complete or not.

        Returns:
            The state of the message before this turn. A ``new`` or ``unanswered`` message is answered now; for any
            other, nothing was done.

        Raises:
            ModelError: The answer is missing or incomplete.
            MiniclawError: The message could not be recorded.

        Cancellation: the message, the answer so far and a mark of the interruption are recorded.
        """
        attempts = ATTEMPTS
        try:
            while True:
                attempts -= 1
                try:
                    return await self._run()
                except SessionNotFoundError:  # deleted before the message was in it: the next attempt creates it
                    if self.is_recorded or not attempts:
                        raise
        except MiniclawError:
            raise
        except BaseException as error:  # cancelled, alone or in a group; or a bug
            if not self.is_recorded:
                record = partial(self._transcript.add_unanswered, _reason(error))
                self.is_recorded = await self._record_in_time(record, NOT_RECORDED)  # noqa: ASYNC102 - as below
            raise

    async def _run(self) -> Delivery:
        async with self._transcript.open() as session:
            delivery = await self._transcript.add_question()
            self.is_recorded = True
            self._recorded()
            if delivery in {"new", "unanswered"}:
                await self._collect(session.messages)
            return delivery

    async def _collect(self, messages: Sequence[Message]) -> None:
        reply = self._reply
        try:
            await self._ask(messages)
            await self._transcript.add_answer(reply.text, tuple(reply.tool_calls))  # waits for a slow disk
        except BaseException as error:
            kept = "" if isinstance(error, SessionFullError) else reply.text  # there is no room for it
            record = partial(self._transcript.add_interrupted, kept, _reason(error))
            await self._record_in_time(record, "Unfinished answer could not be recorded")  # noqa: ASYNC102 - shielded
            raise
        if not reply.text.strip():
            names = one_line(", ".join(sorted({call.name for call in reply.tool_calls})))
            raise ModelError(f"the model asked for an unknown tool ({names})", kind="invalid_answer")

    async def _record_in_time(self, record: Callable[[], Awaitable[None]], event: str) -> bool:
        """Record as `try_to_record` does, within `RECORDING_SECONDS` and also when cancelled."""
        with trio.move_on_after(RECORDING_SECONDS, shield=True):
            return await try_to_record(record, self._channel, event)
        log.error(event, channel=self._channel, error=f"the disk did not answer within {RECORDING_SECONDS} s")
        return False

    async def _ask(self, messages: Sequence[Message]) -> None:
        await trio.lowlevel.checkpoint()  # a model that has its answer ready, and a session in memory, let others run
        failures: list[ModelError] = []
        is_whole = False
        with Contained(lambda error: failures.append(_model_error(error))), self._asking:
            async with self._model.stream(messages) as events:
                async for event in events:
                    self._asking.pause()  # the channel may hold up its piece
                    try:
                        await self._reply.add(event)
                    finally:
                        self._asking.go_on()
                is_whole = True
        if not is_whole and not failures:
            failures.append(_model_error(ModelBugError("it has hidden an error")))
        if failures:
            raise failures[0]
        if not self._reply.text.strip() and not self._reply.tool_calls:
            raise ModelError("the model's answer is empty", kind="invalid_answer")


def _reason(error: BaseException) -> str:
    """Return the reason in the mark of a turn that an error cut short."""
    if isinstance(error, ModelError):
        return redact(text_of(error))
    if isinstance(error, SessionFullError):
        return error.problem
    return FAILED if isinstance(error, Exception) else STOPPED  # the latter: cancelled, alone or in a group


def _model_error(error: BaseException) -> ModelError:
    """Return the error for the person; a bug of the model is logged here."""
    failure = only(error, ModelError)
    if failure is None or isinstance(failure, ModelBugError):
        log.bug("Model failed", error)
    return failure or ModelBugError(name_of(error))


def log_failure(event: str, channel: str, error: MiniclawError) -> None:
    """Log, by the sentence `event`, that a message could not be recorded; a full session is no fault of the program."""
    if isinstance(error, SessionFullError):
        log.warning("Session is full; a message was refused",
                    session_id=error.session_id, bytes=error.size, bound=error.bound)  # fmt: skip
    else:
        log.error(event, channel=channel, error=str(error))


async def try_to_record(record: Callable[[], Awaitable[None]], channel: str, event: str) -> bool:
    """Record at the end of a turn, and return whether it succeeded.

    A failure is logged, by the sentence `event`, and not raised: it would replace the error that has ended the turn, or
    cost other messages.
    """
    try:
        await record()
    except MiniclawError as error:
        log_failure(event, channel, error)
    except Exception as error:  # noqa: BLE001 - a bug costs one message, and not the others
        log.bug(event, error, channel=channel)
    else:
        return True
    return False
