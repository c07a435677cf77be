"""The memory that a session takes, close enough to bound it: counted once, and then updated with each message.

The count covers the allocations of CPython for the objects of a session, as measured on 3.11, where a test compares it
with `tracemalloc`. Strings that several messages share are counted with each of them. Not counted are the rounding of
an allocator, and the UTF-8 that a string keeps once another module has encoded it (`miniclaw.session.format.codec`
avoids that).
"""

from __future__ import annotations

from datetime import datetime
from sys import getsizeof
from typing import Final

from msgspec import Raw, Struct

from miniclaw.session.types import JSON, Message, Session

SOURCE: Final = "_source"
"""Key in ``__dict__`` for the parts of a file beside the fields; msgspec does not write it, as it is no field."""

FILE_BYTES: Final = "_file_bytes"
"""Likewise, for the size of the session's file (`miniclaw.session.format.growth`)."""

_BYTES: Final = "_bytes"  # likewise, for the count of a session

_SESSION_BYTES: Final = 1110  # the object, two times, list and dict, and the known state of its file
_MESSAGE_BYTES: Final = 155  # the object, its time, and its place in the list; the role is shared
_ASCII_BYTES: Final = getsizeof("")  # an ASCII string without its characters
_CALLS_BYTES: Final = 48  # the tuple
_CALL_BYTES: Final = 64  # the object and its place in the tuple
_SOURCE_BYTES: Final = 250  # the dict, and an object around the text
_RAW_BYTES: Final = 33  # a bytes object without its content


class SessionSource(Struct):
    """The parts of a session's file beside the values of its fields. Created once, never changed.

    Attributes:
        extra: The unknown members, with commas between them.
        times: The times as they were read, with their source texts.
        tells_pinned: True also for a pin that is false; our own files leave that out.
        odd_metadata: The member `metadata` if it is none that is understood; written while the session has none.
    """

    extra: bytes
    times: dict[str, tuple[datetime, Raw]]
    tells_pinned: bool
    odd_metadata: bytes = b""


def message_bytes(message: Message) -> int:
    """Return about how many bytes a message takes, in a time that does not depend on its length."""
    content = message.content
    # getsizeof() would take a third of the whole time, and this runs for every message that is loaded.
    size = _MESSAGE_BYTES + (_ASCII_BYTES + len(content) if content.isascii() else getsizeof(content))
    if message.tool_calls is not None:
        size += _CALLS_BYTES
        for call in message.tool_calls:
            size += _CALL_BYTES + getsizeof(call.id) + getsizeof(call.name) + getsizeof(call.arguments)
    if message.tool_call_id is not None:
        size += getsizeof(message.tool_call_id)
    if message.inbound_id is not None:
        size += getsizeof(message.inbound_id)
    if (source := getattr(message, SOURCE, None)) is not None:
        size += _SOURCE_BYTES + _RAW_BYTES + len(memoryview(source))
    return size


def metadata_bytes(value: JSON) -> int:
    """Return about how many bytes some metadata takes, or a value of it."""
    size = 0 if value is None else getsizeof(value)  # None is shared
    if isinstance(value, dict):
        return size + sum(getsizeof(key) + metadata_bytes(each) for key, each in value.items())
    return size + sum(map(metadata_bytes, value)) if isinstance(value, list) else size


def session_bytes(session: Session) -> int:
    """Return about how many bytes a session takes; the first call counts them and stores the count with the session."""
    size: int | None = vars(session).get(_BYTES)
    if size is None:
        size = _SESSION_BYTES + sum(map(getsizeof, (session.session_id, session.channel, session.chat_id)))
        source: SessionSource | None = vars(session).get(SOURCE)
        if source is not None:
            size += len(source.extra) + sum(len(memoryview(text)) for _, text in source.times.values())
            size += len(source.odd_metadata)
        if session.metadata:
            size += metadata_bytes(session.metadata)
        size = vars(session)[_BYTES] = size + sum(map(message_bytes, session.messages))
    return size


def forget_first(session: Session, count: int) -> None:
    """Remove the first messages of a session; the rest is a new session, not pinned, with its messages alone."""
    del session.messages[:count]
    session.created_at = session.messages[0].timestamp if session.messages else session.last_accessed
    session.pinned = False
    session.metadata = {}
    vars(session).pop(SOURCE, None)
    forget_counts(session)


def forget_counts(session: Session) -> None:
    """Have the sizes of a session counted anew on their next use."""
    for key in (_BYTES, FILE_BYTES):
        vars(session).pop(key, None)


def set_session_bytes(session: Session, size: int) -> None:
    """Store the count of a session with it."""
    vars(session)[_BYTES] = size


def append_message(session: Session, message: Message, size: int) -> int:
    """Append a message to a session, and return by how many bytes the session grows in memory.

    Args:
        session: The session.
        message: The message.
        size: The bytes by which the session's file grows.
    """
    more = message_bytes(message)
    if FILE_BYTES in vars(session):
        vars(session)[FILE_BYTES] += size
    vars(session)[_BYTES] = session_bytes(session) + more
    session.messages.append(message)
    return more
