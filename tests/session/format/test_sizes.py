"""What a session takes in memory, as it is counted and as it is."""

from __future__ import annotations

import gc
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import SessionTooLargeError
from miniclaw.session.format import codec
from miniclaw.session.format.codec import decode_session
from miniclaw.session.format.content import content_of
from miniclaw.session.format.footprint import append_message, message_bytes, session_bytes
from miniclaw.session.types import Message, Session, ToolCall
from tests.fakes.samples import session_dict

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CALL = {"id": "call_0123456789", "name": "read_file", "arguments": '{"path": "notes/today.md"}'}


def file_of(count: int, **fields: Any) -> bytes:
    """Return a file of so many messages with these fields, each with texts of its own."""
    text = json.dumps({"role": "user", "timestamp": "2026-11-23T00:00:00Z", **fields})
    messages = [json.loads(text.replace("N", f"{number:04}")) for number in range(count)]
    return json.dumps({**session_dict("telegram_1", NOW), "messages": messages}).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "N"},
        {"content": "N" * 500},
        {"content": "Grüße N" * 50},
        {"content": "Привет N" * 50},
        {"content": "N and 🙂" * 50},
        {"content": "N", "inbound_id": "message N"},
        {"content": "N", "role": "tool_result", "tool_call_id": "call_N"},
        {"content": "N", "role": "assistant", "tool_calls": [{**CALL, "id": "call_N"}] * 3},
        {"content": "N" * 50, "mood": "nobody knows this field"},
    ],
    ids=lambda fields: "-".join([*fields, str(len(fields["content"]))]),
)
def test_session_bytes_agrees_with_what_is_allocated(fields: dict[str, Any]) -> None:
    """The count is right within a tenth, whatever the messages are: a bound in bytes is one."""
    data = file_of(1000, **fields)
    decode_session(data)
    gc.collect()
    tracemalloc.start()
    try:
        session = decode_session(data)
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert session_bytes(session) == pytest.approx(allocated, rel=0.1)


def test_session_bytes_of_no_messages_is_about_what_it_takes() -> None:
    """A session without messages counts as well: a thousand of them are not nothing."""
    data = file_of(0, content="")
    gc.collect()
    tracemalloc.start()
    try:
        sessions = [decode_session(data) for _ in range(100)]
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert session_bytes(sessions[0]) == pytest.approx(allocated / 100, rel=0.25)


LARGE = "x" * 1_000_000


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"x": LARGE}, 1_000_000),
        ({LARGE: 0}, 1_000_000),
        ({"created_at": LARGE}, 1_000_000),
        ({"session_id": f"telegram_{LARGE}", "chat_id": LARGE}, 2_000_000),
        ({"messages": [{"role": "user", "content": "", "timestamp": NOW.isoformat(), "x": LARGE}]}, 1_000_000),
        ({"messages": [{"role": "user", "content": "", "timestamp": LARGE}]}, 1_000_000),
        ({"messages": [{"role": LARGE}]}, 2_000_000),
    ],
)
def test_session_bytes_counts_every_part_of_a_file(fields: dict[str, Any], least: int) -> None:
    """No text of a file is held in memory uncounted, whichever field it stands in: the bound would not see it."""
    session = decode_session(json.dumps({**session_dict("telegram_1", NOW), "messages": [], **fields}).encode())
    assert least < session_bytes(session) < least + 5000


def test_content_of_too_large_by_its_unknown_fields_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that does not fit is refused before anything is written, at each of its autosaves."""
    data = json.loads(file_of(1000, content="N" * 100)) | {"x": LARGE}
    session = decode_session(json.dumps(data).encode())
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 1_200_000)
    with pytest.raises(SessionTooLargeError):
        content_of(session, Path("sessions"), "telegram_1.json")


def test_append_message_counts_as_counting_anew() -> None:
    """What is counted with each message is what counting them all gives, also where nothing had been counted before."""
    session = Session("telegram_1", "telegram", "1", NOW, NOW)
    messages = [
        Message("user", "Grüße", NOW, inbound_id="7"),
        Message("assistant", "x" * 1000, NOW, (ToolCall("a", "b", "c" * 500),)),
        Message("tool_result", "", NOW, tool_call_id="a"),
    ]
    for message in messages:
        before = session_bytes(session)
        assert append_message(session, message, 1) == message_bytes(message) == session_bytes(session) - before
    assert session.messages == messages
    assert session_bytes(session) == session_bytes(Session("telegram_1", "telegram", "1", NOW, NOW, messages))
