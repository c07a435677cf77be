"""Moving files to quarantine by hand: what is in the way goes, and a sound session in its place never does."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import NotQuarantinedError, StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.names import file_name, file_names
from miniclaw.session.removal.quarantine_admission import find_file, move_to_quarantine
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.types import Session
from tests.fakes.durable_os import DurableOs
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import make_socket, session_dict, write_session

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = json.dumps(session_dict("web_1", OLD))


def quarantined(directory: SessionDirectory) -> list[str]:
    folder = directory.path / ".quarantine"
    return sorted(path.read_bytes().decode("latin-1") for path in folder.iterdir()) if folder.exists() else []


def captured(directory: SessionDirectory) -> list[Path]:
    return [path for path in (directory.path / ".work").rglob("*") if not path.is_dir()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("web_1.json", "{"),
        ("web_1.json", ""),
        ("web_1.json", SESSION[:-1]),
        ("web_1.json", json.dumps(session_dict("web_2", OLD))),
        ("web_1 (conflicted copy 2026-11-01).json", SESSION),
        ("web_1.sync-conflict-20261101-101010-ABCDEFG.json", SESSION),
        ("web_1.json.bak", SESSION),
        ("notes.txt", "mine"),
        ("\udcff.json", "{"),
        ("x" * 255, "{"),
        ("-rf", "{"),
    ],
)
def test_file_that_is_no_usable_session_moves(directory: SessionDirectory, name: str, content: str) -> None:
    """Damaged, another's, a copy, or nothing of ours: it is in quarantine, as it was, and nowhere else."""
    (directory.path / name).write_text(content)
    file_id, size = move_to_quarantine(directory, find_file(directory, name))
    assert size == len(content)
    assert (directory.path / ".quarantine" / file_id).read_text() == content
    assert not (directory.path / name).exists()
    assert (captured(directory), directory.captured) == ([], {})


@pytest.mark.parametrize("session_id", ["web_1", "slack_U2", "web_" + "x" * 300])
def test_sound_session_in_its_place_is_refused(directory: SessionDirectory, fs: FaultyOs, session_id: str) -> None:
    """By each of its names; it is not even moved aside."""
    for name in file_names(session_id):
        path = directory.path / name
        path.write_text(json.dumps(session_dict(session_id, OLD)))
        fs.calls.clear()
        with pytest.raises(NotQuarantinedError, match="sound session in its place") as caught:
            move_to_quarantine(directory, name)
        assert caught.value.path == path
        assert path.exists()
        assert "rename" not in {called for called, _ in fs.calls}
        path.unlink()
    assert quarantined(directory) == []


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", ".lock", ".work", ".quarantine", "../web_1.json", "/etc/passwd", "a/b", "web_1.json\0", ".hidden.json",
     "nope.json", "\ud800.json"],
)  # fmt: skip
def test_name_that_is_no_file_of_the_directory_is_refused(directory: SessionDirectory, text: str) -> None:
    """A name is no path; what is hidden is ours; what is not there is said."""
    (directory.path / ".hidden.json").write_text("{")
    with pytest.raises(NotQuarantinedError):
        find_file(directory, text)
    assert quarantined(directory) == []


@pytest.mark.parametrize("name", ["web_1.json", "notes"])
@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, make_socket, os.mkdir],
    ids=["link", "FIFO", "socket", "folder"],
)  # fmt: skip
def test_what_is_no_file_moves(directory: SessionDirectory, make: Callable[[Path], Any], name: str) -> None:
    """Whatever stands in the way is moved as it is, a folder with its content, and no link is followed."""
    path = directory.path / name
    make(path)
    if path.is_dir():
        (path / "important").write_text("x")
    before = path.lstat()
    file_id, size = move_to_quarantine(directory, find_file(directory, name))
    kept = directory.path / ".quarantine" / file_id
    assert (size, kept.lstat().st_ino, kept.lstat().st_mode) == (0, before.st_ino, before.st_mode)
    assert not os.path.lexists(path)
    assert Path("/etc/passwd").exists()
    assert not kept.is_dir() or (kept / "important").read_text() == "x"
    assert directory.captured == {}


@pytest.mark.parametrize("name", ["notes", "web_1.json.bak"])
def test_file_of_another_name_is_never_captured(directory: SessionDirectory, fs: FaultyOs, name: str) -> None:
    """A crash leaves it in its place or in quarantine: the recovery would not put it back."""
    (directory.path / name).write_text("mine")
    fs.calls.clear()
    move_to_quarantine(directory, name)
    assert [args[0] for called, args in fs.calls if called == "rename"] == [name]


def test_name_that_is_no_text_is_found_as_it_is_shown(directory: SessionDirectory) -> None:
    """What a listing shows escaped can be typed; a file whose name is that very text comes first."""
    (directory.path / "web_\udcff.json").write_text("{")
    assert find_file(directory, r"web_\udcff.json") == "web_\udcff.json"
    (directory.path / r"web_\udcff.json").write_text("{")
    assert find_file(directory, r"web_\udcff.json") == r"web_\udcff.json"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_file_that_cannot_be_read_may_be_a_session_and_stays(
    directory: SessionDirectory, fs: FaultyOs, number: int
) -> None:
    """What is not known to be damaged is not moved."""
    path = write_session(directory.path, "web_1", OLD)
    fs.fail("open", number, path=path.name)
    with pytest.raises(NotQuarantinedError, match="may be a sound session") as caught:
        move_to_quarantine(directory, path.name)
    assert os.strerror(number) in str(caught.value)
    fs.clear()
    assert path.exists()


