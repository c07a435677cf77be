"""Sessions as other programs write them serve their people, and nothing of them is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog
import trio
from hypothesis import given, settings

from miniclaw.session.format import json_outline
from miniclaw.session.format.codec import (
    decode_header,
    decode_header_prefix,
    decode_session,
    encode_session,
    is_plain_json,
    plainly,
)
from miniclaw.session.format.unusual_forms import UNUSUAL, time_of
from miniclaw.session.types import NO_TIME, Message, ToolCall
from tests.fakes.json_corpus import EITHER, INVALID, VALID
from tests.fakes.logs import LogRecorder
from tests.fakes.session_shapes import SessionShape, is_usual, session_shapes
from tests.soak.session_files import serve

MESSAGE = b'{"role":"user","content":"hi","timestamp":"2026-02-14T10:30:00Z"}'
SAID_AT = datetime(2026, 2, 14, 10, 30, tzinfo=UTC)
USED_AT = datetime(2026, 2, 14, 15, 45, tzinfo=UTC)
GOOD = (
    b'{"session_id":"web_1","channel":"web","chat_id":"1","created_at":"2026-02-14T10:30:00Z",'
    b'"last_accessed":"2026-02-14T15:45:00Z","x":0,"messages":[' + MESSAGE + b"]}"
)
DEEP_LISTS = b"[" * 100_000 + b"]" * 100_000
MANY_DIGITS = b"9" * 5000  # more than int() takes
DEEP_OBJECTS = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


def used(value: bytes) -> bytes:
    return changed(b'"2026-02-14T15:45:00Z"', value)


def with_message(message: bytes) -> bytes:
    return changed(MESSAGE, message)


SAME = {
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + GOOD.decode().encode("utf-16-be"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "NUL bytes after the end": GOOD + b"\0" * 4096,
    "NUL bytes after the end of UTF-16": GOOD.decode().encode("utf-16") + b"\0" * 512,
    "last_accessed without zone": used(b'"2026-02-14T15:45:00"'),
    "last_accessed with a space": used(b'"2026-02-14 15:45"'),
    "last_accessed in the basic form": used(b'"20260214T154500Z"'),
    "last_accessed in small letters": used(b'"2026-02-14t15:45:00,0z"'),
    "last_accessed with an offset": used(b'"2026-02-14T17:45+02"'),
    "last_accessed in seconds": used(b"1771083900"),
    "last_accessed in seconds, as text": used(b'"1771083900"'),
    "last_accessed in milliseconds": used(b"1771083900000"),
    "last_accessed in nanoseconds": used(b"1771083900000000000"),
    "last_accessed of two, the first wrong": GOOD.replace(b"{", b'{"last_accessed":1,', 1),
    "created_at without zone": changed(b'"created_at":"2026-02-14T10:30:00Z"', b'"created_at":"2026-02-14T10:30:00"'),
    "chat_id a number": changed(b'"chat_id":"1"', b'"chat_id":1'),
    "chat_id missing": changed(b'"chat_id":"1",', b""),
    "chat_id nested too deeply": changed(b'"chat_id":"1"', b'"chat_id":' + DEEP_OBJECTS),
    "channel nested too deeply": changed(b'"channel":"web"', b'"channel":' + DEEP_LISTS),
    "many digits in an unknown field": changed(b'"x":0', b'"x":' + MANY_DIGITS + b',"pinned":0'),
    "channel missing": changed(b'"channel":"web",', b""),
    "pinned null": changed(b'"x":0', b'"x":0,"pinned":null'),
    "pinned no": changed(b'"x":0', b'"x":0,"pinned":"No"'),
    "NaN in an unknown field": changed(b'"x":0', b'"x":NaN'),
    "Infinity in an unknown field": changed(b'"x":0', b'"x":[-Infinity]'),
    "lone surrogate in an unknown field": changed(b'"x":0', b'"x":"\\ud800"'),
    "lone surrogate in an unknown name": changed(b'"x":0', b'"\\ud800":"x"'),
    "unknown name that is not UTF-8": changed(b'"x":0', b'"\xff":"x"'),
    "control characters": changed(b'"x":0', b'"x":"\n\x01"'),
    "100,000 lists": changed(b'"x":0', b'"x":' + DEEP_LISTS),
    "100,000 objects": changed(b'"x":0', b'"x":' + DEEP_OBJECTS),
}
"""Forms of one session: each is read as the same one."""


@pytest.mark.parametrize("name", SAME)
def test_session_in_unusual_form_is_the_same(name: str) -> None:
    """The header, the whole and the messages are those of the usual form."""
    header, session = decode_header(SAME[name]), decode_session(SAME[name])
    assert (header.session_id, header.channel, header.chat_id) == ("web_1", "web", "1")
    assert header.pinned is session.pinned
    assert header.last_accessed == session.last_accessed == USED_AT
    assert session.created_at == SAID_AT
    assert not session.pinned
    assert session.messages == [Message("user", "hi", SAID_AT)]


@pytest.mark.parametrize("name", SAME)
def test_session_in_unusual_form_keeps_its_unknown_fields(name: str) -> None:
    """Saved again, it holds the source text of its unknown field, and is the same session once more."""
    written = bytes(encode_session(decode_session(SAME[name])))
    start = SAME[name].find(b'"x":')
    if start >= 0 and not name.startswith("UTF"):
        kept = SAME[name][start : SAME[name].index(b',"messages"')].partition(b',"pinned"')[0]
        assert kept in written
    again = decode_session(written)
    assert (again.session_id, again.messages) == ("web_1", [Message("user", "hi", SAID_AT)])


@pytest.mark.parametrize("value", [b"1", b'"true"', b'"yes"', b"[1]", MANY_DIGITS, DEEP_LISTS, DEEP_OBJECTS, b"NaN"])
def test_pin_that_is_not_clearly_none_keeps_the_session(value: bytes) -> None:
    """Doubt about a pin is no reason to delete."""
    assert decode_header(changed(b'"x":0', b'"pinned":' + value)).pinned


NO_TIMES = (
    b"null", b"[]", b"{}", b"true", b'""', b'"yesterday"', b'"10000-01-01T00:00:00Z"', b'"0000-01-01T00:00:00Z"',
    b'"2026-02-30T00:00:00Z"', b"0", b"1", b"-1", b"946684799", b"NaN", b"1e300", b'"0"', b'"2026-11"', MANY_DIGITS,
    DEEP_LISTS, b'"0001-01-01T00:00:00Z"', b'"0001-01-01T00:00:00+12:00"', b'"1970-01-01T01:00:00+01:00"',
    b'"9999-12-31T23:59:60Z"',
)  # fmt: skip
"""Values that are no time, among them the zeros that programs write where they know none."""


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("modified", [USED_AT, SAID_AT - timedelta(days=1), NO_TIME, None])
def test_last_use_that_is_no_time_is_the_later_other_time(value: bytes, modified: datetime | None) -> None:
    """An odd time neither takes a session from its person nor makes it expired: `created_at` or the file's time counts."""
    data = used(value)
    session = decode_session(data, modified)
    assert session.last_accessed == (USED_AT if modified == USED_AT else SAID_AT)
    assert decode_header(data, modified).last_accessed == session.last_accessed
    assert decode_header_prefix(data) is None
    assert decode_session(bytes(encode_session(session))) == session, "a save keeps the time that counted"


