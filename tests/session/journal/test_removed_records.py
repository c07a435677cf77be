"""What a person wrote is not kept in the journal for long once their session is removed, whatever its id was."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniclaw.errors import RuntimeClosedError, SessionNotFoundError, StoreIOError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.records import JOURNAL_NAME
from tests.fakes.live_journal import open_live

PERSON, MOVED, OTHER = "web_anna", "web_anna-new", "web_bernd"
WORDS = "the-secret-of-anna"


def journal_of(path: Path) -> bytes:
    return b"".join(segment.read_bytes() for segment in (path / JOURNAL_NAME).iterdir())


async def test_records_of_a_removed_session_leave_the_disk_with_the_next_autosave(tmp_path: Path) -> None:
    """The segment in use is closed for that, and is deleted once the others in it are saved."""
    async with open_live(tmp_path) as live:
        await live.say(PERSON, WORDS)
        await live.say(OTHER, "hello")
        await live.manager.delete_session(PERSON, erase=True)
        assert WORDS.encode() in journal_of(live.path)
        await live.manager.saver.save_due(30)
        assert WORDS.encode() not in journal_of(live.path)
        await live.say(OTHER, "and more")


async def test_erasure_takes_the_records_of_an_earlier_id(tmp_path: Path) -> None:
    """A session was moved to another chat: what it said before is in the journal under its old id."""
    async with open_live(tmp_path) as live:
        await live.say(PERSON, WORDS)
        await live.say(OTHER, "hello")
        await live.manager.move_session(PERSON, MOVED)
        assert WORDS.encode() in journal_of(live.path)
        (done,) = await live.operations.delete([MOVED], erase=True)
        assert done.error is None
        assert not [each for each in live.path.rglob("*") if each.is_file() and WORDS.encode() in each.read_bytes()]


async def test_durable_of_no_session_is_an_error(tmp_path: Path) -> None:
    """Nothing is confirmed that is nowhere: of a session that was deleted, that never was, and after the end."""
    async with open_live(tmp_path) as live:
        await live.say(PERSON, WORDS)
        await live.manager.delete_session(PERSON, erase=True)
        for session_id in (PERSON, "web_nobody"):
            with pytest.raises(SessionNotFoundError):
                await live.manager.durable(session_id)
    with pytest.raises(RuntimeClosedError):
        await live.manager.durable("web_nobody")


def test_what_stands_in_the_place_of_the_journal_is_named(sessions_dir: Path) -> None:
    """The error says what it is, and what to do."""
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / JOURNAL_NAME).write_text("mine")
    with (
        SessionDirectory.open(sessions_dir) as directory,
        pytest.raises(StoreIOError, match=r"\.journal: .* it is a file, not a directory; move it out of the way"),
    ):
        directory.load("web_1")
