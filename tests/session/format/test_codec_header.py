"""The header from the beginning of a file is the header of the file, or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.format.codec import (
    HEADER_PREFIX_BYTES,
    decode_header,
    decode_header_prefix,
    decode_session,
    encode_session,
)
from miniclaw.session.types import Message, Session, SessionHeader

T = datetime(2026, 2, 14, 15, 45, tzinfo=UTC)
CREATED = datetime(2026, 2, 14, 10, 30, tzinfo=UTC)
HEADER = SessionHeader("web_1", "web", "1", T)

KNOWN = {
    "session_id": '"web_1"',
    "channel": '"web"',
    "chat_id": '"1"',
    "created_at": '"2026-02-14T10:30:00Z"',
    "last_accessed": '"2026-02-14T15:45:00.000000000Z"',
}
STRINGS = st.one_of(
    st.sampled_from(["messages", '"messages', '"messages"', ',"messages":[', "last_accessed", "\\", '\\"', "}", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), STRINGS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(STRINGS, inner, max_size=3)),
    max_leaves=6,
)
SPACE = st.sampled_from(["", "", " ", "\n  ", "\t", "\r\n"])


@st.composite
def session_files(draw: st.DrawFn) -> bytes:
    """Draw a valid session file with any order, any spacing, and "messages" at every place a string can stand."""
    message = {"role": "user", "content": draw(STRINGS), "timestamp": "2026-02-14T10:30:00Z", "extra": draw(JSON)}
    fields = dict(KNOWN)
    fields["messages"] = json.dumps([message] * draw(st.integers(0, 2)), ensure_ascii=draw(st.booleans()))
    unknown = STRINGS.filter(lambda key: key != "pinned")
    for key, value in draw(st.dictionaries(unknown, JSON, max_size=4)).items():
        fields.setdefault(key, json.dumps(value, ensure_ascii=draw(st.booleans())))
    if draw(st.booleans()):
        fields.pop("messages")
    order = draw(st.permutations(list(fields)))
    members = [
        draw(SPACE) + json.dumps(key) + draw(SPACE) + ":" + draw(SPACE) + fields[key] + draw(SPACE) for key in order
    ]
    return (draw(SPACE) + "{" + ",".join(members) + "}" + draw(SPACE)).encode()


@given(session_files(), st.data())
def test_decode_header_prefix_of_any_length_agrees_with_the_whole_file(data: bytes, chosen: st.DataObject) -> None:
    """However much of a file was read, the prefix gives the file's own header or none."""
    assert decode_header(data) == HEADER
    end = chosen.draw(st.integers(0, len(data)))
    for prefix in (data, data[:end]):
        assert decode_header_prefix(prefix) in (None, HEADER)


@given(session_files())
def test_decode_session_of_any_order_agrees_with_the_header(data: bytes) -> None:
    """Header and session are read from the same fields."""
    session = decode_session(data)
    assert SessionHeader(session.session_id, session.channel, session.chat_id, session.last_accessed) == HEADER


@given(session_files())
def test_encode_session_of_any_file_makes_the_prefix_suffice(data: bytes) -> None:
    """Once saved by us, a file tells its header in its beginning, whatever its unknown fields are."""
    ours = bytes(encode_session(decode_session(data)))
    assert decode_header_prefix(ours[:HEADER_PREFIX_BYTES]) == HEADER


def test_decode_header_prefix_of_large_file_needs_one_page() -> None:
    """One page of a file of our own suffices, however long the conversation is."""
    session = Session("web_1", "web", "1", CREATED, T, [Message("user", "x" * 100_000, T)])
    assert decode_header_prefix(bytes(encode_session(session))[:HEADER_PREFIX_BYTES]) == HEADER


def test_decode_header_prefix_with_odd_spacing_suffices() -> None:
    """White space around the comma before messages does not force reading the whole file."""
    text = '{ "channel" : "web","session_id":"web_1","chat_id":"1","last_accessed":"2026-02-14T15:45:00Z" \r\n,\t"messages" : ['
    assert decode_header_prefix(text.encode()) == HEADER


def test_decode_header_prefix_without_last_accessed_before_messages_is_none() -> None:
    """A file that tells its age only after the messages has to be read whole."""
    text = '{"session_id":"web_1","channel":"web","chat_id":"1","messages":[],"last_accessed":"2026-02-14T15:45:00Z"}'
    assert decode_header_prefix(text.encode()) is None
    assert decode_header(text.encode()) == HEADER


def test_decode_header_prefix_with_messages_in_foreign_places_is_none() -> None:
    """The token as a value, a nested key or the end of a string is never taken for the messages."""
    members = ",".join(f'"{key}":{value}' for key, value in KNOWN.items())
    for member in ['"x":"messages"', '"x":{"messages":[]}', '"x":["messages"]', '"x":"\\"messages"', '"\\"messages":1']:
        for text in (f"{{{member},{members}}}", f"{{{members},{member}}}"):
            assert decode_header_prefix(text.encode()) is None
            assert decode_header(text.encode()) == HEADER


def test_decode_header_prefix_before_the_messages_key_is_none() -> None:
    """A prefix that ends inside of the header tells nothing, not even what it has read."""
    data = bytes(encode_session(Session("web_1", "web", "1", CREATED, T, [])))
    end = data.index(b'"messages"') + len(b'"messages"')
    assert decode_header_prefix(data[:end]) == HEADER
    assert all(decode_header_prefix(data[:shorter]) is None for shorter in range(end))


def test_decode_header_of_broken_messages_does_not_look_at_their_types() -> None:
    """The messages are skipped: what is in them cannot keep a session from being judged."""
    members = ",".join(f'"{key}":{value}' for key, value in KNOWN.items())
    assert decode_header(f'{{{members},"messages":[{{"role":7}},null]}}'.encode()) == HEADER
