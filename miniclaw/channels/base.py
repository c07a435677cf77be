"""What a channel is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import trio
from msgspec import Struct, field


class InboundMessage(Struct, frozen=True):
    """What a person wrote.

    Attributes:
        channel: The channel's name, ``[a-z0-9-]{1,32}``.
        chat_id: The channel's name of the chat.
        content: The text.
        metadata: What the channel wants back with the reply.
        inbound_id: The channel's own id of the message, unique in its chat and the same whenever it is delivered again.
    """

    channel: str
    chat_id: str
    content: str
    metadata: dict[str, str] = field(default_factory=dict)
    inbound_id: str | None = None


class OutboundMessage(Struct, frozen=True):
    """What the agent answers.

    Attributes:
        channel: The channel that carries it.
        chat_id: The chat.
        content: The text; it begins with all that was streamed of it.
        reply_to: The message that it answers, where there is one.
        failed: It is no answer, or an unfinished one, and says why.
    """

    channel: str
    chat_id: str
    content: str
    reply_to: InboundMessage | None = None
    failed: bool = False


class OutboundDelta(Struct, frozen=True):
    """The next piece of an answer that is being produced.

    Attributes:
        channel: The channel that carries it.
        chat_id: The chat.
        text: What follows the pieces before it; not empty.
        reply_to: The message that is being answered.
    """

    channel: str
    chat_id: str
    text: str
    reply_to: InboundMessage


class InboundSender(Protocol):
    """Where a channel puts what people write; `miniclaw.agent.inbox.Inbox` is the real one."""

    async def send(self, message: InboundMessage, /) -> None:
        """Hand over a message; waits while its chat, or the channel, has too many waiting.

        Messages of one task keep their order. A channel with many chats sends from one task per chat, or uses
        `send_nowait`, so that a chat that has to wait holds up no other.

        Raises:
            ForeignMessageError: The message bears the name of another channel; it was not taken.

        Cancellation: the message was not taken.
        """
        ...

    def send_nowait(self, message: InboundMessage, /) -> None:
        """Hand over a message, if that is possible at once.

        Raises:
            trio.WouldBlock: Its chat, or the channel, has too many waiting; the message was not taken.
            ForeignMessageError: As `send`.
        """
        ...


class Channel(Protocol):
    """Carries messages between people and the agent."""

    name: str

    async def run(
        self,
        inbound: InboundSender,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receive until there is nothing more to come, or until cancelled.

        Called again, after a pause, when it has raised anything but `ChannelEndedError`.

        Args:
            inbound: Bounded: sending waits while the agent is busy, and the channel passes that on to its people.
            task_status: Told when messages are accepted; the first message says so as well.

        Raises:
            ChannelError: It cannot receive for now; the sentence is logged.
            ChannelEndedError: It never will again; it is not called again.
        """
        ...

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message to its chat.

        Raises:
            ChannelError: It was not delivered.
        """
        ...


@runtime_checkable
class StreamingChannel(Protocol):
    """What a channel has besides where it shows an answer while it is being produced.

    One without it gets the whole answer by `Channel.send`, and so does this one, after its pieces: the content of
    the message begins with the pieces, so that what is left of it can be shown.
    """

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Show the next piece. It does not wait for slow people: the model would wait for them, too.

        Raises:
            ChannelError: It was not shown; this answer's further pieces are not sent.
        """
        ...


@runtime_checkable
class ConfirmingChannel(Protocol):
    """What a channel has besides that wants to know when a message is safe, so that it need not be delivered again."""

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Take note that a message is on disk, and survives a power cut from now on.

        Called on the trio thread; it must not raise. Not called for a message that could not be recorded or saved:
        deliver it again, later, with the same `InboundMessage.inbound_id`. A message that is delivered again is
        recorded once; it is answered only if its first delivery was not.

        Args:
            message: As it was handed over, or delivered again.
            answered: False: it is recorded, and its answer is on its way. True: its turn is over as well, and it need
                not be delivered again: what answers it was handed to `Channel.send` and is on disk; or it never will
                be answered, or was refused or deleted, and the person was told.
        """
        ...


@runtime_checkable
class RefusingChannel(Protocol):
    """What a channel has besides that tells people when a message is not kept."""

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """Take note that a message is in no session and never will be; `ConfirmingChannel.confirm` follows at the end.

        Called on the trio thread; it must not raise.

        Args:
            message: As it was handed over, or delivered again.
            reason: For the person, without a full stop.
        """
        ...
