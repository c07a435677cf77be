"""How much memory a session takes, closely enough to bound it: counted once, and then with each message.

What is counted is what CPython allocates for the objects of a session: measured on 3.11, where a test holds it against
`tracemalloc`. Strings that several messages share are counted with each of them. Not counted is what an allocator
rounds up, and the UTF-8 that a string keeps of itself once somebody else has encoded it
(`miniclaw.session.format.codec` takes care that it does not).
"""

from __future__ import annotations

from sys import getsizeof
from typing import Final

from miniclaw.session.types import Message, Session

SOURCE: Final = "_source"
"""Key in ``__dict__``, outside the fields, so that msgspec does not write it: what a file held besides them."""

_BYTES: Final = "_bytes"  # likewise: what was counted of a session

_SESSION_BYTES: Final = 1300  # the object, its three ids, two times, list and dict, and what it remembers of its file
_MESSAGE_BYTES: Final = 155  # the object, its time, and its place in the list; the role is shared
_ASCII_BYTES: Final = getsizeof("")  # a string but for its characters, if these are ASCII
_CALLS_BYTES: Final = 48  # the tuple
_CALL_BYTES: Final = 64  # the object and its place in the tuple
_SOURCE_BYTES: Final = 250  # the dict, and an object around the text
_RAW_BYTES: Final = 33  # a bytes object but for its content


def message_bytes(message: Message) -> int:
    """Return about how many bytes a message takes; the same effort however long it is."""
    content = message.content
    # Quicker than asking, which takes a third of the whole: this is done for every message that is loaded.
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


def session_bytes(session: Session) -> int:
    """Return about how many bytes a session takes; counted at the first call, and remembered with the session."""
    size: int | None = vars(session).get(_BYTES)
    if size is None:
        size = vars(session)[_BYTES] = _SESSION_BYTES + sum(map(message_bytes, session.messages))
    return size


def forget_first(session: Session, count: int) -> None:
    """Take the first messages out of a session, and what its file held besides; what is left is a new one."""
    del session.messages[:count]
    if session.messages:
        session.created_at = session.messages[0].timestamp
    session.pinned = False
    for key in (SOURCE, _BYTES):
        vars(session).pop(key, None)


def append_message(session: Session, message: Message) -> int:
    """Append a message to a session, and return how many bytes more it takes."""
    more = message_bytes(message)
    vars(session)[_BYTES] = session_bytes(session) + more
    session.messages.append(message)
    return more
