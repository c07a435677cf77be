"""The messages of a session in steps of encoding.

Between two steps the interpreter may switch threads, which keeps the event loop responsive.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from miniclaw.session.format.footprint import SOURCE, message_bytes, session_bytes
from miniclaw.session.types import Message, Session

_MESSAGES_PER_STEP: Final = 64
_BYTES_PER_STEP: Final = 256 * 1024  # of memory, at most, unless a single message takes more


def steps(session: Session) -> Iterator[list[Message | Raw]]:
    """Yield non-empty lists of messages, ready to be encoded, each list within the memory of one step."""
    is_large = session_bytes(session) > _BYTES_PER_STEP
    for start in range(0, len(session.messages), _MESSAGES_PER_STEP):
        part = session.messages[start : start + _MESSAGES_PER_STEP]
        for step in _small_enough(part) if is_large else (part,):
            # Not vars(), which would give every message a dict for good.
            yield [
                getattr(message, SOURCE, None)
                or (message if message.content.isascii() and message.tool_calls is None else apart(message))
                for message in step
            ]


def _small_enough(messages: list[Message]) -> Iterator[list[Message]]:
    if len(messages) > 1 and sum(map(message_bytes, messages)) > _BYTES_PER_STEP:
        middle = len(messages) // 2
        yield from _small_enough(messages[:middle])
        yield from _small_enough(messages[middle:])
    else:
        yield messages


def apart(message: Message) -> Message:
    """Return an equal message that may be encoded and dropped.

    A string that is not ASCII keeps its UTF-8 once it is encoded, for as long as it lives. That would be a second copy
    of a live session's text; for that reason a copy of the string is encoded and dropped.
    """
    if not message.content.isascii():
        message = replace(message, content=_copied(message.content))
    if message.tool_calls is not None and not all(call.arguments.isascii() for call in message.tool_calls):
        calls = [replace(call, arguments=_copied(call.arguments)) for call in message.tool_calls]
        message = replace(message, tool_calls=tuple(calls))
    return message


def _copied(text: str) -> str:
    return text[:1] + text[1:]
