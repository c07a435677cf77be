"""The frames of the chat's websocket: JSON objects in text frames, distinguished by their ``type``.

The server joins objects of about the same time in one frame, as an array: a frame costs far more than its content.

Besides the objects here, the server sends the events of `miniclaw.channels.subscription` as they are. Unknown fields of
an object are ignored.
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
"""Most characters of a page with several messages, inclusive; a longer message has a page of its own."""

_EXPECTED: Final = (
    'a JSON object {"type": "message", "id": ID, "text": TEXT} or {"type": "history", "before": INDEX} is expected, '
    "ID being 1 to 64 of A-Z, a-z, 0-9, - and _, and INDEX a whole number from 0 on"
)


class MessageFrame(Struct, frozen=True, tag="message"):
    """From a client: a person's message, with the id by which it is recognised when it is sent again."""

    id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
    text: str


class HistoryFrame(Struct, frozen=True, tag="history"):
    """From a client: a request for the messages before an index."""

    before: Annotated[int, Meta(ge=0)]


class BadFrameError(ValueError):
    """A frame that cannot be decoded; the text names the mistake and the expected form."""


class OldMessage(Struct, frozen=True, omit_defaults=True):
    """A message of the history; `index` is its place in the session, from 0.

    `id` is the channel's own, if a person sent the message and it has one.
    """

    index: int
    role: Role
    content: str
    at: datetime
    id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None


class HelloFrame(Struct, frozen=True, tag="hello"):
    """The first frame to a client: its chat, the latest messages, and the messages and answer under way.

    The first of the messages that wait for an answer may be among `messages`.
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
    """To a client: one of its frames was refused, or the history cannot be read.

    With an `id`, the message of that id was refused for good, and is not to be sent again.
    """

    detail: str
    id: str | None = None


ServerFrame: TypeAlias = HelloFrame | HistoryPage | ErrorFrame | Event
ClientFrame: TypeAlias = MessageFrame | HistoryFrame

_decoder: Final[msgspec.json.Decoder[ClientFrame]] = msgspec.json.Decoder(ClientFrame)
_encoder: Final = msgspec.json.Encoder()


def decode_frame(text: str) -> ClientFrame:
    """Return the frame that a client sent; raises `BadFrameError` if the text is no frame."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadFrameError(f"the frame is JSON of another kind; {_EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise BadFrameError(f"the frame is no JSON; {_EXPECTED}") from error


def encode_frames(frames: Sequence[ServerFrame]) -> str:
    """Return frames as they are sent: one as an object, several as an array."""
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
    page = [
        OldMessage(index, each.role, each.content, each.timestamp, each.inbound_id, each.tool_calls, each.tool_call_id)
        for index, each in enumerate(messages[start:end], start)
    ]
    return HistoryPage(page, more=start > 0)
