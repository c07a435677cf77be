"""The start of an owner after a crash: files that were edited, restored or deleted meanwhile, and a journal that is odd."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import JournalFormatError, StoreIOError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.journal.replay import Replay, replay
from miniclaw.session.names import file_name
from miniclaw.session.removal.quarantine_files import list_quarantined, read_quarantined
from miniclaw.session.types import NO_TIME, Message
from tests.fakes.journalled import FILLING, NOW, Journalled, crashed, segment_of, texts, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session

MISFIT = (
    "Messages in the journal do not fit their session file, which was changed or deleted; they are in quarantine, "
    "as a session"
)
DAMAGED = "Journal is damaged; acknowledged messages may be missing, and the segment is in quarantine"
UNREADABLE = "Session file cannot be read, so the journal cannot be applied to it"
UNSAVED = "Session of the journal could not be saved; it stays in memory for the next try"
STUCK = "Messages in the journal do not fit their session file, and cannot be put into quarantine"
STAYS = "Damaged journal segment stays; the next start tries again"

THREE, SIX = ["m0", "m1", "m2"], ["m0", "m1", "m2", "m3", "m4", "m5"]


def start(path: Path, fs: FaultyOs | None = None) -> Replay:
    """Start as the owner, and end at once."""
    with SessionDirectory.open(path, fs=fs) as directory:
        directory.own()
        return replay(directory)


def file_texts(path: Path, session_id: str = "web_a") -> list[str] | None:
    file = path / file_name(session_id)
    return texts(codec.decode_session(file.read_bytes())) if file.exists() else None


def quarantined(path: Path) -> list[list[str]]:
    """Return the texts of the sessions in quarantine."""
    with SessionDirectory.open(path) as reader:
        return [texts(read_quarantined(reader, file.id)[0]) for file in list_quarantined(reader) if file.header]


def segments(path: Path) -> list[str]:
    return sorted(os.listdir(path / JOURNAL_NAME))


def everything(path: Path) -> dict[str, bytes]:
    """Return all files with their contents, but for the lock."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def by_hand(path: Path) -> None:
        document = json.loads((path / "web_a.json").read_bytes())
        change(document)
        (path / "web_a.json").write_text(json.dumps(document))

    return by_hand


def delete(path: Path) -> None:
    (path / "web_a.json").unlink()


def damage_line(number: int) -> Callable[[Path], object]:
    def by_the_disk(path: Path) -> None:
        file = path / JOURNAL_NAME / segments(path)[-1]
        lines = file.read_bytes().rstrip(b"\n").split(b"\n")
        lines[number] = lines[number].replace(b'"user"', b'"USER"').replace(b'"open"', b'"OPEN"')
        file.write_bytes(b"\n".join(lines) + FILLING)

    return by_the_disk


def damaged(path: Path) -> None:
    """Leave a session of one message, and a damaged segment with two more in whole records."""
    told = Journalled().add("m0").forget_records()
    told.save(path)
    write_segment(path, *[told.add(text, at=NOW).take() for text in THREE[1:]])
    damage_line(0)(path)


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


# Files of other programs -------------------------------------------------------------------------------------------


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


# A disk that fails -------------------------------------------------------------------------------------------------


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
