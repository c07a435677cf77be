"""Session files survive decode and encode: every field, every digit, known or not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from miniclaw.errors import InvalidMessageError
from miniclaw.session.format.codec import (
    check_message,
    decode_header,
    decode_header_prefix,
    decode_session,
    encode_session,
    snapshot_session,
)
from miniclaw.session.format.footprint import message_bytes
from miniclaw.session.types import Message, Session, ToolCall

T = datetime(2026, 2, 14, 10, 30, tzinfo=UTC)

EARLIER = """{
  "session_id": "telegram_123456789",
  "channel": "telegram",
  "chat_id": "123456789",
  "created_at": "2026-02-14T10:30:00.123456789Z",
  "last_accessed": "2026-02-14T15:45:00.987654321Z",
  "messages": [
    {
      "role": "user",
      "content": "How is the weather?",
      "timestamp": "2026-02-14T10:30:00.000000001Z",
      "tool_calls": null,
      "tool_call_id": null
    },
    {
      "role": "assistant",
      "content": "",
      "timestamp": "2026-02-14T10:30:01.5Z",
      "tool_calls": [
        {
          "id": "call_1",
          "name": "weather",
          "arguments": "{\\"city\\": \\"Z\\u00fcrich\\"}"
        }
      ],
      "tool_call_id": null
    },
    {
      "role": "tool_result",
      "content": "sunny",
      "timestamp": "2026-02-14T10:30:02Z",
      "tool_calls": null,
      "tool_call_id": "call_1"
    }
  ]
}
"""

NUMBERS = (
    '{"big":123456789012345678901234567890123456789012345678901234567890,"over":1e400,"under":1E-400,'
    '"cents":1.50,"zero":-0,"zeros":[0.0,-0.0,0e0],"exact":0.1000000000000000055511151231257827,"i64":18446744073709551616}'
)

UNKNOWN_EVERYWHERE = f"""{{"version": 3, "session_id": "web_1", "channel": "web", "color": null, "chat_id": "1",
 "created_at": "2026-02-14T11:30:00+01:00", "numbers": {NUMBERS}, "last_accessed": "2026-02-14T05:00:00.10-05:30",
 "messages": [{{"mood": {NUMBERS}, "role": "assistant", "content": "x", "timestamp": "2026-02-14T11:30:00.100000+01:00",
   "tool_calls": [{{"id": "c", "type": "function", "name": "n", "arguments": "not json", "n": {NUMBERS}}},
                  {{"id": "d", "name": "n", "arguments": ""}}], "parts": [], "reply": {{"messages": ["messages"]}}}}],
 "": "empty key", "messages2": [[{{}}]], "caf\\u00e9 \\ud83d\\ude00": "\\u0000\\u2028\\/", "true": true}}"""

NON_ASCII = """{"session_id": "web_Zoë", "channel": "web", "chat_id": "Zoë", "created_at": "2026-02-14T10:30:00Z",
 "last_accessed": "2026-02-14T10:30:00Z", "messages": [{"role": "user", "content": "naïve 日本語 \U0001f600 \u2028 é",
 "timestamp": "2026-02-14T10:30:00Z"}, {"role": "system", "content": "\\u65e5 \\n \\/", "timestamp":
 "2026-02-14t10:30:00z"}], "título": "straße"}"""

SAMPLES = [EARLIER, UNKNOWN_EVERYWHERE, NON_ASCII]
IDS = ["earlier", "unknown", "non-ascii"]


def values(data: bytes | bytearray | str) -> dict[str, Any]:
    """Decode with numbers as their source text, and times as the strings that they are."""
    loaded: dict[str, Any] = json.loads(
        data, parse_float=lambda text: ("number", text), parse_int=lambda text: ("number", text)
    )
    return loaded


def new_session(messages: list[Message]) -> Session:
    return Session("web_1", "web", "1", T, T, messages)


@pytest.mark.parametrize("text", SAMPLES, ids=IDS)
def test_encode_session_of_foreign_file_keeps_every_value(text: str) -> None:
    """Load and save change no value at any level: digits, offsets, nulls and unknown fields stay."""
    assert values(encode_session(decode_session(text.encode()))) == values(text)


@pytest.mark.parametrize("text", SAMPLES, ids=IDS)
def test_encode_session_twice_is_stable(text: str) -> None:
    """What was saved once is saved again byte for byte."""
    once = encode_session(decode_session(text.encode()))
    assert encode_session(decode_session(bytes(once))) == once


@pytest.mark.parametrize("text", SAMPLES, ids=IDS)
def test_encode_session_after_access_changes_only_last_accessed(text: str) -> None:
    """A new last_accessed is written as it is, and nothing beside it is touched."""
    session = decode_session(text.encode())
    session.last_accessed = datetime(2027, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    after = values(encode_session(session))
    assert after.pop("last_accessed") == "2027-01-02T03:04:05.678900Z"
    before = values(text)
    before.pop("last_accessed")
    assert after == before


@pytest.mark.parametrize("text", SAMPLES, ids=IDS)
def test_encode_session_with_new_message_keeps_the_old_ones(text: str) -> None:
    """A message that is added stands last, and the ones that were read stay as they were."""
    session = decode_session(text.encode())
    session.messages.append(Message("user", "new", T))
    after = values(encode_session(session))["messages"]
    assert after[:-1] == values(text)["messages"]
    assert after[-1] == {"role": "user", "content": "new", "timestamp": "2026-02-14T10:30:00Z"}


@pytest.mark.parametrize("text", SAMPLES, ids=IDS)
def test_encode_session_puts_the_header_before_messages(text: str) -> None:
    """The five fields of the header come first, last_accessed before messages, unknown fields after them."""
    keys = list(values(encode_session(decode_session(text.encode()))))
    assert keys[:6] == ["session_id", "channel", "chat_id", "created_at", "last_accessed", "messages"]


def test_decode_session_of_earlier_file_reads_its_fields() -> None:
    """The file of an earlier implementation gives typed values: times to the microsecond, tool calls, roles."""
    session = decode_session(EARLIER.encode())
    assert session.session_id == "telegram_123456789"
    assert session.created_at - T == timedelta(microseconds=123457)
    assert session.last_accessed == datetime(2026, 2, 14, 15, 45, 0, 987654, tzinfo=UTC)
    user, assistant, result = session.messages
    assert (user.role, user.content, user.tool_calls, user.tool_call_id) == ("user", "How is the weather?", None, None)
    assert assistant.tool_calls == (ToolCall("call_1", "weather", '{"city": "Zürich"}'),)
    assert (result.role, result.tool_call_id) == ("tool_result", "call_1")


def test_decode_session_with_offset_reads_the_instant() -> None:
    """A time with another offset is the instant that it says."""
    session = decode_session(UNKNOWN_EVERYWHERE.encode())
    assert session.created_at == T
    assert session.last_accessed == T + timedelta(microseconds=100_000)
    assert decode_header(UNKNOWN_EVERYWHERE.encode()).last_accessed == session.last_accessed


def test_decode_session_without_messages_is_empty() -> None:
    """A session whose file has no messages has none."""
    text = '{"session_id":"web_1","channel":"web","chat_id":"1","created_at":"%s","last_accessed":"%s"}'
    session = decode_session((text % (T.isoformat(), T.isoformat())).encode())
    assert session.messages == []
    assert values(encode_session(session))["messages"] == []


def test_decode_session_with_duplicate_keys_takes_the_last() -> None:
    """Of doubled keys the last counts, in the session, in the header and for what is written back."""
    text = EARLIER.rstrip().removesuffix("}") + ',"last_accessed":"2027-02-14T15:45:00.5Z","x":1,"x":2}'
    session = decode_session(text.encode())
    assert session.last_accessed == datetime(2027, 2, 14, 15, 45, 0, 500_000, tzinfo=UTC)
    assert decode_header(text.encode()).last_accessed == session.last_accessed
    assert values(encode_session(session)) == values(text)


@pytest.mark.parametrize("last", ["[]", "null", '[{"role":"user","content":"b","timestamp":"2026-02-14T10:30:00Z"}]'])
def test_decode_session_with_messages_twice_has_all_of_them(last: str) -> None:
    """A save drops no message, whichever program has put a second array into the file."""
    session = decode_session(EARLIER.encode())
    doubled = decode_session((EARLIER.rstrip().removesuffix("}") + f',"messages":{last}}}').encode())
    count = len(session.messages)
    assert count > 0
    assert doubled.messages[:count] == session.messages
    assert [message.content for message in doubled.messages[count:]] == (["b"] if "b" in last else [])
    assert decode_session(bytes(encode_session(doubled))) == doubled
    assert doubled.created_at == session.created_at


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 129])
def test_encode_session_of_many_messages_is_whole(count: int) -> None:
    """Encoding in steps loses no message and doubles none, at the steps' borders too."""
    session = new_session([Message("user", str(n), T + timedelta(microseconds=n)) for n in range(count)])
    decoded = decode_session(bytes(encode_session(session)))
    assert decoded == session
    assert [message.content for message in decoded.messages] == [str(n) for n in range(count)]


