"""Sessions and messages as other programs write them: read as far as they are understood, and kept as they are.

A message whose form is not understood at all becomes a note of the role ``system``, which no model receives. Its
content is `UNUSUAL`, followed by its source text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Final

import msgspec

from miniclaw.formats import without_surrogates
from miniclaw.session.format import json_outline
from miniclaw.session.types import NO_TIME, Message, Role, SessionHeader, ToolCall

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

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_ISO_8601: Final = re.compile(
    r"""(?P<year>[0-9]{4})(?P<dash>-?)
        (?:(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})
        |W(?P<week>[0-9]{2})(?P=dash)(?P<weekday>[0-9])
        |(?P<day_of_year>[0-9]{3}))
        (?:(?:T|\ +)(?P<hour>[01][0-9]|2[0-4])
        (?:(?P<colon>:?)(?P<minute>[0-5][0-9])(?:(?P=colon)(?P<second>[0-5][0-9]|60))?)?
        (?:[.,](?P<fraction>[0-9]+))?
        \ *(?:Z|UTC|(?P<sign>[-+\u2212])(?P<zone_hour>[01][0-9]|2[0-3])(?::?(?P<zone_minute>[0-5][0-9]))?)?
        (?:\[[^\]]*\])?)?""",
    re.VERBOSE | re.IGNORECASE,
)
_EARLIEST_NUMBER: Final = 946_684_800  # 2000-01-01: a smaller number, such as 0, is not the time of a chat
_UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)  # per second, of times as a number
_LATEST_NUMBER: Final = 32_503_680_000  # 3000-01-01


def header_of(fields: Mapping[str, bytes], modified: datetime | None) -> SessionHeader:
    """Return the header of a session in an unusual form.

    Ids may be numbers, and channel and chat id may be missing. Times are read by `time_of`. Where `last_accessed` is
    none, the later one of `created_at` and the time of the file counts. A session counts as pinned unless its pin is
    clearly false, because a pin keeps the session.

    Args:
        fields: Field names, with the source texts of their values.
        modified: Time of the last write to the file, aware; None: not known.

    Raises:
        ValueError: `session_id` is missing or not understood, or no time is known.
    """
    session_id = _field(fields, "session_id")
    channel, underscore, chat_id = session_id.partition("_") if isinstance(session_id, str) else ("", "", "")
    if not underscore:
        raise ValueError("session_id is missing, or no text such as web_anna")
    last_accessed = field_time(fields, "last_accessed") or max(
        (time for time in (field_time(fields, "created_at"), modified) if time is not None and time > NO_TIME),
        default=None,
    )
    if last_accessed is None:
        raise ValueError("last_accessed is missing, or no time such as 2026-02-14T15:45:00Z")
    pinned = _field(fields, "pinned")
    pinned = pinned.lower() not in _NOT_PINNED if isinstance(pinned, str) else bool(pinned)
    return SessionHeader(
        _id(session_id, ""), _id(_field(fields, "channel"), channel), _id(_field(fields, "chat_id"), chat_id),
        last_accessed, pinned,
    )  # fmt: skip


def field_time(fields: Mapping[str, bytes], name: str) -> datetime | None:
    """Return the time in a field, or None if it is missing or not understood."""
    return time_of(_field(fields, name))


def message_of(source: bytes, otherwise: datetime) -> Message:
    """Return a message in an unusual form, as far as it is understood.

    Args:
        source: Its source text.
        otherwise: Its time if it has none: that of the message before it.
    """
    try:
        fields = json_outline.outline(source).values()
        known = fields.keys() & set(Message.__struct_fields__)
        return _message({name: _field(fields, name) for name in known}, otherwise)
    except ValueError:
        text = without_surrogates(source.decode(errors="surrogateescape"))
        return Message("system", f"{UNUSUAL} {text}", otherwise)


def time_of(value: object) -> datetime | None:
    """Return the time in a value: a form of ISO 8601, UTC if it names no zone, or seconds, ms, µs or ns since 1970.

    Admitted are dates by month, week or day of the year, in the basic and the extended form, to the day; after ``T`` or
    space a time to the hour, minute, second or a decimal fraction of them, 24:00 as the end of the day and second 60 as
    the next second; and a zone as ``Z``, ``UTC`` or an offset, maybe with a name in brackets, as in RFC 9557.

    Returns:
        The time, in UTC. None: the value is not a time, one up to `NO_TIME`, or a number for one before 2000 or after
        3000.
    """
    try:
        if isinstance(value, str):
            if _NUMBER.fullmatch(value) is None or (time := _time_of_number(float(value))) is None:
                time = _time(value.strip())
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
            return time if time > NO_TIME else None
        if isinstance(value, (int, float)):
            return _time_of_number(float(value))
    except (ValueError, OverflowError):
        pass
    return None


def _time_of_number(number: float) -> datetime | None:
    for unit in _UNITS:
        if _EARLIEST_NUMBER <= number / unit <= _LATEST_NUMBER:
            return NO_TIME + timedelta(seconds=number / unit)
    return None


def _time(text: str) -> datetime:
    try:
        return msgspec.convert(text, datetime)  # rounds to microseconds, as in usual files
    except msgspec.ValidationError:
        found = _ISO_8601.fullmatch(text)
    if found is None:
        raise ValueError("no time")
    parts = {name: int(digits) for name, digits in found.groupdict().items() if digits and digits.isdecimal()}
    hour, minute, second = (parts.get(name, 0) for name in ("hour", "minute", "second"))
    time = timedelta(hours=hour, minutes=minute, seconds=second)
    if fraction := found["fraction"]:
        unit = 1 if found["second"] else 60 if found["minute"] else 3600
        time += timedelta(seconds=unit) * int(fraction[:9]) // 10 ** len(fraction[:9])
    if hour == 24 and time > timedelta(days=1):
        raise ValueError("no time of a day")
    offset = timedelta(hours=parts.get("zone_hour", 0), minutes=parts.get("zone_minute", 0))
    return (datetime.combine(_date(parts), clock_time(), UTC) + time) + (offset if found["sign"] != "+" else -offset)


def _date(parts: Mapping[str, int]) -> date:
    year = parts["year"]
    if "month" in parts:
        return date(year, parts["month"], parts["day"])
    if "week" in parts:
        return date.fromisocalendar(year, parts["week"], parts["weekday"])
    found = date(year, 1, 1) + timedelta(days=parts["day_of_year"] - 1)
    if found.year != year:
        raise ValueError("no day of that year")
    return found


def _field(fields: Mapping[str, bytes], name: str) -> object:
    """Return the value of a field; None if it is missing, and `_TOO_DEEP` if it is nested too deeply."""
    source = fields.get(name)
    try:
        return None if source is None else json_outline.value_of(source)
    except ValueError:
        return _TOO_DEEP


def _id(value: object, otherwise: str) -> str:
    """Return an id, which may be an integer, as a text; `otherwise` for a value of another type."""
    text = str(value) if type(value) in {str, int} else otherwise
    text.encode()  # raises a ValueError if the id is not valid Unicode
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
    """Return the text of a content: empty for null; for a list, each part's text, or its type if it has no text."""
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
    """Yield the tool calls of a message, in miniclaw's form or in OpenAI's."""
    for call in value if isinstance(value, list) else [] if value is None else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not _text(function.get("name")):
            raise ValueError("a call of a tool has another form")
        arguments = function.get("arguments", function.get("input", {}))
        yield ToolCall(_text(call.get("id")), _text(function["name"]), _text_or_json(arguments))


def _text_or_json(value: object) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))