@pytest.mark.parametrize("value", NO_TIMES)
def test_session_of_no_time_at_all_is_the_file_s(value: bytes) -> None:
    """Only where the file's time is not known either, the session is damaged, and thus kept."""
    data = used(value).replace(b'"2026-02-14T10:30:00Z","last', value + b',"last')
    session = decode_session(data, USED_AT)
    assert session.created_at == session.last_accessed == USED_AT
    for decode in (decode_header, decode_session):
        for modified in (NO_TIME, None):
            with pytest.raises(ValueError, match=r"last_accessed"):
                decode(data, modified)


@pytest.mark.parametrize("value", NO_TIMES)
def test_message_of_no_time_has_that_of_the_message_before(value: bytes) -> None:
    """Its source text is kept, time included."""
    source = MESSAGE.replace(b'"2026-02-14T10:30:00Z"', value)
    session = decode_session(with_message(MESSAGE + b"," + source))
    assert session.messages == [Message("user", "hi", SAID_AT)] * 2
    assert MESSAGE + b"," + source in encode_session(session)


def test_session_without_created_at_began_with_its_last_use() -> None:
    """Retention does not need the field, and the session serves without."""
    session = decode_session(changed(b'"created_at"', b'"made_at"'))
    assert session.created_at == USED_AT
    assert b'"made_at":"2026-02-14T10:30:00Z"' in encode_session(session)