def test_file_that_is_too_large_to_be_a_session_moves(
    directory: SessionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can never be used, and that needs no reading."""
    path = write_session(directory.path, "web_1", OLD)
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 50)
    move_to_quarantine(directory, path.name)
    assert len(quarantined(directory)) == 1


@pytest.mark.parametrize("links", [True, False])
def test_session_that_is_saved_at_the_last_moment_is_put_back(
    directory: SessionDirectory, fs: FaultyOs, links: bool
) -> None:
    """What was captured is judged once more: a session that has just been saved in the damaged one's place stays."""
    path = directory.path / "web_1.json"
    path.write_text("{")

    def save(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and args[0] == path.name:
            path.write_text(SESSION)
        if called == "link" and not links:
            raise OSError(errno.EPERM, "no links")

    fs.on(save)
    with pytest.raises(NotQuarantinedError, match="sound session in its place"):
        move_to_quarantine(directory, path.name)
    fs.clear()
    assert path.read_text() == SESSION
    assert (quarantined(directory), captured(directory), directory.captured) == ([], [], {})


def test_session_that_is_saved_twice_in_that_moment_is_nowhere_lost(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Where a newer save takes the place while the older one is captured, the newer keeps it, the older is kept."""
    logs.expect_error("Two files for one session; one is in quarantine")
    path = directory.path / "web_1.json"
    path.write_text("{")
    newer = json.dumps(session_dict("web_1", NOW))

    def save(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and args[0] == path.name and not path.read_text().startswith('{"session_id"'):
            path.write_text(SESSION)
        if called == "link":
            path.write_text(newer)

    fs.on(save)
    with pytest.raises(NotQuarantinedError):
        move_to_quarantine(directory, path.name)
    fs.clear()
    assert (path.read_text(), quarantined(directory)) == (newer, [SESSION])


@pytest.mark.parametrize("call", ["rename", "fsync", "mkdir", "stat", "open"])
def test_move_that_is_refused_keeps_the_file(
    directory: SessionDirectory, fs: FaultyOs, call: str, logs: LogRecorder
) -> None:
    """It is in its place, or captured and back at the next start, or in quarantine; and once only."""
    path = directory.path / "web_1.json"
    path.write_text("{")
    StagingArea(directory).recover()
    fs.fail(call, errno.EIO)
    with pytest.raises(StoreError) as caught:
        move_to_quarantine(directory, path.name)
    assert str(directory.path) in str(caught.value)
    fs.clear()
    places = [each for each in [path, *captured(directory)] if each.exists()]
    assert len({each.stat().st_ino for each in places}) + len(quarantined(directory)) == 1
    if captured(directory):
        assert directory.captured
    if not quarantined(directory):
        move_to_quarantine(directory, path.name)  # the next try settles what the first has left
        assert quarantined(directory) == ["{"]
    assert captured(directory) == []


def test_file_that_stays_captured_is_put_back_by_the_next_start(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Where neither quarantine nor its place takes it, it waits in the work folder, and its folder is not used again."""
    path = directory.path / "web_1.json"
    path.write_text("{")

    def refuse(called: str, args: tuple[object, ...]) -> None:
        if called == "link" or (called == "rename" and ".2" in str(args[1])):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(refuse)
    with pytest.raises(StoreError):
        move_to_quarantine(directory, path.name)
    fs.clear()
    assert not path.exists()
    assert list(directory.captured) == [path.name]
    with StagingArea(directory).taken() as (folder, _):
        assert folder != directory.captured[path.name]
    assert find_file(directory, path.name) == path.name
    directory.captured.clear()
    StagingArea(directory).recover()
    assert path.read_text() == "{"


def test_move_while_the_session_is_saved_loses_nothing(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A save that waits in the middle of the move puts its session into the free place."""
    path = directory.path / "web_1.json"
    path.write_text("{")
    gate = fs.block("rename", path="tmp-")
    saving = threading.Thread(target=directory.write, args=[Session("web_1", "web", "1", NOW, NOW)])
    saving.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    move_to_quarantine(directory, path.name)
    gate.opened.set()
    saving.join(PATIENCE_SECONDS)
    assert directory.load("web_1").last_accessed == NOW
    assert quarantined(directory) == ["{"]


def test_moved_file_is_durable_in_quarantine(sessions_dir: Path) -> None:
    """A power cut finds it in its place, in the work folder or in quarantine, at any moment."""
    fs = DurableOs(sessions_dir)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        (sessions_dir / file_name("web_1")).write_text("{")
        fs.forget()
        move_to_quarantine(directory, "web_1.json")
        assert fs.broken == []
        assert fs.unsynced == set()