def test_encode_session_of_5_megabytes_keeps_every_value() -> None:
    """A session of 5 MB with unknown fields in its messages comes back whole."""
    source = UNKNOWN_EVERYWHERE.replace('"messages": [{"mood"', '"messages": [' + _filler(5_000_000) + '{"mood"')
    data = source.encode()
    assert len(data) > 5_000_000
    assert values(encode_session(decode_session(data))) == values(data)


def _filler(size: int) -> str:
    one = '{"role":"user","content":"%07d é","timestamp":"2026-02-14T10:30:00.123456789Z","extra":1.50},'
    return "".join(one % n for n in range(size // len(one % 0) + 1))


def test_encode_session_of_own_making_matches_the_documented_form() -> None:
    """A new session is one compact line; absent tool fields are left out, UTC is written with Z."""
    session = new_session([Message("user", "hé", T)])
    assert encode_session(session).decode() == (
        '{"session_id":"web_1","channel":"web","chat_id":"1","created_at":"2026-02-14T10:30:00Z",'
        '"last_accessed":"2026-02-14T10:30:00Z","messages":[{"role":"user","content":"hé",'
        '"timestamp":"2026-02-14T10:30:00Z"}]}'
    )


@pytest.mark.parametrize(
    "message",
    [
        Message("user", "\ud800", T),
        Message("user", "", T, (ToolCall("1", "n", "\udfff"),)),
        Message("user", "", T.replace(tzinfo=None)),
        Message("tool_result", "without the call that it answers", T),
        Message("root", "", T),  # type: ignore[arg-type]
        Message("user", 7, T),  # type: ignore[arg-type]
        Message("user", "", "2026-02-14"),  # type: ignore[arg-type]
    ],
    ids=["surrogate", "surrogate in a call", "naive", "tool_result", "role", "content", "timestamp"],
)
def test_check_message_that_could_not_be_loaded_again_is_refused(message: Message) -> None:
    """What could not be saved and loaded is refused before it enters a session, with the project's own error."""
    with pytest.raises(InvalidMessageError):
        check_message(message)


def test_check_message_of_good_message_is_the_message_in_utc() -> None:
    """A good message passes unchanged; a time with an offset becomes the same instant in UTC."""
    message = Message("tool_result", "\0\u2028\U0001f600", T, (ToolCall("1", "n", "{"),), "1")
    assert check_message(message) == message
    moved = msgspec.structs.replace(message, timestamp=T.astimezone(timezone(timedelta(hours=-5, minutes=-30))))
    checked = check_message(moved)
    assert checked == message
    assert checked.timestamp.utcoffset() == timedelta(0)


def test_encode_session_with_offset_time_decodes_to_the_same_instant() -> None:
    """A time that was set with another offset still tells the same instant in the file."""
    session = new_session([])
    session.last_accessed = T.astimezone(timezone(timedelta(hours=-5, minutes=-30)))
    assert decode_session(bytes(encode_session(session))).last_accessed == T


def test_check_message_returns_one_that_takes_no_more_than_its_texts() -> None:
    """Checking encodes a message, which must not leave its UTF-8 in a session for good."""
    message = Message("assistant", "Привет" * 1000, T, (ToolCall("a", "b", "Привет" * 1000),))
    fresh = message_bytes(message)
    checked = check_message(message)
    assert checked == message
    assert message_bytes(checked) == fresh


def test_snapshot_session_is_not_reached_by_later_changes() -> None:
    """What happens to a session after its snapshot is not in the snapshot, and the other way round."""
    session = decode_session(UNKNOWN_EVERYWHERE.encode())
    copy = snapshot_session(session, session.session_id)
    session.messages.append(Message("user", "later", T))
    session.last_accessed += timedelta(days=1)
    copy.messages.clear()
    assert len(session.messages) == 2
    assert copy.last_accessed == session.last_accessed - timedelta(days=1)


def test_snapshot_session_keeps_what_the_file_held() -> None:
    """A snapshot is saved like the session itself, unknown fields and digits included."""
    for text in SAMPLES:
        session = decode_session(text.encode())
        copy = snapshot_session(session, session.session_id)
        assert copy == session
        session.messages.clear()
        assert values(encode_session(copy)) == values(text)


def pinned_file(where: str, value: str = "true") -> bytes:
    before, after = (f',"pinned":{value}', "") if where == "before" else ("", f',"pinned":{value}')
    return (
        '{"session_id":"web_1","channel":"web","chat_id":"1","created_at":"2026-02-14T10:30:00Z",'
        f'"last_accessed":"2026-02-14T10:30:00Z"{before},"messages":[],"x":1{after}}}'
    ).encode()


@pytest.mark.parametrize("where", ["before", "after"])
def test_decode_of_pinned_file_knows_the_pin_wherever_it_stands(where: str) -> None:
    """A file that others wrote may say it after the messages; we write it before them, so that the head tells it."""
    data = pinned_file(where)
    assert decode_session(data).pinned
    assert decode_header(data).pinned
    ours = bytes(encode_session(decode_session(data)))
    assert ours == pinned_file("before").replace(b',"x":1', b"")[:-1] + b',"x":1}'
    header = decode_header_prefix(ours)
    assert header is not None
    assert header.pinned


def test_encode_session_writes_a_pin_only_where_there_is_one() -> None:
    """A session that is not pinned is written as ever; a pin that is taken back leaves no trace of a new file."""
    session = new_session([])
    plain = encode_session(session)
    assert b"pinned" not in plain
    session.pinned = True
    assert list(values(encode_session(session)))[-2:] == ["pinned", "messages"]
    session.pinned = False
    assert encode_session(session) == plain


def test_encode_session_of_file_that_says_not_pinned_keeps_saying_it() -> None:
    """No field of a file that others wrote is lost, also where it only says what holds anyway."""
    for where in ("before", "after"):
        session = decode_session(pinned_file(where, "false"))
        assert not session.pinned
        assert values(encode_session(session)) == values(pinned_file(where, "false"))
        session.pinned = True
        assert values(encode_session(session))["pinned"] is True


def test_snapshot_session_keeps_the_pin() -> None:
    """What is saved is pinned as the session was at that moment."""
    session = new_session([])
    session.pinned = True
    copy = snapshot_session(session, "web_1")
    session.pinned = False
    assert copy.pinned
    assert decode_session(bytes(encode_session(copy))).pinned
