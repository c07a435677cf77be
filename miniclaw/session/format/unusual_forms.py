"""Sessions and messages as other programs write them: read as far as they are understood, and kept as they are.

A message whose form is not understood at all becomes a note of the role ``system``, which no model receives. Its
content is `UNUSUAL`, followed by its source text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from miniclaw.formats import without_surrogates
from miniclaw.session.format import json_outline
from miniclaw.session.types import Message, Role, SessionHeader, ToolCall

UNUSUAL: Final = "[unusual form]"
"""The beginning of the content of a message whose form is not understood; its source text follows."""

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user", "human": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "bot": "assistant",
    "tool_result": "tool_result", "tool": "tool_result", "function": "tool_result",
    "system": "system", "developer": "system",
}  # fmt: skip
"""The roles of common chat formats: OpenAI's, Gemini's, LangChain's."""

_TOO_DEEP: Final = object()  # in place of an array or object that is nested too deeply; like it, true
_NOT_PINNED: Final = frozenset({"", "0", "false", "no", "off", "null", "none"})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_NUMBER: Final = 946_684_800  # 2000-01-01: a smaller number, such as 0, is not the time of a chat
_UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)  # per second, of times as a number
_LATEST_NUMBER: Final = 32_503_680_000  # 3000-01-01


def header_of(fields: Mapping[str, bytes]) -> SessionHeader:
    """Return the header of a session in an unusual form.

    Ids may be numbers, and channel and chat id may be missing. Times are read by `time_of`. A session counts as pinned
    unless its pin is clearly false, because a pin keeps the session.

    Args:
        fields: Field names, with the source texts of their values.

    Raises:
        ValueError: `session_id` or `last_accessed` is missing or not understood.
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
    """Return a session's time of creation, or `otherwise` if that is missing or not understood."""
    return time_of(_field(fields, "created_at")) or otherwise


def message_of(source: bytes, otherwise: datetime) -> Message:
    """Return a message in an unusual form, as far as it is understood.

    Args:
        source: Its source text.
        otherwise: Its time if it has none: that of the message before it.
    """
    try:
        fields = {name: value for name, (_, value) in json_outline.outline(source).members.items()}
        known = fields.keys() & set(Message.__struct_fields__)
        return _message({name: _field(fields, name) for name in known}, otherwise)
    except ValueError:
        text = without_surrogates(source.decode(errors="surrogateescape"))
        return Message("system", f"{UNUSUAL} {text}", otherwise)


def time_of(value: object) -> datetime | None:
    """Return the time in a value: ISO 8601, UTC if it names no zone, or a number of seconds, ms, µs or ns since 1970.

    Returns:
        The time, in UTC. None: the value is not a time, or a number for one before 2000 or after 3000.
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
        return msgspec.convert(text, datetime)  # rounds to microseconds, as in usual files
    except msgspec.ValidationError:
        return datetime.fromisoformat(text.strip().upper())


def _field(fields: Mapping[str, bytes], name: str) -> object:
    """Return the value of a field; None if it is missing, and `_TOO_DEEP` if it is nested too deeply."""
    source = fields.get(name)
    try:
        return None if source is None else json_outline.value_of(source)
    except ValueError:
        return _TOO_DEEP


def _id(value: object, otherwise: str) -> str:
    """Return an id, which may be an integer, as a text; `otherwise` for a value of another type.

    Raises:
        UnicodeEncodeError: The id is not valid Unicode.
    """
    text = str(value) if type(value) in {str, int} else otherwise
    text.encode()
    return text


def _text(value: object, otherwise: str = "") -> str:
    """Return a text, or an integer as a text, with U+FFFD in place of characters that cannot be encoded."""
    return without_surrogates(str(value)) if type(value) in {str, int} else otherwise


def _message(value: Mapping[str, object], otherwise: datetime) -> Message:
    role = _ROLES.get(_text(value.get("role")).lower())
    if role is None:
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
    """Return the text of a content: empty for null; for a list, each part's text, or its type if it has no text.

    Raises:
        ValueError: The content is an object, or nested too deeply.
    """
    if isinstance(value, list):
        return "\n".join(_part(part) for part in value)
    if value is not _TOO_DEEP and not isinstance(value, dict):
        return "" if value is None else _text_or_json(value)
    raise ValueError("its content is an object")


def _part(part: object) -> str:
    if not isinstance(part, dict):
        return _content(part)
    return _text(part["text"]) if "text" in part else f"[{_text(part.get('type'), 'part')}]"


def _calls(value: object) -> Iterator[ToolCall]:
    """Yield the tool calls of a message, in miniclaw's form or in OpenAI's.

    Raises:
        ValueError: A call has another form.
    """
    for call in value if isinstance(value, list) else [] if value is None else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not _text(function.get("name")):
            raise ValueError("a call of a tool has another form")
        arguments = function.get("arguments", function.get("input", {}))
        yield ToolCall(_text(call.get("id")), _text(function["name"]), _text_or_json(arguments))


def _text_or_json(value: object) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))
