"""An answer in progress: collected for the session, and passed on piece by piece to a channel that streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from miniclaw.channels.base import InboundMessage, OutboundDelta
from miniclaw.channels.port import Port
from miniclaw.errors import ModelBugError, ModelError
from miniclaw.formats import without_surrogates
from miniclaw.session.types import ToolCall

MAX_REPLY_CHARS: Final = 500_000
"""Longest answer accepted, inclusive. A longer one is cut there, and its rest is not read."""

MAX_TOOL_CALLS: Final = 64
"""Most calls of tools in one answer, inclusive."""


class Reply:
    """Collects an answer. A lone surrogate in it is replaced here, before the session and the channel get the text.

    Args:
        message: The message that is being answered.
        port: The port of the channel that gets the pieces; None: the channel takes none.
        came: Called for each piece or call, before it is collected and passed on.
    """

    def __init__(self, message: InboundMessage, port: Port | None, *, came: Callable[[], None] = lambda: None) -> None:
        self._message = message
        self._port = port
        self._came = came
        self._pieces: list[str] = []
        self._chars = 0
        self.tool_calls: list[ToolCall] = []

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return "".join(self._pieces)

    async def add(self, event: str | ToolCall) -> None:
        """Take the next part of the answer.

        Raises:
            ModelError: The answer has too much text or too many calls; it is kept up to the bound.
            ModelBugError: The part is neither a text nor a call.
        """
        event = _checked(event)
        self._came()
        if isinstance(event, ToolCall):
            if len(self.tool_calls) == MAX_TOOL_CALLS:
                raise ModelError(f"the model asked for more than {MAX_TOOL_CALLS} tools at once", kind="invalid_answer")
            self.tool_calls.append(event)
            return
        piece = event[: MAX_REPLY_CHARS - self._chars]
        if piece:
            if self._pieces:  # a model that has its pieces ready, and a channel that takes them, let others run
                await trio.lowlevel.checkpoint()
            self._pieces.append(piece)
            self._chars += len(piece)
            if self._port is not None:
                delta = OutboundDelta(self._message.channel, self._message.chat_id, piece, self._message)
                if not await self._port.send_delta(delta):
                    self._port = None
        if len(piece) < len(event):
            too_long = f"the model's answer is longer than {MAX_REPLY_CHARS:,} characters"
            raise ModelError(too_long, kind="invalid_answer")


def _checked(event: object) -> str | ToolCall:
    """Return a part with valid texts: neither a session's file nor a channel can hold a surrogate.

    Raises:
        ModelBugError: The part is neither a text nor a call.
    """
    if isinstance(event, str):
        return without_surrogates(event)
    if isinstance(event, ToolCall):
        texts = (event.id, event.name, event.arguments)
        if all(isinstance(text, str) for text in texts):  # a Struct does not check its fields
            return ToolCall(*map(without_surrogates, texts))
    raise ModelBugError(f"it gave {type(event).__name__} instead of text")
