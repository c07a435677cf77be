"""Sessions and messages as other programs write them: read as far as they can be understood, and kept as they are.

A message whose form is not understood at all becomes a note of the role ``system``, which no model is given: its
content is its source text after `UNUSUAL`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from miniclaw.session.format import json_outline
from miniclaw.session.types import Message, Role, SessionHeader, ToolCall

UNUSUAL: Final = "[unusual form]"
"""How the content of a message begins whose form is not understood; its source text follows."""

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user", "human": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "bot": "assistant",
    "tool_result": "tool_result", "tool": "tool_result", "function": "tool_result",
    "system": "system", "developer": "system",
}  # fmt: skip
"""The roles of chat formats that are spread: OpenAI's, Gemini's, LangChain's."""

_NOT_PINNED: Final = frozenset({"", "0", "false", "no", "off", "null", "none"})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_NUMBER: Final = 946_684_800  # 2000-01-01: a smaller number, such as 0, is not when a chat was used
_UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)  # in a second, of times as a number
_LATEST_NUMBER: Final = 32_503_680_000  # 3000-01-01


def header_of(fields: Mapping[str, bytes]) -> SessionHeader:
    """Return the header of a session in an unusual form.

    Ids may be numbers, and channel and chat id may be missing; times are read as `time_of`. A pin that is not clearly
    none is one, for it keeps the session.

    Args:
        fields: The source texts of the values.

    Raises:
        ValueError: `session_id` or `last_accessed` is missing or cannot be understood.
    """
    session_id = _field(fields, "session_id")
    channel, underscore, chat_id = session_id.partition("_") if isinstance(session_id, str) else ("", "", "")
    if not underscore:
        raise ValueError("session_id is missing, or no text such as web_anna")
    last_accessed = time_of(_field(fields, "last_accessed"))
    if last_accessed is None:
        raise ValueError("last_accessed is missing, or no time such as 2026-02-14T15:45:00Z")
    pinned = _field(fields, "pinned")
    pinned = pinned.lower() not in _NOT_PINNED if isinstance(pinned, str) else bool(pinned)
    return SessionHeader(
        _id(session_id, ""), _id(_field(fields, "channel"), channel), _id(_field(fields, "chat_id"), chat_id),
        last_accessed, pinned,
    )  # fmt: skip


def created_of(fields: Mapping[str, bytes], otherwise: datetime) -> datetime:
    """Return when a session was created, or another time where it does not say so."""
    return time_of(_field(fields, "created_at")) or otherwise


def messages_of(fields: Mapping[str, bytes]) -> list[bytes]:
    """Return the source texts of a session's messages; what is no array is one message."""
    source = fields.get("messages", b"null")
    if source == b"null":
        return []
    return json_outline.elements(source) if source.startswith(b"[") else [source]


def message_of(source: bytes, otherwise: datetime) -> Message:
    """Return a message in an unusual form, as far as it can be understood.

    Args:
        source: Its text.
        otherwise: Its time, where it has none: that of the message before it.
    """
    try:
        return _message(json_outline.value_of(source), otherwise)
    except ValueError:
        text = json_outline.replaced(source.decode(errors="surrogateescape"))
        return Message("system", f"{UNUSUAL} {text}", otherwise)


def time_of(value: object) -> datetime | None:
    """Return a time: any form of ISO 8601, UTC where it names no zone, or a number of seconds, ms, µs or ns since 1970.

    Returns:
        The time, in UTC; None: it is none, or a number for one before 2000 or after 3000.
    """
    try:
        if isinstance(value, str) and not value.isdecimal():
            time = _time(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, (int, float, str)):
            number = float(value)
            for unit in _UNITS:
                if _EARLIEST_NUMBER <= number / unit <= _LATEST_NUMBER:
                    return _EPOCH + timedelta(seconds=number / unit)
    except (ValueError, OverflowError):
        pass
    return None


def _time(text: str) -> datetime:
    try:
        return msgspec.convert(text, datetime)  # which rounds to microseconds, as it does in usual files
    except msgspec.ValidationError:
        return datetime.fromisoformat(text.strip().upper())


def _field(fields: Mapping[str, bytes], name: str) -> object:
    source = fields.get(name)
    return None if source is None else json_outline.value_of(source)


def _id(value: object, otherwise: str) -> str:
    """Return an id, which may be a number.

    Raises:
        UnicodeEncodeError: It is not valid Unicode.
    """
    text = str(value) if type(value) in {str, int} else otherwise
    text.encode()
    return text


def _text(value: object, otherwise: str = "") -> str:
    """Return a text, or a whole number as one; U+FFFD stands for what cannot be encoded."""
    return json_outline.replaced(str(value)) if type(value) in {str, int} else otherwise


def _message(value: object, otherwise: datetime) -> Message:
    role = _ROLES.get(_text(value.get("role")).lower()) if isinstance(value, dict) else None
    if not isinstance(value, dict) or role is None:
        raise ValueError("its role is none that is known")
    calls = tuple(_calls(value.get("tool_calls")))
    if "content" not in value and not calls:
        raise ValueError("it has no content")
    return Message(
        role,
        _content(value.get("content")),
        time_of(value.get("timestamp")) or otherwise,
        calls or None,
        _text(value.get("tool_call_id")) or None,
        _text(value.get("inbound_id")) or None,
    )


def _content(value: object) -> str:
    """Return the text of a content: null is none, and of parts the texts count, and the types of the others.

    Raises:
        ValueError: It is an object.
    """
    if isinstance(value, list):
        return "\n".join(_part(part) for part in value)
    if not isinstance(value, dict):
        return "" if value is None else _text_or_json(value)
    raise ValueError("its content is an object")


def _part(part: object) -> str:
    if not isinstance(part, dict):
        return _content(part)
    return _text(part["text"]) if "text" in part else f"[{_text(part.get('type'), 'part')}]"


def _calls(value: object) -> Iterator[ToolCall]:
    """Yield the calls, of miniclaw's form or of OpenAI's.

    Raises:
        ValueError: They have another form.
    """
    for call in value if isinstance(value, list) else [] if value is None else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not _text(function.get("name")):
            raise ValueError("a call of a tool has another form")
        arguments = function.get("arguments", function.get("input", {}))
        yield ToolCall(_text(call.get("id")), _text(function["name"]), _text_or_json(arguments))


def _text_or_json(value: object) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))
