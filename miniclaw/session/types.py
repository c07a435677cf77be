"""The types of a session, as they stand in its file.

The order of the fields is the order in the file: `last_accessed` comes before `messages`, so that the head of a
file tells its age (see `miniclaw.session.format.codec`). Times are aware; what miniclaw writes itself is UTC, RFC 3339.

Messages and tool calls are immutable; a session changes only through `miniclaw.session.manager.SessionManager`,
which keeps track of what is not saved yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

Role: TypeAlias = Literal["user", "assistant", "tool_result", "system"]
"""Who speaks. A `tool_result` carries the `tool_call_id` that it answers."""

AwareDatetime: TypeAlias = Annotated[datetime, Meta(tz=True)]


class ToolCall(Struct, frozen=True):
    """A call of a tool that the model asked for.

    Attributes:
        id: The model's name for this call.
        name: The tool.
        arguments: JSON text, exactly as the model wrote it, so it may be invalid.
    """

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True, dict=True, omit_defaults=True):
    """One message of a session.

    A message that was read from a file and would be written differently (unknown fields, nanoseconds, another
    order) remembers its source text outside of its fields, and is written back as it was.

    Attributes:
        role: Who speaks.
        content: The text.
        timestamp: When.
        tool_calls: What the assistant asked for, if anything.
        tool_call_id: For a tool's result: the call that it answers.
        inbound_id: The channel's own id of a message that a person sent, where it has one: by it a message that is
            delivered twice is recognised. Unique in the session.
    """

    role: Role
    content: str
    timestamp: AwareDatetime
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    inbound_id: str | None = None


class Session(Struct, dict=True, weakref=True):
    """A conversation: one person's chat on one channel.

    Read it freely; change it through the manager only, or the change is not saved.

    Attributes:
        session_id: ``{channel}_{chat_id}``.
        channel: ``[a-z0-9-]{1,32}``.
        chat_id: The channel's name of the chat; any non-empty text.
        created_at: When the first message came.
        last_accessed: When the session was last used; retention goes by it.
        messages: Oldest first.
        pinned: Whether retention leaves it alone; in the file it stands before the messages, where it is true.
    """

    session_id: str
    channel: str
    chat_id: str
    created_at: AwareDatetime
    last_accessed: AwareDatetime
    messages: list[Message] = field(default_factory=list)
    pinned: bool = False


class SessionHeader(Struct, frozen=True, gc=False):  # gc=False: it can be part of no cycle
    """What stands before the messages: all that retention needs of a session.

    msgspec decodes just these fields and skips the rest, so its cost does not grow with the conversation's.
    """

    session_id: str
    channel: str
    chat_id: str
    last_accessed: AwareDatetime
    pinned: bool = False
