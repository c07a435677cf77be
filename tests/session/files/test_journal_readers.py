"""Readers who do not own the directory see the files with the journal over them: all of them, on every path."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.errors import JournalFormatError, SessionNotFoundError, StoreError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import ProblemFile, StoredSession, always
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.format import codec
from miniclaw.session.journal import records
from miniclaw.session.journal.overlay import KnownSegments
from miniclaw.session.journal.records import JOURNAL_NAME, Record, body
from miniclaw.session.retention.policy import Staying
from tests.fakes.journalled import FILLING, NOW, OLD, CountingOs, Journalled, crashed, segment_of, texts, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.session.scans import rows_of, scanned

LATER = NOW + timedelta(minutes=1)
DAMAGED = "Journal cannot be read as a whole; sessions may be shown as they were before"
Look = Callable[[SessionDirectory], object]


@pytest.fixture
def nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are new, and the ledger is to know them nevertheless."""
    monkeypatch.setattr("miniclaw.session.files.scan.RACY_SECONDS", -1)


def test_load_has_the_messages_of_the_journal(sessions_dir: Path) -> None:
    """A person who asks for a conversation gets all that was confirmed."""
    crashed(sessions_dir)
    with SessionDirectory.open(sessions_dir) as reader:
        session = reader.load("web_a")
    assert (texts(session), session.last_accessed) == (["one", "two"], NOW)


def test_source_is_the_encoded_session_where_the_journal_has_more(sessions_dir: Path) -> None:
    """An export has what was confirmed; a file that has all of it is exported byte for byte."""
    crashed(sessions_dir)
    write_session(sessions_dir, "web_b", OLD, note="kept as it is")
    with SessionDirectory.open(sessions_dir) as reader:
        session, source = reader.load_source("web_a")
        assert texts(codec.decode_session(source)) == texts(session) == ["one", "two"]
        assert reader.load_source("web_b")[1] == (sessions_dir / "web_b.json").read_bytes()


@pytest.mark.parametrize("long", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    "find",
    [
        lambda reader: reader.find("web_a").header,
        lambda reader: reader.header("web_a"),
        lambda reader: reader.read_row("web_a.json").header,
        lambda reader: reader.read_row("web_a.json", verify=always).header,
        lambda reader: scanned(reader)["web_a"].header,
    ],
    ids=["find", "header", "row", "whole row", "scan"],
)
def test_header_has_the_use_and_the_pin_of_the_journal(
    sessions_dir: Path, find: Callable[[SessionDirectory], object], long: bool
) -> None:
    """Also where only the beginning of the file is read."""
    told = crashed(sessions_dir, saved=["x" * 9000 if long else "x"])
    write_segment(sessions_dir, told.use(pinned=True).take(), number=2, first=10)
    with SessionDirectory.open(sessions_dir) as reader:
        header = find(reader)
    assert (header.last_accessed, header.pinned) == (NOW, True)  # type: ignore[attr-defined]


def test_session_without_a_file_is_found_and_listed(sessions_dir: Path) -> None:
    """A chat that began after the last save is in no file: the journal alone has it."""
    crashed(sessions_dir, saved=[])
    write_session(sessions_dir, "web_b", NOW)
    with SessionDirectory.open(sessions_dir) as reader:
        assert texts(reader.load("web_a")) == ["two"]
        assert texts(codec.decode_session(reader.load_source("web_a")[1])) == ["two"]
        found = reader.find("web_a")
        assert (found.key, found.header.last_accessed) == ("web_a.json", NOW)
        assert reader.read_row("web_a.json") == found
        assert scanned(reader) == {"web_a": found, "web_b": reader.find("web_b")}
        with pytest.raises(SessionNotFoundError):
            reader.load("web_c")


def test_session_that_was_removed_is_not_found(sessions_dir: Path) -> None:
    """After its `void`, the journal has the session no more."""
    told = Journalled().add("one")
    write_segment(sessions_dir, told.take(), told.note_void().take())
    with SessionDirectory.open(sessions_dir) as reader:
        assert scanned(reader) == {}
        with pytest.raises(SessionNotFoundError):
            reader.find("web_a")


def test_file_in_the_place_is_listed_once(sessions_dir: Path) -> None:
    """A session that the journal could make anew, and its file, are one session; so is what cannot be read as one."""
    crashed(sessions_dir, saved=[])
    Journalled().add("two", at=NOW).save(sessions_dir)
    with SessionDirectory.open(sessions_dir) as reader, DirectoryScan(reader) as scan:
        assert [row.key for row in rows_of(scan)] == ["web_a.json"]
    (sessions_dir / "web_a.json").write_text("{")
    with SessionDirectory.open(sessions_dir) as reader, DirectoryScan(reader) as scan:
        assert [type(row) for row in rows_of(scan)] == [ProblemFile]


