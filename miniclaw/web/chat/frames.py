"""What goes over the chat's websocket: JSON objects in text frames, told apart by their ``type``.

What the server has to say at about the same time comes together, as an array of such objects: a frame costs far more
than what is in it.

Besides those here the server sends the events of `miniclaw.channels.subscription` as they are. What a frame has
besides the fields that are known is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from miniclaw.channels.live import AnswerSoFar
from miniclaw.channels.subscription import Event, PersonSaid
from miniclaw.session.types import Message, Role, ToolCall

MAX_TEXT_CHARS: Final = 100_000
"""Longest message that a person may send, inclusive."""

PAGE_MESSAGES: Final = 50
"""Most messages of the history in one frame, inclusive."""

PAGE_CHARS: Final = 500_000
"""Beyond so many characters a page ends early; it has one message at least."""

_EXPECTED: Final = (
    'a JSON object {"type": "message", "id": ID, "text": TEXT} or {"type": "history", "before": INDEX} is expected, '
    "ID being 1 to 64 of A-Z, a-z, 0-9, - and _, and INDEX a whole number from 0 on"
)


class MessageFrame(Struct, frozen=True, tag="message"):
    """From a client: a person's message, with the id by which it is known when it is sent again."""

    id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
    text: str


class HistoryFrame(Struct, frozen=True, tag="history"):
    """From a client: it wants to see the messages before this index."""

    before: Annotated[int, Meta(ge=0)]


class BadFrameError(ValueError):
    """A frame that nothing can be made of; its text says what is wrong and what would be right."""


class OldMessage(Struct, frozen=True, omit_defaults=True):
    """A message of the history.

    Attributes:
        index: Its place in the session; the first one is 0.
        at: When it was said.
        id: The channel's own id, where a person sent it and it has one.
    """

    index: int
    role: Role
    content: str
    at: datetime
    id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None


class HelloFrame(Struct, frozen=True, tag="hello"):
    """The first frame to a client: where it is, what was said last, and what is under way.

    Attributes:
        more: Whether there are older messages.
        model: Who answers.
        now: The answer in progress.
        waiting: Messages that are not answered yet; the first one may be among `messages`.
    """

    chat: str
    channel: str
    messages: Sequence[OldMessage]
    more: bool
    model: str
    now: AnswerSoFar | None
    waiting: Sequence[PersonSaid]


class HistoryPage(Struct, frozen=True, tag="history"):
    """To a client: older messages, oldest first."""

    messages: Sequence[OldMessage]
    more: bool


class ErrorFrame(Struct, frozen=True, omit_defaults=True, tag="error"):
    """To a client: something was wrong with what it sent.

    Attributes:
        detail: What, and what would be right.
        id: The message that was refused for good, so that it is not sent again.
    """

    detail: str
    id: str | None = None


ServerFrame: TypeAlias = HelloFrame | HistoryPage | ErrorFrame | Event
ClientFrame: TypeAlias = MessageFrame | HistoryFrame

_decoder: Final[msgspec.json.Decoder[ClientFrame]] = msgspec.json.Decoder(ClientFrame)
_encoder: Final = msgspec.json.Encoder()


def decode_frame(text: str) -> ClientFrame:
    """Return what a client sent.

    Raises:
        BadFrameError: It is no frame.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadFrameError(f"the frame is JSON of another kind; {_EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise BadFrameError(f"the frame is no JSON; {_EXPECTED}") from error


def encode_frames(frames: Sequence[ServerFrame]) -> str:
    """Return frames as they are sent: one as it is, several in an array."""
    return _encoder.encode(frames[0] if len(frames) == 1 else frames).decode()


def history_page(messages: Sequence[Message], before: int) -> HistoryPage:
    """Return the newest messages before an index, as many as fit in a frame."""
    end = min(before, len(messages))
    start, chars = end, 0
    while start > 0 and end - start < PAGE_MESSAGES:
        chars += len(messages[start - 1].content)
        if chars > PAGE_CHARS and start < end:
            break
        start -= 1
    page = [_old_message(index, messages[index]) for index in range(start, end)]
    return HistoryPage(page, more=start > 0)


def _old_message(index: int, message: Message) -> OldMessage:
    return OldMessage(
        index, message.role, message.content, message.timestamp,
        message.inbound_id, message.tool_calls, message.tool_call_id,
    )  # fmt: skip
