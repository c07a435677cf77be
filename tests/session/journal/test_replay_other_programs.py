"""The start of an owner after a crash, over session files of other programs and with odd ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.names import file_name
from miniclaw.session.types import NO_TIME, Message
from tests.fakes.journalled import NOW, Journalled, texts, write_segment
from tests.fakes.replayed import file_texts, quarantined, start
from tests.fakes.samples import session_dict


def continue_file(sessions_dir: Path, data: bytes, session_id: str = "web_a", name: str | None = None) -> bytes:
    """Lay a file, add a message to its session in the journal alone, start, and return the file as it is then."""
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / (name or file_name(session_id))).write_bytes(data)
    with SessionDirectory.open(sessions_dir) as reader:
        told = Journalled(session_id)
        told.session = reader.load(session_id)
    write_segment(sessions_dir, told.add("new", at=NOW).take())
    start(sessions_dir)
    assert [each.name for each in sessions_dir.glob("*.json")] == [file_name(session_id)]
    return (sessions_dir / file_name(session_id)).read_bytes()


def document(*messages: bytes, more: bytes = b"") -> bytes:
    return (
        b'{"session_id":"web_a","channel":"web","chat_id":"a","created_at":"2026-02-14 15:45",'
        b'"last_accessed":"2026-02-14T15:45:00.123456789+02:00"%b,"messages":[%b]}'
    ) % (more, b",".join(messages))


SURROGATE = rb'{"role":"user","content":"\ud800","timestamp":"2026-02-14T15:45:00Z"}'
UNKNOWN = b'{"role":"tool","content":[{"type":"text","text":"x"}], "rating": 5}'


@pytest.mark.parametrize("last", [SURROGATE, UNKNOWN, b"null", b'{"role":"user"}'], ids=lambda text: text[:12])
def test_session_of_another_program_goes_on_and_keeps_its_texts(sessions_dir: Path, last: bytes) -> None:
    """Unknown fields, and messages that only their source text can show, are as they were."""
    data = continue_file(sessions_dir, document(UNKNOWN, last, more=b',"mood":"good"'))
    assert UNKNOWN in data
    assert last in data
    assert b'"mood":"good"' in data
    assert texts(codec.decode_session(data))[2:] == ["new"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_session_with_a_byte_order_mark_goes_on(sessions_dir: Path, encoding: str) -> None:
    """Editors of some systems write one."""
    data = continue_file(sessions_dir, document(b'{"role":"user","content":"hi"}').decode().encode(encoding))
    assert texts(codec.decode_session(data)) == ["hi", "new"]


def test_session_without_any_time_goes_on(sessions_dir: Path) -> None:
    """Its times are those of the file, which nobody has touched meanwhile."""
    data = continue_file(sessions_dir, b'{"session_id":"web_a","channel":"web","chat_id":"a","messages":[]}')
    assert texts(codec.decode_session(data)) == ["new"]


def test_session_with_messages_of_a_program_without_a_clock_goes_on(sessions_dir: Path) -> None:
    """Their times are none, and a reader gives them others: in the journal alone, and in the file."""
    told = Journalled()
    for since, text in enumerate(["one", "two", "three"]):
        told.session.messages.append(Message("user", text, NO_TIME))
        told.record(since)
    bodies = told.take()
    write_segment(sessions_dir, bodies[:2])
    start(sessions_dir)
    write_segment(sessions_dir, bodies)
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two", "three"]
    assert quarantined(sessions_dir) == []


@pytest.mark.parametrize("session_id", ["web_Anna", "web_ä/b", "web_" + "x" * 300])
def test_session_with_an_odd_id_is_made_and_goes_on(sessions_dir: Path, session_id: str) -> None:
    """Its file has another name than its id."""
    told = Journalled(session_id).add("one")
    write_segment(sessions_dir, told.take())
    start(sessions_dir)
    write_segment(sessions_dir, told.add("two").take())
    start(sessions_dir)
    assert file_texts(sessions_dir, session_id) == ["one", "two"]


def test_file_of_an_earlier_implementation_goes_on_under_our_name(sessions_dir: Path) -> None:
    """Its bare name is that of no other session, and the journal has the id."""
    old = json.dumps(session_dict("web_Anna", NOW)).encode()
    data = continue_file(sessions_dir, old, "web_Anna", "web_Anna.json")
    assert texts(codec.decode_session(data)) == ["hello from Anna", "new"]
