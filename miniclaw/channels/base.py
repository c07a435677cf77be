"""What a channel is."""

from __future__ import annotations

from typing import Protocol

import trio
from msgspec import Struct, field


class InboundMessage(Struct, frozen=True):
    """What a person wrote.

    Attributes:
        channel: The channel's name, ``[a-z0-9-]{1,32}``.
        chat_id: The channel's name of the chat.
        content: The text.
        metadata: What the channel wants back with the reply.
    """

    channel: str
    chat_id: str
    content: str
    metadata: dict[str, str] = field(default_factory=dict)


class OutboundMessage(Struct, frozen=True):
    """What the agent answers.

    Attributes:
        channel: The channel that carries it.
        chat_id: The chat.
        content: The text.
        reply_to: The message that it answers, where there is one.
        failed: It is no answer but says why there is none.
    """

    channel: str
    chat_id: str
    content: str
    reply_to: InboundMessage | None = None
    failed: bool = False


class Channel(Protocol):
    """Carries messages between people and the agent."""

    name: str

    async def run(
        self,
        inbound: trio.MemorySendChannel[InboundMessage],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receive until there is nothing more to come, or until cancelled.

        Args:
            inbound: Bounded: sending waits while the agent is busy, and the channel passes that on to its people.
            task_status: Told when messages are accepted.
        """
        ...

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message to its chat.

        Raises:
            ChannelError: It was not delivered.
        """
        ...
