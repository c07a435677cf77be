"""Restoring from quarantine: the session is in the place that its content names, or the file is still in quarantine."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import (
    CorruptSessionError,
    QuarantinedFileNotFoundError,
    SessionExistsError,
    SessionFileError,
    SessionTooLargeError,
    StoreError,
    StoreIOError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.names import file_name, file_names
from miniclaw.session.removal.restore import restore_quarantined
from tests.fakes.durable_os import DurableOs
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = "20261001T083015Z-0a1b2c3d"
ID = f"telegram_1.json.{STAMP}"
STILL_THERE = "Restored session is still in quarantine as well"


def lay(directory: SessionDirectory, content: bytes | str, file_id: str = ID) -> Path:
    path = directory.path / ".quarantine" / file_id
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def session(session_id: str = "telegram_1", **fields: Any) -> str:
    return json.dumps(session_dict(session_id, OLD, **fields))


def temporary(directory: SessionDirectory) -> list[Path]:
    return list((directory.path / ".work").glob("tmp-*"))


@pytest.mark.parametrize(
    "name", [ID, f"web_9.json.{STAMP}", f"notes (copy).json.{STAMP}", f"telegram_1.json.tmp.{STAMP}"]
)
def test_restored_session_is_in_the_place_that_it_names_itself(directory: SessionDirectory, name: str) -> None:
    """Whatever the file was called: all of it comes back, `last_accessed` is now, and the file is gone."""
    path = lay(directory, session(pinned=True, colour="blue"), name)
    restore_quarantined(directory, name, "telegram_1", NOW)
    place = directory.path / "telegram_1.json"
    assert json.loads(place.read_bytes()) == {
        **json.loads(session(pinned=True, colour="blue")), "last_accessed": "2026-11-23T12:00:00Z",
    }  # fmt: skip
    assert directory.load("telegram_1").last_accessed == NOW
    assert (place.stat().st_mode & 0o777, place.stat().st_nlink) == (0o600, 1)
    assert not path.exists()
    assert temporary(directory) == []


def test_restored_file_that_has_another_hard_link_leaves_that_alone(
    directory: SessionDirectory, tmp_path: Path
) -> None:
    """A backup that shares the file is not written to by the session's next save."""
    os.link(lay(directory, session()), tmp_path / "backup")
    restore_quarantined(directory, ID, "telegram_1", NOW)
    assert (tmp_path / "backup").read_text() == session()
    assert (directory.path / "telegram_1.json").stat().st_nlink == 1


@pytest.mark.parametrize("name", file_names("slack_U2"))
@pytest.mark.parametrize("make", [lambda path: path.write_text("{"), lambda path: path.symlink_to("x"), os.mkdir])
def test_restore_over_anything_is_refused(directory: SessionDirectory, name: str, make: Callable[[Path], Any]) -> None:
    """Whatever stands under one of the session's names stays, and so does the file; the error says what to do."""
    path = lay(directory, session("slack_U2"))
    make(directory.path / name)
    before = sorted(directory.path.iterdir())
    with pytest.raises(SessionExistsError, match="moved to quarantine") as caught:
        restore_quarantined(directory, ID, "slack_U2", NOW)
    assert (caught.value.path, caught.value.session_id) == (directory.path / name, "slack_U2")
    assert sorted(directory.path.iterdir()) == before
    assert (path.read_text(), temporary(directory)) == (session("slack_U2"), [])


@pytest.mark.parametrize("links", [True, False])
def test_restore_that_meets_a_newer_session_at_the_last_moment_is_refused(
    directory: SessionDirectory, fs: FaultyOs, links: bool
) -> None:
    """Also what comes after the look is not overwritten."""
    path = lay(directory, session())

    def appear(called: str, args: tuple[object, ...]) -> None:
        if called == "link":
            (directory.path / "telegram_1.json").write_text("newer")
            if not links:
                raise OSError(errno.EPERM, "no links")

    fs.on(appear)
    with pytest.raises(SessionExistsError):
        restore_quarantined(directory, ID, "telegram_1", NOW)
    assert (directory.path / "telegram_1.json").read_text() == "newer"
    assert (path.exists(), temporary(directory)) == (True, [])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\0" * 5000, b'{"x":' + b"[" * 100_000, session()[:-1].encode(), session(channel="web").encode()],
    ids=range(6),
)  # fmt: skip
def test_restore_of_what_cannot_be_used_is_refused(directory: SessionDirectory, content: bytes) -> None:
    """One sentence says why; the file stays, and nothing is made."""
    path = lay(directory, content)
    with pytest.raises(CorruptSessionError) as caught:
        restore_quarantined(directory, ID, "telegram_1", NOW)
    assert caught.value.path == path
    assert path.read_bytes() == content
    assert list(directory.path.glob("*.json")) == []