def test_scan_by_the_ledger_has_the_journal(sessions_dir: Path, nothing_is_racy: None) -> None:
    """A file that is not opened is seen with the journal as well."""
    crashed(sessions_dir)
    ledger, fs = Ledger(), CountingOs()
    with SessionDirectory.open(sessions_dir) as owner:
        owner.own()
        scanned(owner, ledger)
    with SessionDirectory.open(sessions_dir, fs=fs) as reader:
        assert scanned(reader, ledger)["web_a"].header.last_accessed == NOW
    assert "web_a.json" not in fs.opened


def test_ledger_knows_the_use_that_the_file_has(sessions_dir: Path, nothing_is_racy: None) -> None:
    """It tells of files: what a reader has seen over them is not remembered as theirs."""
    crashed(sessions_dir)
    ledger = Ledger()
    with SessionDirectory.open(sessions_dir) as reader:
        scanned(reader, ledger)
    with SessionDirectory.open(sessions_dir) as owner:
        owner.own()
        assert scanned(owner, ledger)["web_a"].header.last_accessed == OLD


def test_reader_of_an_owned_directory_sees_the_journal_and_the_owner_does_not(sessions_dir: Path) -> None:
    """The memory of the owner is newer; who only looks beside it sees what is on the disk."""
    crashed(sessions_dir)
    with SessionDirectory.open(sessions_dir) as owner, SessionDirectory.open(sessions_dir) as reader:
        owner.own()
        assert texts(owner.load("web_a")) == ["one"]
        assert owner.find("web_a").header.last_accessed == OLD
        assert scanned(owner)["web_a"].header.last_accessed == OLD
        assert texts(reader.load("web_a")) == ["one", "two"]


def test_stranded_session_has_the_journal(sessions_dir: Path) -> None:
    """A removal that was killed before its `void` is undone by the next owner, who then applies the journal."""
    crashed(sessions_dir)
    folder = sessions_dir / ".work" / "rm-0123456789abcdef"
    folder.mkdir(parents=True)
    (sessions_dir / "web_a.json").rename(folder / "web_a.json")
    with SessionDirectory.open(sessions_dir) as reader:
        found = reader.find("web_a")
        assert found.header.last_accessed == NOW
        assert scanned(reader) == {"web_a": found}
        assert reader.read_row("web_a.json", verify=always) == found
        assert texts(reader.load("web_a")) == ["one", "two"]


def test_file_in_quarantine_is_seen_as_it_is(sessions_dir: Path) -> None:
    """The journal continues the session in its place, and no other file."""
    crashed(sessions_dir)
    folder = sessions_dir / ".quarantine"
    folder.mkdir()
    (folder / "web_a.json").write_bytes((sessions_dir / "web_a.json").read_bytes())
    with SessionDirectory.open(sessions_dir) as reader, SessionDirectory.open(folder) as inside:
        row = reader.read_row("web_a.json", dir_fd=inside.fd, verify=always)
    assert isinstance(row, StoredSession)
    assert row.header.last_accessed == OLD


@pytest.mark.parametrize("with_ledger", [False, True])
def test_session_in_the_journal_is_never_only_counted(
    sessions_dir: Path, nothing_is_racy: None, with_ledger: bool
) -> None:
    """It stays by its file, but its use and its pin are those of the journal."""
    told = Journalled(begun=NOW).add("one").forget_records()
    told.save(sessions_dir)
    write_session(sessions_dir, "web_b", NOW)
    write_segment(sessions_dir, told.use(pinned=True).take())
    ledger = Ledger() if with_ledger else None
    if ledger is not None:
        with SessionDirectory.open(sessions_dir) as owner:
            owner.own()
            scanned(owner, ledger)
    staying = Staying(NOW - timedelta(days=1), LATER)
    with SessionDirectory.open(sessions_dir) as reader, DirectoryScan(reader, ledger=ledger, staying=staying) as scan:
        (row,) = rows_of(scan)
        assert isinstance(row, StoredSession)
        assert (row.key, row.header.pinned) == ("web_a.json", True)
        assert scan.take_kept().sessions == 1


# The journal itself --------------------------------------------------------------------------------------------


LOOKS: list[Look] = [
    lambda reader: reader.load("web_a"),
    lambda reader: reader.load_source("web_a"),
    lambda reader: reader.find("web_a"),
    lambda reader: reader.read_row("web_a.json"),
    scanned,
]


@pytest.mark.parametrize("look", LOOKS, ids=["load", "source", "find", "row", "scan"])
def test_journal_is_read_once_and_before_any_file(sessions_dir: Path, look: Look) -> None:
    """In the other order, a save between the two would take its messages from both."""
    crashed(sessions_dir)
    fs = CountingOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as reader:
        look(reader)
        look(reader)
    names = [name for name in fs.opened if name in {JOURNAL_NAME, "web_a.json"}]
    assert names[0] == JOURNAL_NAME
    assert names.count(JOURNAL_NAME) == 1


