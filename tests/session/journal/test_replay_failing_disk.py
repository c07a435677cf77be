"""The start of an owner after a crash, on a disk that is full or fails: the journal stays until its messages are safe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import StoreIOError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.journal.replay import replay
from tests.fakes.journalled import NOW, Journalled, crashed, texts, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.replayed import DAMAGED, MISFIT, THREE, damaged, file_texts, quarantined, segments, start
from tests.fakes.samples import write_session

UNSAVED = "Session of the journal could not be saved; it stays in memory for the next try"
STUCK = "Messages in the journal do not fit their session file, and cannot be put into quarantine"
STAYS = "Damaged journal segment stays; the next start tries again"


def test_segment_that_cannot_be_read_goes_to_quarantine_and_the_start_goes_on(
    sessions_dir: Path, logs: LogRecorder
) -> None:
    """The sessions of the other segments are complete, and what is in it may be read by other means."""
    logs.expect_error(DAMAGED)
    crashed(sessions_dir)
    other = write_segment(sessions_dir, Journalled("web_b").add("unreadable").take(), number=2, first=10)
    content = other.read_bytes()
    fs = FaultyOs()
    fs.fail("open", path=other.name)
    start(sessions_dir, fs)
    assert file_texts(sessions_dir) == ["one", "two"]
    (kept,) = (sessions_dir / ".quarantine").iterdir()
    assert kept.read_bytes() == content
    assert segments(sessions_dir) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_segment_that_is_no_file_goes_to_quarantine(
    sessions_dir: Path, logs: LogRecorder, make: Callable[[Path], None]
) -> None:
    """It has the name of one, and nothing is read from it."""
    logs.expect_error(DAMAGED)
    crashed(sessions_dir)
    make(sessions_dir / JOURNAL_NAME / "000000000002.jsonl")
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two"]
    assert segments(sessions_dir) == []


def test_start_fails_where_an_unreadable_segment_cannot_be_put_away(sessions_dir: Path) -> None:
    """In its place, a later save would make its records count no more; the next start reads it, and has all."""
    told = crashed(sessions_dir)
    other = write_segment(sessions_dir, told.add("three").take(), number=2, first=10)
    fs = FaultyOs()
    fs.fail("open", path=other.name)
    fs.fail("rename", path=other.name)
    with pytest.raises(StoreIOError, match="move to quarantine"):
        start(sessions_dir, fs)
    assert file_texts(sessions_dir) == ["one"]
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two", "three"]


def test_journal_that_cannot_be_listed_refuses_the_start(sessions_dir: Path) -> None:
    """Whatever it holds would be lost."""
    crashed(sessions_dir)
    fs = FaultyOs()
    fs.fail("open", path=JOURNAL_NAME)
    with pytest.raises(StoreIOError, match="could not list"):
        start(sessions_dir, fs)
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two"]


def full_disk() -> FaultyOs:
    fs = FaultyOs()
    fs.fail("write", 28)
    return fs


def test_start_on_a_full_disk_keeps_the_sessions_and_the_segments(sessions_dir: Path, logs: LogRecorder) -> None:
    """They are in memory, unsaved; whatever happens then, the next start finds all of them again."""
    logs.expect_error(UNSAVED)
    crashed(sessions_dir)
    write_segment(sessions_dir, Journalled("web_b").add("x").take(), number=2, first=10)
    for _ in range(2):
        found = start(sessions_dir, full_disk())
        assert {session.session_id: texts(session) for session in found.unsaved} == {
            "web_a": ["one", "two"],
            "web_b": ["x"],
        }
        assert file_texts(sessions_dir) == ["one"]
        assert len(segments(sessions_dir)) == 2
    assert start(sessions_dir).unsaved == []
    assert (file_texts(sessions_dir), file_texts(sessions_dir, "web_b")) == (["one", "two"], ["x"])
    assert segments(sessions_dir) == []


def test_sync_that_fails_keeps_the_segments(sessions_dir: Path, logs: LogRecorder) -> None:
    """The names of the files may be lost at a power cut."""
    logs.expect_error(UNSAVED)
    crashed(sessions_dir)
    with SessionDirectory.open(sessions_dir, fs=(fs := FaultyOs())) as directory:
        directory.own()
        fs.on(lambda name, args: _fail_sync_of(directory.fd, name, args))
        assert [session.session_id for session in replay(directory).unsaved] == ["web_a"]
    assert len(segments(sessions_dir)) == 1


def _fail_sync_of(fd: int, name: str, args: tuple[Any, ...]) -> None:
    if name == "fsync" and args[0] == fd:
        raise OSError(5, os.strerror(5))


def test_messages_that_fit_nowhere_on_a_full_disk_stay_in_the_journal(sessions_dir: Path, logs: LogRecorder) -> None:
    """No save of the session makes them count no more: the next start puts them into quarantine."""
    logs.expect_error(STUCK)
    logs.expect_error(MISFIT)
    crashed(sessions_dir)
    write_session(sessions_dir, "web_a", NOW)
    journal = start(sessions_dir, full_disk()).journal
    assert not journal.holds("web_a.json")
    assert journal.spent() == []
    assert len(segments(sessions_dir)) == 1
    start(sessions_dir)
    assert quarantined(sessions_dir) == [["two"]]
    assert file_texts(sessions_dir) == ["hello from a"]


def test_damaged_segment_stays_while_its_sessions_are_unsaved(sessions_dir: Path, logs: LogRecorder) -> None:
    """What can be read of it is needed by the next start, which also puts it into quarantine."""
    logs.expect_error(UNSAVED)
    logs.expect_error(DAMAGED)
    damaged(sessions_dir)
    journal = start(sessions_dir, full_disk()).journal
    assert journal.spent() == []
    start(sessions_dir)
    assert file_texts(sessions_dir) == THREE
    assert len(list((sessions_dir / ".quarantine").iterdir())) == 1


def test_damaged_segment_that_cannot_be_put_away_stays(sessions_dir: Path, logs: LogRecorder) -> None:
    """It is evidence; nothing deletes it before the next start has tried again."""
    logs.expect_error(STAYS)
    logs.expect_error(DAMAGED)
    damaged(sessions_dir)
    fs = FaultyOs()
    fs.fail("rename", path="000000000001")
    journal = start(sessions_dir, fs).journal
    assert file_texts(sessions_dir) == THREE
    assert (journal.spent(), len(segments(sessions_dir))) == ([], 1)
    start(sessions_dir)
    assert segments(sessions_dir) == []