@pytest.mark.parametrize("value", NO_TIMES)
def test_created_at_that_is_no_time_is_the_last_use(value: bytes) -> None:
    """Its source text is kept, as that of any other part that is not understood."""
    session = decode_session(changed(b'"2026-02-14T10:30:00Z","last', value + b',"last'))
    assert session.created_at == USED_AT
    assert b'"created_at":' + value in encode_session(session)


@pytest.mark.parametrize("name", ["byte order mark", "UTF-16", "UTF-32", "NUL bytes after the end of UTF-16"])
def test_other_encoding_of_a_usual_session_is_decoded_by_msgspec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file is as frequent as large, and is not read in parts."""
    monkeypatch.setattr(json_outline, "outline", None)
    assert decode_session(SAME[name]) == decode_session(GOOD)
    assert decode_header(SAME[name]) == decode_header(GOOD)


def test_parts_are_read_one_after_the_other() -> None:
    """No step reads all messages of a session, however many there are: other threads run between two of them."""
    parts = json_outline.parts(b'{"messages":[{"a":[0]},[' + b'{"a":"b"},' * 1000, 2)
    assert [next(parts) for _ in range(2)] == [(1, 1, 11), (2, 13, 22)]
    with pytest.raises(ValueError, match="no JSON any more at byte 10024"):
        next(parts)


ODD_VALUES = {
    b"NaN": b'"NaN"',
    b'[-Infinity,{"a":Infinity}]': b'["-Infinity",{"a":"Infinity"}]',
    b'["\\ud83d","\\ud83d\\ude00","NaN"]': '["\ufffd","\\ud83d\\ude00","NaN"]'.encode(),
    b'{"\xff":"\xc3\xa9\xc3"}': '{"\ufffd":"é\ufffd"}'.encode(),
    b'"\\"\n\x01\\n"': b'"\\"\\n\\u0001\\n"',
    b"[" * 99 + b'["a",NaN]' + b"]" * 99: b"[" * 99 + b'"[\\"a\\",NaN]"' + b"]" * 99,
    DEEP_LISTS: b"[" * 99 + b'"' + b"[" * 99_901 + b"]" * 99_901 + b'"' + b"]" * 99,
}
"""Values that some JSON decoders refuse, and the form in which all of them read these."""


@pytest.mark.parametrize("value", ODD_VALUES)
def test_plainly_loses_no_unknown_field(value: bytes) -> None:
    """A part that some decoders refuse is printed in another form, and everything else unchanged."""
    source = changed(b'"x":0', b'"title":"Holi\\u0064ay","x":' + value + b',"notes":[1.0,"a"]')
    expected = b'"title":"Holi\\u0064ay","x":' + ODD_VALUES[value] + b',"notes":[1.0,"a"]'
    for document in (source, b"\xef\xbb\xbf" + source + b"\0", bytes(encode_session(decode_session(source)))):
        plain = plainly(document)
        assert is_plain_json(plain)
        assert expected in plain
        assert decode_session(plain).messages == [Message("user", "hi", SAID_AT)]


@pytest.mark.parametrize("value", ODD_VALUES)
def test_plainly_loses_no_unknown_field_of_a_message(value: bytes) -> None:
    """A message is printed with all its fields as well, and is understood as the message of the file."""
    source = b'{"role":"user","title":1.0,"content":"hi","x":{"y":' + value + b'},"timestamp":"2026-02-14T10:30:00Z"}'
    plain = plainly(encode_session(decode_session(with_message(source))))
    assert is_plain_json(plain)
    assert b'{"role":"user","title":1.0,"content":"hi","x":{"y":' in plain
    assert decode_session(plain).messages == [Message("user", "hi", SAID_AT)]


@pytest.mark.parametrize(("value", "count"), [(b"null", 0), (b"[]", 0), (b"{}", 1), (b'"hi"', 1), (b"7", 1)])
def test_messages_that_are_no_array_are_one_message(value: bytes, count: int) -> None:
    """Of them the source text is kept as well."""
    session = decode_session(changed(b"[" + MESSAGE + b"]", value))
    assert len(session.messages) == count
    if count:
        assert session.messages[0].content == f"{UNUSUAL} {value.decode()}"
        assert encode_session(session).endswith(b'"messages":[' + value + b'],"x":0}')


UNDERSTOOD = {
    b'{"role":"assistant","content":null,"timestamp":"2026-02-14T10:30:00Z","tool_calls":[{"id":"c","name":"f","arguments":"{}"}]}':
        Message("assistant", "", SAID_AT, (ToolCall("c", "f", "{}"),)),
    b'{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{}},"here"]}':
        Message("user", "look\n[image_url]\nhere", SAID_AT),
    b'{"role":"tool","content":"42","tool_call_id":"c"}': Message("tool_result", "42", SAID_AT, tool_call_id="c"),
    b'{"role":"function","content":42,"tool_call_id":7}': Message("tool_result", "42", SAID_AT, tool_call_id="7"),
    b'{"role":"Human","content":"hi"}': Message("user", "hi", SAID_AT),
    b'{"role":"model","content":"hi"}': Message("assistant", "hi", SAID_AT),
    b'{"role":"developer","content":"be kind"}': Message("system", "be kind", SAID_AT),
    b'{"role":"user","content":"hi","timestamp":1771065000}': Message("user", "hi", SAID_AT),
    b'{"role":"user","content":"hi","timestamp":"2026-02-14T10:30"}': Message("user", "hi", SAID_AT),
    b'{"role":"user","content":"hi","timestamp":"today"}': Message("user", "hi", SAID_AT),
    b'{"role":"user","content":"a\\ud83db","timestamp":"2026-02-14T10:30:00Z"}': Message("user", "a\ufffdb", SAID_AT),
    b'{"role":"user","content":"a\xffb","timestamp":"2026-02-14T10:30:00Z"}': Message("user", "a\ufffdb", SAID_AT),
    b'{"role":"user","content":"a\nb","timestamp":"2026-02-14T10:30:00Z"}': Message("user", "a\nb", SAID_AT),
    b'{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}':
        Message("assistant", "", SAID_AT, (ToolCall("c", "f", "{}"),)),
    b'{"role":"assistant","tool_calls":{"id":1,"name":"f","arguments":{"a":[1]}}}':
        Message("assistant", "", SAID_AT, (ToolCall("1", "f", '{"a":[1]}'),)),
    b'{"role":"assistant","content":"","tool_calls":[{"id":"c","name":"f","input":null}]}':
        Message("assistant", "", SAID_AT, (ToolCall("c", "f", "null"),)),
    b'{"role":"user","content":"hi","inbound_id":5,"x":NaN}': Message("user", "hi", SAID_AT, inbound_id="5"),
    b'{"role":"user","content":"hi","x":' + DEEP_LISTS + b"}": Message("user", "hi", SAID_AT),
    b'{"role":"user","content":' + b"[" * 100 + b"]" * 100 + b"}": Message("user", "", SAID_AT),
    b'{"role":"user","content":"hi","x":' + MANY_DIGITS + b',"inbound_id":null}': Message("user", "hi", SAID_AT),
    b'{"role":"user","content":' + MANY_DIGITS + b"}": Message("user", MANY_DIGITS.decode(), SAID_AT),
    b'{"role":"user","content":"hi","timestamp":' + MANY_DIGITS + b"}": Message("user", "hi", SAID_AT),
    b'{"role":"user","content":"hi","inbound_id":-' + MANY_DIGITS + b"}":
        Message("user", "hi", SAID_AT, inbound_id="-" + MANY_DIGITS.decode()),
    b'{"role":"tool","content":"hi","tool_call_id":' + DEEP_LISTS + b"}": Message("tool_result", "hi", SAID_AT),
    b'{"role":"assistant","tool_calls":{"id":1,"name":"f","arguments":[' + MANY_DIGITS + b"]}}":
        Message("assistant", "", SAID_AT, (ToolCall("1", "f", f'["{MANY_DIGITS.decode()}"]'),)),
}  # fmt: skip
"""Messages of other programs, and as what they are read."""


@pytest.mark.parametrize("source", UNDERSTOOD)
def test_message_in_known_form_is_understood_and_kept(source: bytes) -> None:
    """It is read as a usual one, and is written as it was, byte for byte."""
    session = decode_session(with_message(source + b"," + MESSAGE))
    assert session.messages == [UNDERSTOOD[source], Message("user", "hi", SAID_AT)]
    assert source + b"," + MESSAGE in encode_session(session)


NOT_UNDERSTOOD = (
    b"7", b"null", b'"hi"', b"[]", b"{}", b'{"role":"root","content":"hi"}', b'{"role":["user"],"content":"hi"}',
    b'{"role":"user"}', b'{"role":"user","text":"hi"}', b'{"role":"user","content":{"text":"hi"}}',
    b'{"role":"assistant","content":"","tool_calls":[7]}', b'{"role":"assistant","content":"","tool_calls":[{"id":"1"}]}',
    *(b'{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}" for depth in (101, 300, 500, 700, 900, 5000)),
    b'{"role":"assistant","content":"","tool_calls":[{"name":"f","arguments":' + DEEP_OBJECTS + b"}]}",
)  # fmt: skip


@pytest.mark.parametrize("source", NOT_UNDERSTOOD)
def test_message_in_unknown_form_is_a_note_with_its_source(source: bytes) -> None:
    """No model is given it, people see its source text, and it is written as it was."""
    session = decode_session(with_message(MESSAGE + b"," + source))
    assert session.messages[1] == Message("system", f"{UNUSUAL} {source.decode()}", SAID_AT)
    assert MESSAGE + b"," + source in encode_session(session)


@pytest.mark.parametrize("source", [*VALID, *EITHER])
def test_any_value_as_a_message_blocks_no_session(source: bytes) -> None:
    """Each JSON value may stand among the messages; it is kept, and the others are read."""
    session = decode_session(with_message(source + b"," + MESSAGE))
    assert session.messages[1:] == [Message("user", "hi", SAID_AT)]
    assert b'"messages":[' + source + b"," + MESSAGE in encode_session(session)


@pytest.mark.parametrize("source", INVALID[1:])
def test_damaged_value_as_a_message_is_damage(source: bytes) -> None:
    """A file that is no JSON is not taken for an unusual one: it goes to quarantine, whole."""
    with pytest.raises(ValueError, match=r"\w"):
        decode_session(with_message(source))


@given(session_shapes(damaged=False))
def test_session_of_any_shape_with_sound_header_is_served(shape: SessionShape) -> None:
    """Whatever stands in it: it is read, each message stays, and a second reading is the same."""
    session = decode_session(shape.data)
    written = bytes(encode_session(session))
    assert decode_session(written) == session
    assert len(session.messages) == len(shape.messages)
    assert all(source in written or is_usual(source) for source in shape.messages)
    plain = plainly(written)
    assert is_plain_json(plain)
    for message, again in zip(session.messages, decode_session(plain).messages, strict=True):
        assert again.content == message.content or again.content.startswith(UNUSUAL) == message.content.startswith(
            UNUSUAL
        )


@settings(max_examples=30)
@given(shape=session_shapes())
def test_file_of_any_shape_blocks_no_chat(shape: SessionShape) -> None:
    """Its person can write, and the file serves or is in quarantine; `tests.soak.session_files` tries it for an hour."""
    structlog.configure(processors=[LogRecorder()])  # an ERROR is right where a file is damaged
    with TemporaryDirectory() as folder:
        trio.run(serve, Path(folder), shape)


TIMES = {
    "2026-11-29": "2026-11-29T00:00",
    "20261129": "2026-11-29T00:00",
    "2026-333": "2026-11-29T00:00",
    "2026333": "2026-11-29T00:00",
    "2026-W48-7": "2026-11-29T00:00",
    "2026W487": "2026-11-29T00:00",
    "2026-W48-7 15:45": "2026-11-29T15:45",
    "20261129T1545": "2026-11-29T15:45",
    "2026-11-29t15:45:30z": "2026-11-29T15:45:30",
    " 2026-11-29  15:45:30 UTC ": "2026-11-29T15:45:30",
    "2026-11-29T15Z": "2026-11-29T15:00",
    "2026-11-29T15.5Z": "2026-11-29T15:30",
    "2026-11-29T15:45,25": "2026-11-29T15:45:15",
    "20261129T154530.1234567Z": "2026-11-29T15:45:30.123456",
    "2026-11-29T15:45:30." + "0" * 5000 + "Z": "2026-11-29T15:45:30",
    "2026-11-29T24:00:00Z": "2026-11-30T00:00",
    "2026-12-31T24Z": "2027-01-01T00:00",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00",
    "2016-12-31T23:59:60.5Z": "2017-01-01T00:00:00.5",
    "2016-12-31T15:59:60-08:00": "2017-01-01T00:00",
    "2026-11-29T15:45:00+01": "2026-11-29T14:45",
    "2026-11-29 15:45:00 -0130": "2026-11-29T17:15",
    "2026-11-29T15:45:00\u221201:00": "2026-11-29T16:45",
    "2026-11-29T15:45:00+01:00[Europe/Berlin]": "2026-11-29T14:45",
    "1764400000.5": "2025-11-29T07:06:40.5",
    1764400000.5: "2025-11-29T07:06:40.5",
}


@pytest.mark.parametrize("value", TIMES)
def test_time_of_other_form_is_read_without_a_guess(value: object) -> None:
    """Each form that the documentation names is read as the moment that it says."""
    assert time_of(value) == datetime.fromisoformat(TIMES[value] + "+00:00")


@pytest.mark.parametrize(
    "value",
    [
        "", "yesterday", "2026", "2026-11", "2026-W48", "2026-13-01", "2026-366", "2026-000", "2026-W54-1", "2026-W01-8",
        "25:00", "2026-11-29T24:00:01Z", "2026-11-29T25:00Z", "2026-11-29T15:60Z", "2026-11-29T15:45:61Z",
        "2026-11-29T15:45+24:00", "2026-1129", "+002026-11-29T15:45:00Z", "0001-01-01T00:00:00Z", "1_764_400_000",
        "1970-01-01", "nan", "NaN", "Infinity", "٢٠٢٦-11-29", [], {}, None, float("nan"), float("inf"), True,
    ],
)  # fmt: skip
def test_time_of_no_time_is_none(value: object) -> None:
    """A text that names no time is not taken for one."""
    assert time_of(value) is None


def test_time_of_the_end_of_time_does_not_overflow() -> None:
    """A time with more digits than a microsecond is rounded down, and one at the end of time does not overflow."""
    assert time_of("9999-12-31T23:59:59.999999999Z") == datetime.max.replace(tzinfo=UTC)
    assert time_of("9999-12-31T23:59:59-12:00") is None
