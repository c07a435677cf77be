"""Metadata: values of JSON under a program's own names, in a session's file before its messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from miniclaw.errors import InvalidMetadataError
from miniclaw.session.format.codec import decode_header, decode_header_prefix, decode_session, encode_session
from miniclaw.session.format.footprint import session_bytes
from miniclaw.session.format.metadata import MAX_METADATA_BYTES, check_replaceable, merged
from miniclaw.session.types import Message, Session

T = datetime(2026, 2, 14, 10, 30, tzinfo=UTC)
VALUES = {"title": "Ferien in Zürich", "rating": 4.5, "tags": ["a", {"b": None}], "done": False, "messages": 3}


def _file(**members: Any) -> bytes:
    fields = {"session_id": "web_1", "channel": "web", "chat_id": "1", "created_at": "2026-02-14T10:30:00Z"}
    return json.dumps({**fields, "last_accessed": "2026-02-14T10:30:00Z", **members}).encode()


def test_metadata_survives_the_file_and_precedes_the_messages() -> None:
    """Each value comes back equal, and the header of a file with metadata is read from its beginning."""
    session = Session("web_1", "web", "1", T, T, [Message("user", "hello", T)], pinned=True, metadata=VALUES)
    data = bytes(encode_session(session))
    assert list(json.loads(data)) == [
        "session_id", "channel", "chat_id", "created_at", "last_accessed", "pinned", "metadata", "messages",
    ]  # fmt: skip
    again = decode_session(data)
    assert again == session
    assert bytes(encode_session(again)) == data
    session.metadata = {"title": "short"}
    header = decode_header_prefix(bytes(encode_session(session)))
    assert header is not None
    assert header.pinned


def test_session_without_metadata_has_no_member_for_it() -> None:
    """A file of a program that uses no metadata is as before."""
    assert b"metadata" not in encode_session(Session("web_1", "web", "1", T, T))


@pytest.mark.parametrize(
    "odd",
    [5, "text", None, [], {}, {"n": 2**70}, {"deep": json.loads("[" * 300 + "]" * 300)}],
    ids=["number", "text", "null", "list", "empty", "large-number", "deep"],
)
def test_metadata_that_is_none_is_kept_as_an_unknown_field(odd: object) -> None:
    """A member that another program calls metadata is kept as it is, and harms nothing."""
    data = _file(metadata=odd, colour="blue", messages=[])
    session = decode_session(data)
    assert json.loads(encode_session(session)) == json.loads(data)
    assert decode_header(data).session_id == "web_1"


@pytest.mark.parametrize("odd", ["null", "{}", "{ \n}"])
def test_metadata_that_is_set_replaces_one_that_says_nothing(odd: str) -> None:
    """The file has one member of that name, and the other unknown ones."""
    session = decode_session(_file(metadata=7, colour="blue", messages=[]).replace(b"7", odd.encode()))
    check_replaceable(session)
    session.metadata = merged(session.metadata, {"title": "new"})
    data = bytes(encode_session(session))
    assert data.count(b'"metadata"') == 1
    assert json.loads(data)["colour"] == "blue"
    again = decode_session(data)
    assert again.metadata == {"title": "new"}
    check_replaceable(again)


def test_metadata_of_a_file_in_an_unusual_form_is_read() -> None:
    """A byte order mark, a lone surrogate or metadata behind the messages hides nothing."""
    data = b"\xef\xbb\xbf" + _file(messages=[{"role": "user", "content": "\ud800"}], metadata={"title": "x"})
    session = decode_session(data)
    assert session.metadata == {"title": "x"}
    assert json.loads(encode_session(session))["metadata"] == {"title": "x"}
    odd = decode_session(data.replace(b'{"title": "x"}', b'"\\ud800"'))
    assert odd.metadata == {}
    assert b'"metadata":"\\ud800"' in encode_session(odd)


def test_merged_sets_replaces_and_deletes_keys_and_shares_nothing() -> None:
    """None deletes, other keys stay, and a later change of a given value reaches nothing."""
    tags = ["a"]
    before = {"title": "old", "kept": 1, "gone": True}
    after = merged(before, {"title": "new", "gone": None, "missing": None, "tags": tags})
    tags.append("b")
    assert after == {"title": "new", "kept": 1, "tags": ["a"]}
    assert before == {"title": "old", "kept": 1, "gone": True}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"": 1}, "a key"),
        ({1: 2}, "a key"),
        ({"at": T}, "'at'"),
        ({"pair": (1, 2)}, "'pair'"),
        ({"n": float("nan")}, "'n'"),
        ({"n": {1: 2}}, "'n'"),
        ({"n": object()}, "'n'"),
        ({"n": "\ud800"}, "'n'"),
        ({"n": "x" * MAX_METADATA_BYTES}, "16,384 bytes"),
    ],
)
def test_merged_refuses_what_would_not_be_read_back(changes: dict[Any, Any], named: str) -> None:
    """The error names the key, and the metadata is as before."""
    before = {"kept": 1}
    with pytest.raises(InvalidMetadataError, match="metadata refused") as caught:
        merged(before, changes)
    assert named in caught.value.problem
    assert before == {"kept": 1}


def test_metadata_may_have_16_kib_and_no_more() -> None:
    """The bound is inclusive; what a file has beyond it may only shrink."""
    most = "x" * (MAX_METADATA_BYTES - len('{"n":""}'))
    assert merged({}, {"n": most})["n"] == most
    with pytest.raises(InvalidMetadataError):
        merged({}, {"n": most + "x"})
    large = {"n": most, "m": most}
    assert merged(large, {"m": most[1:]}) == {"n": most, "m": most[1:]}
    assert merged(large, {"m": None}) == {"n": most}
    with pytest.raises(InvalidMetadataError):
        merged(large, {"k": 1})


def test_memory_of_metadata_is_counted() -> None:
    """Large metadata counts against the bound on the bytes in memory."""
    without = session_bytes(Session("web_1", "web", "1", T, T))
    some = session_bytes(Session("web_1", "web", "1", T, T, metadata={"list": [[] for _ in range(1000)]}))
    assert some > without + 60_000
