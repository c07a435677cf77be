"""The start of an owner after a crash: files that were edited, restored or deleted meanwhile, and odd segments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import JournalFormatError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.journal.replay import replay
from miniclaw.session.removal.quarantine_files import list_quarantined, read_quarantined
from tests.fakes.journalled import NOW, Journalled, crashed, segment_of, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.replayed import (
    DAMAGED,
    MISFIT,
    SIX,
    THREE,
    damage_line,
    everything,
    file_texts,
    quarantined,
    segments,
    start,
)
from tests.fakes.samples import write_session

UNREADABLE = "Session file cannot be read, so the journal cannot be applied to it"


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def by_hand(path: Path) -> None:
        document = json.loads((path / "web_a.json").read_bytes())
        change(document)
        (path / "web_a.json").write_text(json.dumps(document))

    return by_hand


def delete(path: Path) -> None:
    (path / "web_a.json").unlink()


@pytest.mark.parametrize(
    ("change", "expected", "kept", "errors"),
    [
        (lambda _: None, SIX, [], []),
        (edit(lambda it: it["messages"][0].update(content="edited")), ["edited", *SIX[1:]], [], []),
        (edit(lambda it: it.update(note="by hand")), SIX, [], []),
        (edit(lambda it: it["messages"][2].update(content="edited")), ["m0", "m1", "edited"], [SIX[3:]], [MISFIT]),
        (edit(lambda it: it["messages"].pop()), ["m0", "m1"], [SIX[3:]], [MISFIT]),
        (
            edit(lambda it: it["messages"].append({**it["messages"][0], "content": "x"})),
            [*THREE, "x"], [SIX[3:]], [MISFIT],
        ),
        (edit(lambda it: it.update(created_at="2020-01-01T00:00:00Z")), THREE, [SIX[3:]], [MISFIT]),
        (edit(lambda it: it.update(session_id="web_b", chat_id="b")), THREE, [SIX[3:]], [UNREADABLE, MISFIT]),
        (lambda path: (path / "web_a.json").write_bytes(b"{"), None, [SIX[3:]], [UNREADABLE, MISFIT]),
        (delete, None, [SIX[3:]], [MISFIT]),
        (damage_line(3), SIX[:5], [], []),
        (damage_line(2), SIX[:4], [["m5"]], [MISFIT, DAMAGED]),
        (damage_line(1), THREE, [["m4", "m5"]], [MISFIT, DAMAGED]),
        (damage_line(0), SIX, [], [DAMAGED]),
    ],
    ids=[
        "untouched", "an old message edited", "a field added", "the last message edited", "a message taken away",
        "a message appended", "another session in its place", "another id in it", "damaged", "deleted",
        "the last record damaged", "a record damaged", "the first record damaged", "the opening damaged",
    ],
)  # fmt: skip
def test_start_after_a_crash_keeps_all_that_was_confirmed(
    sessions_dir: Path,
    logs: LogRecorder,
    change: Callable[[Path], object],
    expected: list[str] | None,
    kept: list[list[str]],
    errors: list[str],
) -> None:
    """Three messages are in the file, three in the journal: a file goes on only where it ends as the journal says.

    All else is left as it is, and the messages that do not fit are in quarantine. A second start changes nothing.
    """
    for error in errors:
        logs.expect_error(error)
    told = Journalled().add(*THREE).forget_records()
    told.save(sessions_dir)
    write_segment(sessions_dir, *[told.add(text, at=NOW).take() for text in SIX[3:]])
    change(sessions_dir)
    before = everything(sessions_dir).get("web_a.json")
    assert start(sessions_dir).unsaved == []
    after = everything(sessions_dir)
    if expected is None or expected == THREE or kept == [SIX[3:]]:
        assert after.get("web_a.json") == before
    else:
        assert file_texts(sessions_dir) == expected
    assert quarantined(sessions_dir) == kept
    assert segments(sessions_dir) == []
    start(sessions_dir)
    assert everything(sessions_dir) == after


@pytest.mark.parametrize("noted", [False, True])
def test_session_whose_file_was_deleted_by_hand_after_a_crash(
    sessions_dir: Path, logs: LogRecorder, noted: bool
) -> None:
    """It is made again only if the journal has it from its beginning, and does not say that there was a file."""
    told = Journalled().add("one", at=NOW)
    if noted:
        logs.expect_error(MISFIT)
        told.note_saved()
    write_segment(sessions_dir, told.add("two").take())
    start(sessions_dir)
    assert file_texts(sessions_dir) == (None if noted else ["one", "two"])
    assert quarantined(sessions_dir) == ([["two"]] if noted else [])


def test_file_that_was_deleted_by_hand_and_has_nothing_new_is_not_made_again(sessions_dir: Path) -> None:
    """All that the journal had was in the file: the person has deleted it."""
    write_segment(sessions_dir, Journalled().add("one", at=NOW).note_saved().take())
    start(sessions_dir)
    assert file_texts(sessions_dir) is None
    assert quarantined(sessions_dir) == []


def test_removed_session_does_not_return_and_a_new_one_of_its_id_is_made(sessions_dir: Path) -> None:
    """Before the `void` all was in the file, which is gone."""
    write_segment(sessions_dir, Journalled().add("old").note_void().take())
    start(sessions_dir)
    assert file_texts(sessions_dir) is None
    new = Journalled(begun=NOW).add("new")
    write_segment(sessions_dir, [*Journalled().add("old").note_void().take(), *new.take()])
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["new"]


def test_use_and_pin_of_the_journal_are_in_the_file(sessions_dir: Path) -> None:
    """Also where no message was added; the last record tells the pin."""
    told = Journalled().add("one").forget_records()
    told.save(sessions_dir)
    write_segment(sessions_dir, told.use(pinned=True).use(NOW, pinned=False).use(pinned=True).take())
    start(sessions_dir)
    session = codec.decode_session((sessions_dir / "web_a.json").read_bytes())
    assert (session.pinned, session.last_accessed) == (True, NOW)


def test_use_that_comes_behind_lost_messages_changes_no_file(sessions_dir: Path) -> None:
    """The file ends before: it is an older copy, and there is nothing to put into quarantine."""
    told = Journalled().add("one").forget_records()
    path = told.save(sessions_dir)
    before = path.read_bytes()
    write_segment(sessions_dir, told.add("two").forget_records().use(NOW).take())
    start(sessions_dir)
    assert path.read_bytes() == before
    assert quarantined(sessions_dir) == []


def test_message_that_was_recorded_twice_is_there_once(sessions_dir: Path, logs: LogRecorder) -> None:
    """A commit that failed is repeated by the next one, in another segment: in the file, and in quarantine."""
    logs.expect_error(MISFIT)
    for session_id in ("web_a", "web_b"):
        told = Journalled(session_id).add("one").forget_records()
        path = told.save(sessions_dir)
        bodies = told.add("two", at=NOW).take()
        number = 1 + 2 * (session_id == "web_b")
        write_segment(sessions_dir, bodies, number=number, first=number * 10)
        write_segment(sessions_dir, [*bodies, *told.add("three").take()], number=number + 1, first=number * 10 + 5)
    path.unlink()
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two", "three"]
    assert quarantined(sessions_dir) == [["two", "three"]]


def test_quarantined_messages_are_a_session_that_can_be_used(sessions_dir: Path, logs: LogRecorder) -> None:
    """It has the id, the times and the texts, so that a person can restore it under its id."""
    logs.expect_error(MISFIT)
    crashed(sessions_dir)
    delete(sessions_dir)
    start(sessions_dir)
    with SessionDirectory.open(sessions_dir) as reader:
        (file,) = list_quarantined(reader)
        session, _ = read_quarantined(reader, file.id)
    assert (file.file, file.problem) == ("web_a.json", "")
    assert (session.session_id, session.last_accessed, session.messages[0].timestamp) == ("web_a", NOW, NOW)


# The folder ------------------------------------------------------------------------------------------------------


def test_directory_without_a_journal_is_left_alone(sessions_dir: Path) -> None:
    """A start makes none: the first message does."""
    write_session(sessions_dir, "web_a", NOW)
    assert start(sessions_dir).unsaved == []
    assert not (sessions_dir / JOURNAL_NAME).exists()


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "1.jsonl", "0000000000001.jsonl", "00000000000a.jsonl", "000000000002.jsonl.bak", "\u0660.jsonl"],
)
def test_foreign_file_in_the_journal_is_left_alone(sessions_dir: Path, name: str) -> None:
    """It is no segment, whatever is in it."""
    told = crashed(sessions_dir)
    foreign = sessions_dir / JOURNAL_NAME / name
    foreign.write_bytes(segment_of([told.add("foreign").take()], first=50))
    start(sessions_dir)
    assert file_texts(sessions_dir) == ["one", "two"]
    assert segments(sessions_dir) == [name]


def test_segments_are_read_in_the_order_of_their_numbers(sessions_dir: Path) -> None:
    """Whatever the listing's order is; and the next record and segment have numbers that were never used."""
    told = Journalled()
    for number in (9, 10, 100):
        write_segment(sessions_dir, told.add(str(number), at=NOW).take(), number=number, first=number * 2)
    journal = start(sessions_dir).journal
    assert file_texts(sessions_dir) == ["9", "10", "100"]
    assert journal.last_record == 201


def test_journal_of_a_newer_version_refuses_and_nothing_is_changed(sessions_dir: Path) -> None:
    """The version that wrote it can still read all of it."""
    told = crashed(sessions_dir)
    write_segment(sessions_dir, told.add("three").take(), number=2, first=10, version=2)
    with SessionDirectory.open(sessions_dir) as directory:
        directory.own()
        before = everything(sessions_dir)
        with pytest.raises(JournalFormatError, match="start the version that wrote it"):
            replay(directory)
    assert everything(sessions_dir) == before
