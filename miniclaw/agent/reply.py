"""An answer while it is being produced: collected for the session, and passed on piece by piece where that can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from miniclaw.channels.base import InboundMessage, OutboundDelta, StreamingChannel
from miniclaw.errors import ChannelError, ModelError
from miniclaw.session.logs import get_logger
from miniclaw.session.types import ToolCall

MAX_REPLY_CHARS: Final = 500_000
"""Longest answer that is taken, inclusive; what comes after it is not waited for."""

MAX_TOOL_CALLS: Final = 64
"""Most calls of tools in one answer, inclusive."""

log = get_logger("miniclaw.agent")


class Reply:
    """Collects an answer.

    Args:
        message: What is being answered.
        channel: Who gets the pieces, if it takes any.
        came: Called with each piece, before it is passed on.
    """

    def __init__(
        self, message: InboundMessage, channel: StreamingChannel | None, *, came: Callable[[], None] = lambda: None
    ) -> None:
        self._message = message
        self._channel = channel
        self._came = came
        self._pieces: list[str] = []
        self._chars = 0
        self.tool_calls: list[ToolCall] = []

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._pieces)

    async def add(self, event: str | ToolCall) -> None:
        """Take what the model said next.

        Raises:
            ModelError: It is too much; what was taken before is kept.
        """
        self._came()
        if isinstance(event, ToolCall):
            if len(self.tool_calls) == MAX_TOOL_CALLS:
                raise ModelError(f"the model asked for more than {MAX_TOOL_CALLS} tools at once", kind="invalid_answer")
            self.tool_calls.append(event)
            return
        piece = event[: MAX_REPLY_CHARS - self._chars]
        if piece:
            self._pieces.append(piece)
            self._chars += len(piece)
            await self._pass_on(piece)
        if len(piece) < len(event):
            too_long = f"the model's answer is longer than {MAX_REPLY_CHARS:,} characters"
            raise ModelError(too_long, kind="invalid_answer")

    async def _pass_on(self, piece: str) -> None:
        if self._channel is None:
            return
        delta = OutboundDelta(self._message.channel, self._message.chat_id, piece, self._message)
        try:
            await self._channel.send_delta(delta)
        except ChannelError as error:
            self._channel = None  # the whole is sent all the same
            log.warning("Piece of a reply could not be delivered", channel=self._message.channel, error=str(error))
