"""Entries of the trash that are files from quarantine, told from those of sessions by their names alone."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.errors import CorruptTrashError
from miniclaw.session.names import file_name
from miniclaw.session.trash.folder import is_from_quarantine, stem_of
from miniclaw.session.trash.format import EntryLine, pack_line, pack_session
from miniclaw.session.trash.trash import Trash

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STAMP = "20261123T120000Z-00000000"
FROM_QUARANTINE = f"telegram_1.json.20261001T083015Z-0a1b2c3d.{STAMP}"


def put(trash: Trash, entry_id: str, content: bytes = b"{}", **fields: Any) -> None:
    trash.path.mkdir(exist_ok=True)
    line = EntryLine(removed_at=NOW, expires_at=NOW, size=len(content), **fields)
    trash.path_of(entry_id).write_bytes(pack_line(line) + b"".join(pack_session([content])))


@pytest.mark.parametrize("fields", [{}, {"session_id": "telegram_1"}, {"last_accessed": NOW}], ids=str)
def test_entry_of_a_session_whose_line_names_none_is_damaged(trash: Trash, fields: dict[str, Any]) -> None:
    """Only a file that lay in quarantine may hold no session."""
    put(trash, f"telegram_1.{STAMP}", **fields)
    (entry,) = trash.entries()
    assert (bool(entry.problem), entry.session_id, entry.from_quarantine) == (True, None, False)
    with pytest.raises(CorruptTrashError):
        trash.read(entry.id)


@pytest.mark.parametrize("fields", [{}, {"session_id": "web_anna", "last_accessed": NOW}], ids=str)
def test_entry_from_quarantine_may_hold_any_session_or_none(trash: Trash, fields: dict[str, Any]) -> None:
    """Another session's content may be what was wrong with it."""
    put(trash, FROM_QUARANTINE, **fields)
    (entry,) = trash.entries()
    assert (entry.problem, entry.session_id, entry.from_quarantine) == ("", fields.get("session_id"), True)
    assert entry.key == "telegram_1.json"
    assert trash.read(entry.id) == b"{}"
    assert trash.find_all("telegram_1") == trash.find_all("web_anna") == []


@given(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(min_size=1) | st.just("1.json.20261001T083015Z-0a1b2c3d"))
def test_entry_of_a_session_is_never_taken_for_a_file_from_quarantine(channel: str, chat_id: str) -> None:
    """Whatever a chat is called, and be it like such a file."""
    session_id = f"{channel}_{chat_id}"
    assert not is_from_quarantine(f"{stem_of(session_id)}.{STAMP}")
    assert is_from_quarantine(f"{file_name(session_id)}.20261001T083015Z-0a1b2c3d.{STAMP}")


def test_entry_of_the_version_before_is_read_as_it_was(trash: Trash, tmp_path: Path) -> None:
    """Its line has all of these fields, and no others."""
    line = {
        "version": 1, "session_id": "telegram_1", "key": "telegram_1.json", "removed_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-30T12:00:00Z", "reason": "ttl", "last_accessed": "2026-10-01T00:00:00Z", "size": 2,
        "by": "service",
    }  # fmt: skip
    trash.path.mkdir()
    data = gzip.compress(json.dumps(line).encode() + b"\n") + gzip.compress(b"{}")
    trash.path_of(f"telegram_1.{STAMP}").write_bytes(data)
    (entry,) = trash.find_all("telegram_1")
    assert (entry.session_id, entry.key, entry.problem, entry.from_quarantine) == (
        "telegram_1",
        "telegram_1.json",
        "",
        False,
    )
    assert trash.read(entry.id) == b"{}"


def test_line_of_an_entry_from_quarantine_is_one_that_the_version_before_calls_damaged(trash: Trash) -> None:
    """It wants a session in each, whose name is the entry's: so it lists such an entry, and restores it nowhere."""
    put(trash, FROM_QUARANTINE, b"{}", session_id="telegram_1", last_accessed=NOW)
    line = json.loads(gzip.decompress(trash.path_of(FROM_QUARANTINE).read_bytes()).split(b"\n")[0])
    assert stem_of(line["session_id"]) != FROM_QUARANTINE.removesuffix(f".{STAMP}")
