"""The interface of a channel, and the messages that cross it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import trio
from msgspec import Struct, field


class InboundMessage(Struct, frozen=True):
    """A person's message.

    Attributes:
        channel: The channel's name, ``[a-z0-9-]{1,32}``.
        chat_id: The channel's name of the chat.
        content: The text.
        metadata: Data of the channel, which it gets back with the reply.
        inbound_id: The channel's own id of the message, unique in its chat and the same whenever it is delivered again.
    """

    channel: str
    chat_id: str
    content: str
    metadata: dict[str, str] = field(default_factory=dict)
    inbound_id: str | None = None


class OutboundMessage(Struct, frozen=True):
    """A message of the agent.

    Attributes:
        content: The text; it begins with the pieces that were streamed.
        reply_to: The message that it answers, if any.
        failed: If true, the text is no answer, or an unfinished one, and gives the reason.
    """

    channel: str
    chat_id: str
    content: str
    reply_to: InboundMessage | None = None
    failed: bool = False


class OutboundDelta(Struct, frozen=True):
    """The next piece of an answer that is being produced.

    Attributes:
        text: The continuation of the pieces before it; not empty.
        reply_to: The message that is being answered.
    """

    channel: str
    chat_id: str
    text: str
    reply_to: InboundMessage


class InboundSender(Protocol):
    """Takes people's messages from a channel; `miniclaw.agent.inbox.Inbox` implements it."""

    async def send(self, message: InboundMessage, /) -> None:
        """Hand over a message; wait while its chat or the channel has too many waiting messages.

        Messages of one task keep their order. A channel with many chats sends from one task per chat, or uses
        `send_nowait`, so that a waiting chat delays no other.

        Raises:
            ForeignMessageError: The message bears the name of another channel; it was not taken.
            trio.ClosedResourceError: The gateway ends; the message was not taken.

        Cancellation: the message was not taken.
        """
        ...

    def send_nowait(self, message: InboundMessage, /) -> None:
        """Hand over a message without waiting.

        Raises:
            trio.WouldBlock: Its chat or the channel has too many waiting messages; the message was not taken.
            ForeignMessageError, trio.ClosedResourceError: As `send`.
        """
        ...


class Channel(Protocol):
    """Carries messages between people and the agent."""

    name: str

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Receive messages until there are no more, or until cancelled.

        After any exception but `ChannelEndedError` it is called again, after a pause.

        Args:
            inbound: Takes the messages. It is bounded: sending waits while the agent is busy, and the channel lets its
                people wait, too.
            task_status: Its `started` is called once messages are accepted; the first message has the same effect.

        Raises:
            ChannelError: The channel cannot receive for now; the sentence is logged.
            ChannelEndedError: The channel can never receive again; `run` is not called again.
        """
        ...

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message to its chat.

        Raises:
            ChannelError: The message was not delivered.
        """
        ...


@runtime_checkable
class StreamingChannel(Protocol):
    """Optional methods of a channel that shows an answer while it is being produced.

    Every channel gets the whole answer by `Channel.send`; a streaming channel gets the pieces before that. The content
    of the whole begins with the pieces, so that the channel can show the rest alone.
    """

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Show the next piece, without waiting for slow people: the model would wait for them, too.

        Raises:
            ChannelError: The piece was not shown; this answer's further pieces are not sent.
        """
        ...


@runtime_checkable
class ConfirmingChannel(Protocol):
    """Optional methods of a channel that is notified when a message is safe and need not be delivered again."""

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Take note that a message is on disk, and survives a power cut from now on.

        Called on the trio thread; it must not raise. Not called for a message that could not be recorded or saved: the
        channel delivers it again, later, with the same `InboundMessage.inbound_id`. A message that is delivered again
        is recorded once; it is answered only if its first delivery was not.

        Args:
            message: The message of the first delivery or of a later one.
            answered: False: the message is recorded, and its answer is on its way. True: its turn is over as well, and
                it need not be delivered again. Either its answer was handed to `Channel.send` and is on disk, or the
                message was refused, was deleted or will never be answered, and the person was notified.
        """
        ...


@runtime_checkable
class RefusingChannel(Protocol):
    """Optional methods of a channel that notifies people when a message is not kept."""

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """Take note that a message is in no session and never will be; `ConfirmingChannel.confirm` follows at the end.

        Called on the trio thread; it must not raise.

        Args:
            message: The message of the first delivery or of a later one.
            reason: The reason, for the person, without a full stop.
        """
        ...
