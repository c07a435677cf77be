"""The types of a session, as stored in its file.

The order of the fields is the order in the file: `last_accessed` comes before `messages`, so that the head of a file
shows its age (`miniclaw.session.format.codec`). Times are aware; miniclaw itself writes them in UTC, by RFC 3339.

Messages and tool calls are immutable; a session is changed only through `miniclaw.session.manager.SessionManager`,
which tracks unsaved changes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

Role: TypeAlias = Literal["user", "assistant", "tool_result", "system"]
"""The author of a message. A `tool_result` carries the `tool_call_id` that it answers."""

AwareDatetime: TypeAlias = Annotated[datetime, Meta(tz=True)]

JSON: TypeAlias = Any
"""A value of JSON: text, number, bool, None, list, or dict with keys of text, of such values."""

NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Latest time, inclusive, that counts as none: programs write the zero of their clock where they know no time."""


class ToolCall(Struct, frozen=True):
    """A call of a tool, requested by the model.

    Attributes:
        id: The model's name for this call.
        arguments: JSON text, exactly as the model wrote it, so it may be invalid.
    """

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True, dict=True, omit_defaults=True):
    """One message of a session.

    A message that was read from a file and would be written differently (unknown fields, nanoseconds, another
    order) keeps its source text outside of its fields, and is written back unchanged.

    Attributes:
        tool_calls: The tool calls that the assistant requested, if any.
        tool_call_id: For a tool's result: the call that it answers.
        inbound_id: The channel's own id of a message from a person, if any. It identifies a message that is delivered
            twice, and is unique in the session.
    """

    role: Role
    content: str
    timestamp: AwareDatetime
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    inbound_id: str | None = None


class Session(Struct, dict=True, weakref=True):
    """A conversation: one person's chat on one channel.

    Reading is free; a change that bypasses the manager is not saved.

    Attributes:
        session_id: ``{channel}_{chat_id}``.
        channel: ``[a-z0-9-]{1,32}``.
        chat_id: The channel's name of the chat; any non-empty text.
        last_accessed: Time of the last use, from which retention computes the age.
        messages: The messages, oldest first.
        pinned: If true, retention never removes the session. In the file it precedes the messages; false is left out.
        metadata: Values of the program's own, such as a title. In the file it precedes the messages; without any it is
            left out.
    """

    session_id: str
    channel: str
    chat_id: str
    created_at: AwareDatetime
    last_accessed: AwareDatetime
    messages: list[Message] = field(default_factory=list)
    pinned: bool = False
    metadata: dict[str, JSON] = field(default_factory=dict)


class SessionHeader(Struct, frozen=True, gc=False):  # gc=False: it can be part of no cycle
    """The fields before the messages: all that retention needs of a session.

    msgspec decodes only these fields and skips the rest, so its cost does not grow with that of the conversation.
    """

    session_id: str
    channel: str
    chat_id: str
    last_accessed: AwareDatetime
    pinned: bool = False