def test_known_segments_are_read_again_only_if_they_have_changed(
    sessions_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that comes again and again reads what is new; and nothing that was changed escapes it."""
    monkeypatch.setattr("miniclaw.session.journal.overlay.RACY_SECONDS", -1)
    read: list[int] = []
    known = KnownSegments()

    def read_segment(data: bytes) -> tuple[list[Record], bool]:
        read.append(len(data))
        return records.read_segment(data)

    def look() -> tuple[list[str], int]:
        read.clear()
        with SessionDirectory.open(sessions_dir) as reader:
            reader.known_segments = known
            return texts(reader.load("web_a")), len(read)

    monkeypatch.setattr("miniclaw.session.journal.overlay.read_segment", read_segment)
    told = crashed(sessions_dir)
    assert look() == (["one", "two"], 1)
    assert look() == (["one", "two"], 0)
    second = write_segment(sessions_dir, told.add("three", at=NOW).take(), number=2, first=10)
    assert look() == (["one", "two", "three"], 1)
    status, copy = second.stat(), sessions_dir.with_name("copy")
    copy.write_bytes(second.read_bytes().replace(b"three", b"THREE"))
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(second)
    assert look()[1] == 1  # of another file with the same size and time
    second.unlink()
    assert look() == (["one", "two"], 0)
    monkeypatch.setattr("miniclaw.session.journal.overlay.RACY_SECONDS", 60)
    write_segment(sessions_dir, told.take(), number=2, first=10)
    assert [look()[1], look()[1]] == [1, 1]  # it may change within the same tick


def test_directory_without_a_journal_costs_one_failed_open(sessions_dir: Path) -> None:
    """Most directories have none: an earlier version's, or one that nobody chats in."""
    write_session(sessions_dir, "web_a", NOW)
    fs = CountingOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as reader:
        scanned(reader)
        assert texts(reader.load("web_a")) == ["hello from a"]
    assert fs.opened.count(JOURNAL_NAME) == 1
    assert not (sessions_dir / JOURNAL_NAME).exists()


@pytest.mark.parametrize("look", LOOKS, ids=["load", "source", "find", "row", "scan"])
def test_journal_of_a_newer_version_is_an_error(sessions_dir: Path, look: Look) -> None:
    """Nothing is shown that might lack what was confirmed."""
    told = crashed(sessions_dir)
    path = write_segment(sessions_dir, told.take(), number=2, first=10, version=2)
    with SessionDirectory.open(sessions_dir) as reader, pytest.raises(JournalFormatError, match="start the version"):
        look(reader)
    path.unlink()
    with SessionDirectory.open(sessions_dir) as reader:
        look(reader)


def test_damaged_journal_is_a_warning_and_the_rest_is_shown(sessions_dir: Path, logs: LogRecorder) -> None:
    """The next owner reports what is missing; who looks is told that it is not all."""
    told = crashed(sessions_dir)
    batches = [told.take(), told.add("three", at=NOW).take(), told.add("four", at=NOW).take()]
    path = write_segment(sessions_dir, *batches, number=2, first=10)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"three"', b'"three?'))
    with SessionDirectory.open(sessions_dir) as reader:
        assert texts(reader.load("web_a")) == ["one", "two"]
        reader.find("web_a")
    (warning,) = [event for event in logs.events if event["event"] == DAMAGED]
    assert warning["path"] == str(path)


def test_segment_that_seems_damaged_while_it_is_written_is_read_again(sessions_dir: Path, logs: LogRecorder) -> None:
    """A reader beside an owner may see a later batch and not the one before, which was written behind its back."""
    told = Journalled()
    batches = [told.add("one").take(), told.add("two").take(), told.add("three").take()]
    path = write_segment(sessions_dir, *batches)
    whole = segment_of(batches)
    torn = whole.replace(whole.split(b"\n")[2], b"\n" * len(whole.split(b"\n")[2]))
    path.write_bytes(torn + FILLING)

    class Overtaken(OsCalls):
        def pread(self, fd: int, size: int, at: int) -> bytes:
            data = super().pread(fd, size, at)
            if at == 0 and b'"op":"open"' in data:
                path.write_bytes(whole + FILLING)
            return data

    with SessionDirectory.open(sessions_dir, fs=Overtaken()) as reader:
        assert texts(reader.load("web_a")) == ["one", "two", "three"]
    assert not [event for event in logs.events if event["event"] == DAMAGED]


def test_journal_is_no_foreign_file(sessions_dir: Path) -> None:
    """It is not told to an administrator as something that is not ours."""
    write_segment(sessions_dir, [body("void", {"s": "web_a"})])
    with SessionDirectory.open(sessions_dir) as reader, DirectoryScan(reader) as scan:
        assert rows_of(scan) == []


def test_journal_that_cannot_be_listed_is_an_error(sessions_dir: Path) -> None:
    """A file in its place: what is shown might be older than what was confirmed."""
    write_session(sessions_dir, "web_a", NOW)
    (sessions_dir / JOURNAL_NAME).touch()
    with SessionDirectory.open(sessions_dir) as reader, pytest.raises(StoreError, match="could not list"):
        reader.load("web_a")
