"""Restoring: the session is in its place, as used just now, or it is still in the trash; nothing is overwritten."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniclaw.errors import (
    CorruptTrashError,
    SessionExistsError,
    SessionTooLargeError,
    StoreError,
    StoreIOError,
    TrashEntryNotFoundError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.names import file_name, file_names, split_session_id, stamped
from miniclaw.session.removal.restore import restore
from miniclaw.session.trash.format import EntryLine, pack_line, pack_session
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.case_ignoring_os import CaseIgnoringOs
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import trash_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import session_dict, write_session

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
ID = "telegram_1"


def discard(directory: SessionDirectory, trash: Trash, path: Path, session_id: str = ID) -> str:
    """Move a session to the trash, as a removal does."""
    channel, chat_id = split_session_id(session_id)
    header = SessionHeader(session_id, channel, chat_id, OLD)
    prepared = trash.prepare(
        path.name, header, dir_fd=directory.fd, reason="ttl", by="service", now=NOW, keep_for=timedelta(days=7)
    )
    trash.commit([prepared])
    path.unlink()
    return prepared.entry_id


def forge(trash: Trash, content: bytes, session_id: str = ID) -> str:
    """Put an entry with any content into the trash."""
    trash.path.mkdir(parents=True, exist_ok=True)
    line = EntryLine(session_id=session_id, removed_at=NOW, expires_at=NOW, last_accessed=OLD, size=len(content))
    entry_id = stamped(file_name(session_id).removesuffix(".json"), NOW)
    trash.path_of(entry_id).write_bytes(pack_line(line) + b"".join(pack_session([content])))
    return entry_id


def place(directory: SessionDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.path.iterdir() if path.is_file() and path.name[0] != "."}


def left(directory: SessionDirectory) -> list[str]:
    return os.listdir(directory.path / ".work")


def test_restored_session_is_as_it_was_and_used_now(directory: SessionDirectory, trash: Trash) -> None:
    """All of it comes back, unknown fields too, `last_accessed` is now, and the entry is gone."""
    path = write_session(directory.path, ID, OLD, pinned=True, colour="blue")
    before = json.loads(path.read_bytes())
    entry_id = discard(directory, trash, path)
    assert restore(directory, trash, entry_id, NOW) == ID
    assert json.loads(path.read_bytes()) == {**before, "last_accessed": "2026-11-23T12:00:00Z"}
    assert directory.load(ID).last_accessed == NOW
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_nlink == 1
    assert os.listdir(trash.path) == left(directory) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.text(max_size=50), max_size=5), st.text(min_size=1, max_size=300))
def test_session_round_trips_through_the_trash(
    directory: SessionDirectory, trash: Trash, texts: list[str], chat_id: str
) -> None:
    """Whatever was said, in whatever chat, is the same after removal and restoring, but for `last_accessed`."""
    session_id = f"telegram_{chat_id}"
    path = write_session(directory.path, session_id, OLD, note=texts)
    before = path.read_bytes()
    entry_id = discard(directory, trash, path, session_id)
    assert trash.read(entry_id) == before
    restore(directory, trash, entry_id, NOW)
    after = json.loads(path.read_bytes())
    assert after == {**json.loads(before), "last_accessed": after["last_accessed"]}
    path.unlink()


def test_restored_session_of_an_older_name_gets_its_proper_one(directory: SessionDirectory, trash: Trash) -> None:
    """A session that lay under its bare id comes back under our name for it."""
    session_id = "slack_U2"
    path = directory.path / f"{session_id}.json"
    path.write_text(json.dumps(session_dict(session_id, OLD)))
    restore(directory, trash, discard(directory, trash, path, session_id), NOW)
    assert list(place(directory)) == [file_name(session_id)] != [path.name]


def test_restore_stamps_the_present_also_backwards(directory: SessionDirectory, trash: Trash) -> None:
    """A session that was stamped ahead of the clock counts as used now, and not until the clock comes there."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, NOW))
    restore(directory, trash, entry_id, OLD)
    assert directory.load(ID).last_accessed == OLD


@pytest.mark.parametrize("name", file_names("slack_U2"))
@pytest.mark.parametrize("make", [lambda path: path.write_text("{"), lambda path: path.symlink_to("x"), os.mkdir])
def test_restore_over_anything_is_refused(
    directory: SessionDirectory, trash: Trash, name: str, make: Callable[[Path], Any]
) -> None:
    """Whatever stands under one of the session's names stays, and so does the entry; the error says what to do."""
    path = write_session(directory.path, "slack_U2", OLD)
    entry_id = discard(directory, trash, path, "slack_U2")
    make(directory.path / name)
    before = sorted(directory.path.iterdir())
    with pytest.raises(SessionExistsError, match="nothing is ever overwritten; delete the session there") as caught:
        restore(directory, trash, entry_id, NOW)
    assert (caught.value.path, caught.value.session_id) == (directory.path / name, "slack_U2")
    assert sorted(directory.path.iterdir()) == before
    assert len(trash.entries()) == 1
    assert left(directory) == []