def test_restore_of_a_file_that_holds_another_session_by_now_changes_nothing(directory: SessionDirectory) -> None:
    """Its place would be another one, whose lock nobody holds."""
    lay(directory, session("telegram_2"))
    with pytest.raises(SessionFileError, match="try again"):
        restore_quarantined(directory, ID, "telegram_1", NOW)
    assert list(directory.path.glob("*.json")) == []


@pytest.mark.parametrize("file_id", [f"web_9.json.{STAMP}", f"../telegram_1.json.{STAMP}", "notes"])
def test_restore_of_what_is_not_there_is_not_found(directory: SessionDirectory, file_id: str) -> None:
    """Neither is what has no such folder."""
    with pytest.raises(QuarantinedFileNotFoundError):
        restore_quarantined(directory, file_id, "telegram_1", NOW)
    lay(directory, session())
    with pytest.raises(QuarantinedFileNotFoundError):
        restore_quarantined(directory, file_id, "telegram_1", NOW)


def test_restore_of_a_link_follows_nothing(directory: SessionDirectory, tmp_path: Path) -> None:
    """A link in quarantine leads to nobody's file."""
    (tmp_path / "victim").write_text(session())
    path = lay(directory, "")
    path.unlink()
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        restore_quarantined(directory, ID, "telegram_1", NOW)
    assert (tmp_path / "victim").exists()
    assert list(directory.path.glob("*.json")) == []


def test_restore_of_what_would_be_too_large_is_refused(
    directory: SessionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is made that could not be loaded again: the new time may be longer than the old one."""
    path = lay(directory, session().replace(": ", ":").replace(", ", ","))
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", path.stat().st_size)
    with pytest.raises(SessionTooLargeError):
        restore_quarantined(directory, ID, "telegram_1", NOW.replace(microsecond=123_456))
    assert path.exists()
    assert list(directory.path.glob("*.json")) == []


@pytest.mark.parametrize("call", ["open", "write", "fsync", "stat"])
def test_restore_that_is_refused_leaves_the_file(directory: SessionDirectory, fs: FaultyOs, call: str) -> None:
    """Whatever the system refuses, it is in quarantine, and comes back the next time."""
    path = lay(directory, session())
    fs.fail(call, errno.ENOSPC)
    with pytest.raises(StoreIOError):
        restore_quarantined(directory, ID, "telegram_1", NOW)
    fs.clear()
    assert path.exists()
    place = directory.path / "telegram_1.json"
    if place.exists():  # only its name may not be on the disk
        assert call == "fsync"
        place.unlink()
    assert temporary(directory) == []
    restore_quarantined(directory, ID, "telegram_1", NOW)
    assert place.exists()


def test_restored_file_that_cannot_be_removed_is_told(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The session is back; that it is in quarantine as well is a WARNING."""
    path = lay(directory, session())
    fs.fail("unlink", errno.EACCES, path=ID)
    restore_quarantined(directory, ID, "telegram_1", NOW)
    event = logs.one(STILL_THERE)
    assert (event["level"], event["path"]) == ("warning", str(path))
    assert directory.load("telegram_1")


def test_file_that_is_changed_while_it_is_restored_stays(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """What somebody has just written there is not removed with what was restored."""
    path = lay(directory, session())

    def change(called: str, args: tuple[object, ...]) -> None:
        if called == "link":
            path.write_text(session(note="newer"))

    fs.on(change)
    restore_quarantined(directory, ID, "telegram_1", NOW)
    assert "it was changed while it was restored" in logs.one(STILL_THERE)["reason"]
    assert path.read_text() == session(note="newer")


def test_session_that_is_still_captured_is_in_its_place(directory: SessionDirectory) -> None:
    """A session that a refused removal has left aside gets its place again, and nothing else does."""
    lay(directory, session())
    aside = directory.path / ".work" / "rm-0123456789abcdef" / "telegram_1.json"
    aside.parent.mkdir()
    aside.write_text(session(note="captured"))
    directory.captured[aside.name] = aside.parent.name
    with pytest.raises(SessionExistsError):
        restore_quarantined(directory, ID, "telegram_1", NOW)
    assert b"captured" in (directory.path / "telegram_1.json").read_bytes()


@pytest.mark.parametrize("links", [True, False])
def test_restored_session_is_durable_before_its_file_goes(sessions_dir: Path, links: bool) -> None:
    """Its content and its name are on the disk before the file in quarantine is removed, and that is too in the end."""
    fs = DurableOs(sessions_dir)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        lay(directory, session("slack_U2"))
        fs.forget()
        fs.links = links
        unlink, gone = fs.unlink, []

        def noted(name: str, *, dir_fd: int) -> None:
            if name == ID:
                gone.append(name)
                assert fs.names_are_durable
                assert not [path for path in fs.unsynced if path.is_file()]
            unlink(name, dir_fd=dir_fd)

        fs.unlink = noted  # type: ignore[method-assign]
        restore_quarantined(directory, ID, "slack_U2", NOW)
        assert gone == [ID]
        assert sessions_dir / ".quarantine" not in fs.unsynced
    assert (sessions_dir / file_name("slack_U2")).exists()