@pytest.mark.parametrize("links", [True, False])
def test_restore_that_meets_a_newer_session_at_the_last_moment_is_refused(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, links: bool
) -> None:
    """Also what comes after the look is not overwritten."""
    path = write_session(directory.path, ID, OLD)
    entry_id = discard(directory, trash, path)

    def appear(called: str, args: tuple[object, ...]) -> None:
        if called == "link":
            path.write_text("newer")
            if not links:
                raise OSError(errno.EPERM, "no links")

    fs.on(appear)
    with pytest.raises(SessionExistsError):
        restore(directory, trash, entry_id, NOW)
    assert place(directory) == {path.name: b"newer"}
    assert len(trash.entries()) == 1
    assert left(directory) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.ENOTSUP])
def test_restore_without_hard_links_renames(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, number: int
) -> None:
    """On a disk without hard links the session comes back all the same, and is never there in part."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    fs.fail("link", number)
    written: list[object] = []
    fs.on(lambda called, args: written.append(args[0]) if called == "open" and args[1] & os.O_CREAT else None)
    assert restore(directory, trash, entry_id, NOW) == ID
    assert f"{ID}.json" not in written, "a crash would leave a part of it in its place"
    assert directory.load(ID).last_accessed == NOW
    assert left(directory) == os.listdir(trash.path) == []


def test_restore_where_case_is_ignored_meets_no_other_spelling(sessions_dir: Path, trash: Trash) -> None:
    """A session comes back from the trash beside one whose id differs in case only."""
    with SessionDirectory.open(sessions_dir, create=True, fs=CaseIgnoringOs()) as directory:
        directory.own()
        small = write_session(sessions_dir, "web_bob", OLD)
        entry_id = discard(directory, trash, write_session(sessions_dir, "web_Bob", OLD), "web_Bob")
        assert restore(directory, trash, entry_id, NOW) == "web_Bob"
        assert set(place(directory)) == {small.name, file_name("web_Bob")}


def test_restore_of_a_session_that_is_still_captured_is_refused(directory: SessionDirectory, trash: Trash) -> None:
    """A session that a refused removal has left aside is there: it gets its place again, and nothing else does."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    aside = directory.path / ".work" / "rm-0123456789abcdef" / f"{ID}.json"
    aside.parent.mkdir()
    write_session(aside.parent, ID, NOW)
    directory.captured[aside.name] = aside.parent.name
    with pytest.raises(SessionExistsError, match=f"{ID}.json"):
        restore(directory, trash, entry_id, NOW)
    assert directory.load(ID).last_accessed == NOW
    assert not aside.exists()


def test_restore_after_the_work_folder_was_deleted_brings_the_session_back(
    directory: SessionDirectory, trash: Trash
) -> None:
    """A session that was left aside in a work folder which is gone stands in nobody's way any more."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    directory.captured[f"{ID}.json"] = "rm-0123456789abcdef"
    shutil.rmtree(directory.path / ".work")
    assert restore(directory, trash, entry_id, NOW) == ID
    assert directory.load(ID).last_accessed == NOW


def test_two_restores_of_one_entry_make_one_session(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """Of two at once, one restores; the other is told that there is a session, and breaks nothing."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    gate = fs.block("link")
    outcomes: list[object] = []

    def first() -> None:
        try:
            outcomes.append(restore(directory, trash, entry_id, NOW))
        except StoreError as error:
            outcomes.append(type(error))

    thread = threading.Thread(target=first)
    thread.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    assert restore(directory, trash, entry_id, NOW) == ID
    gate.opened.set()
    thread.join(PATIENCE_SECONDS)
    assert outcomes == [SessionExistsError]
    assert list(place(directory)) == [f"{ID}.json"]
    assert left(directory) == os.listdir(trash.path) == []
    with pytest.raises(TrashEntryNotFoundError):
        restore(directory, trash, entry_id, NOW)


def test_restore_of_an_older_entry_leaves_the_newer(directory: SessionDirectory, trash: Trash) -> None:
    """Just the entry that was asked for is taken out."""
    older = discard(directory, trash, write_session(directory.path, ID, OLD, note="older"))
    newer = discard(directory, trash, write_session(directory.path, ID, OLD, note="newer"))
    restore(directory, trash, older, NOW)
    assert b"older" in place(directory)[f"{ID}.json"]
    assert [entry.id for entry in trash.entries()] == [newer]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"garbage",
        b'{"x":' + b"[" * 100_000,
        json.dumps(session_dict("telegram_2", OLD)).encode(),
        json.dumps(session_dict("telegram_1", OLD, channel="web")).encode(),
        json.dumps(session_dict("telegram_1", OLD) | {"session_id": "../1"}).encode(),
        json.dumps(session_dict("telegram_1", OLD) | {"session_id": None}).encode(),
    ],
    ids=range(8),
)
def test_restore_of_what_is_no_session_of_that_id_is_refused(
    directory: SessionDirectory, trash: Trash, content: bytes
) -> None:
    """What could not be loaded, or names another session inside, stays in the trash."""
    entry_id = forge(trash, content)
    with pytest.raises(CorruptTrashError, match=entry_id):
        restore(directory, trash, entry_id, NOW)
    assert place(directory) == {}
    assert trash.path_of(entry_id).exists()


@pytest.mark.parametrize("content", [b"", b"x", gzip.compress(b"{}\n")], ids=["empty", "no gzip", "no line"])
def test_restore_of_a_corrupt_entry_is_refused(directory: SessionDirectory, trash: Trash, content: bytes) -> None:
    """A damaged entry is told as such and stays."""
    entry_id = forge(trash, b"{}")
    trash.path_of(entry_id).write_bytes(content)
    with pytest.raises(CorruptTrashError):
        restore(directory, trash, entry_id, NOW)
    assert trash.path_of(entry_id).exists()


def test_restore_of_what_would_be_too_large_is_refused(
    directory: SessionDirectory, trash: Trash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is made that could not be loaded again."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 10)
    with pytest.raises(SessionTooLargeError):
        restore(directory, trash, entry_id, NOW)
    assert place(directory) == {}


@pytest.mark.parametrize("part", ["codec.decode_session", "codec.encode_session"])
def test_restore_without_memory_leaves_the_entry(
    directory: SessionDirectory, trash: Trash, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A session that is too large for the machine can be restored on a larger one; the error names the file."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))

    def no_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(f"miniclaw.session.format.{part}", no_memory)
    with pytest.raises(StoreIOError, match="Cannot allocate memory"):
        restore(directory, trash, entry_id, NOW)
    monkeypatch.undo()
    assert place(directory) == {}
    restore(directory, trash, entry_id, NOW)


def test_restore_on_a_full_disk_leaves_the_entry(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """What cannot be written stays in the trash, and nothing is begun."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(StoreIOError, match="No space left") as caught:
        restore(directory, trash, entry_id, NOW)
    assert caught.value.path == directory.path / f"{ID}.json"
    fs.clear()
    assert place(directory) == {}
    assert left(directory) == []
    assert restore(directory, trash, entry_id, NOW) == ID


def test_restore_that_cannot_look_is_refused(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """An error is not taken for a free place."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    fs.fail("stat", errno.EIO)
    with pytest.raises(StoreIOError):
        restore(directory, trash, entry_id, NOW)
    assert len(trash.entries()) == 1


def test_restore_whose_entry_stays_says_so(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The session is back; that it is in the trash as well is a WARNING."""
    entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
    fs.fail("unlink", errno.EACCES, path=".gz")
    assert restore(directory, trash, entry_id, NOW) == ID
    event = logs.one("Restored session is still in the trash as well")
    assert (event["level"], event["path"]) == ("warning", str(trash.path_of(entry_id)))
    assert len(trash.entries()) == len(place(directory)) == 1


@pytest.mark.parametrize("links", [True, False])
def test_restored_session_is_durable_before_its_entry_goes(sessions_dir: Path, links: bool) -> None:
    """Its content and its name are on the disk before the entry is removed."""
    fs = DurableOs(sessions_dir)
    trash = trash_in(sessions_dir, fs)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        entry_id = discard(directory, trash, write_session(directory.path, ID, OLD))
        fs.forget()
        fs.links = links
        order: list[str] = []
        unlink = fs.unlink

        def noted(name: str, *, dir_fd: int) -> None:
            if name.endswith(".gz"):
                order.append(name)
                assert fs.names_are_durable
                assert sessions_dir / f"{ID}.json" not in fs.unsynced
                assert not [path for path in fs.unsynced if path.is_file()]
            unlink(name, dir_fd=dir_fd)

        fs.unlink = noted  # type: ignore[method-assign]
        restore(directory, trash, entry_id, NOW)
        assert len(order) == 1
        assert trash.path not in fs.unsynced
    assert msgspec.json.decode((sessions_dir / f"{ID}.json").read_bytes())["session_id"] == ID
