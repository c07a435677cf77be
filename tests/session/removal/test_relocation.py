"""Moving a session on the disk: it is under its old id, under its new one, or whole under both; nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniclaw.errors import (
    CorruptSessionError,
    MismatchedSessionError,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
    SessionTooLargeError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.names import file_name, file_names, split_session_id
from miniclaw.session.removal.relocation import CALLED_OFF, Relocation, relocate
from miniclaw.session.removal.staging import StagingArea
from tests.fakes.case_ignoring_os import CaseIgnoringOs
from tests.fakes.durable_os import DurableOs
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session
from tests.session.test_names import CHANNELS, CHAT_IDS

USED = datetime(2026, 11, 20, 8, 30, 15, 123456, tzinfo=UTC)
ID = "telegram_1"
NEW = "web_anna"


def yes() -> bool:
    return True


def place(directory: SessionDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.path.iterdir() if path.is_file() and path.name[0] != "."}


def left(directory: SessionDirectory) -> list[str]:
    return [path.name for path in (directory.path / ".work").rglob("*") if path.is_file()]


def as_new(content: bytes, session_id: str = NEW) -> Any:
    """Return what a session's document is under its new id."""
    channel, chat_id = split_session_id(session_id)
    return json.loads(content) | {"session_id": session_id, "channel": channel, "chat_id": chat_id}


def test_moved_session_is_as_it_was_under_its_new_id(directory: SessionDirectory) -> None:
    """Its ids are new; times, pin, unknown fields and each message are as they were, and the old file is gone."""
    message = '{"role": "user",  "content": "as it was", "timestamp": "2026-01-01T00:00:00.123456789Z", "mood": 1}'
    path = directory.path / f"{ID}.json"
    path.write_text(
        '{"session_id": "telegram_1", "channel": "telegram", "chat_id": "1", "created_at":'
        ' "2026-01-01T00:00:00.123456789Z", "last_accessed": "2026-11-20T08:30:15.123456001Z", "pinned": true,'
        f' "colour": "blue", "messages": [{message}]}}'
    )
    before = path.read_bytes()
    moved = relocate(directory, ID, NEW, yes)
    ((name, content),) = place(directory).items()
    assert name == f"{NEW}.json"
    assert json.loads(content) == as_new(before)
    assert message.encode() in content
    assert b'"2026-11-20T08:30:15.123456001Z"' in content
    assert moved == Relocation(USED, len(before))
    assert (directory.path / name).stat().st_mode & 0o777 == 0o600
    assert (directory.path / name).stat().st_nlink == 1
    assert left(directory) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(CHANNELS, CHAT_IDS, st.lists(st.text(max_size=50), max_size=5))
def test_session_moves_there_and_back(
    directory: SessionDirectory, channel: str, chat_id: str, texts: list[str]
) -> None:
    """Whatever the chats are called and whatever was said, moving there and back changes no byte."""
    target = f"{channel}_{chat_id}"
    if target == ID:
        return
    path = write_session(directory.path, ID, USED, note=texts)
    relocate(directory, ID, target, yes)
    assert list(place(directory)) == [file_name(target)]
    content = (directory.path / file_name(target)).read_bytes()
    assert json.loads(content)["session_id"] == target
    relocate(directory, target, ID, yes)
    assert list(place(directory)) == [path.name]
    assert bytes(codec.encode_session(codec.decode_session(path.read_bytes()))) == path.read_bytes()
    assert json.loads(path.read_bytes())["note"] == texts
    path.unlink()


def test_session_under_an_older_name_moves(directory: SessionDirectory) -> None:
    """A session that an earlier implementation named by its bare id moves as any other, also to its other spelling."""
    content = json.dumps(session_dict("slack_U2", USED)).encode()
    (directory.path / "slack_U2.json").write_bytes(content)
    relocate(directory, "slack_U2", "slack_u2", yes)
    ((name, moved),) = place(directory).items()
    assert (name, json.loads(moved)) == ("slack_u2.json", as_new(content, "slack_u2"))


def test_large_session_moves_in_pieces(directory: SessionDirectory) -> None:
    """Of a session that is written in pieces, the new file is the same to the last byte, and is recognised again."""
    time = USED.isoformat()
    messages = [{"role": "user", "content": "é" * 30_000, "timestamp": time} for _ in range(20)]
    path = write_session(directory.path, ID, USED, messages=messages)
    before = path.read_bytes()
    relocate(directory, ID, NEW, yes)
    assert json.loads(place(directory)[f"{NEW}.json"]) == as_new(before)
    path.write_bytes(before)
    relocate(directory, ID, NEW, yes)
    assert list(place(directory)) == [f"{NEW}.json"]


def test_move_is_not_begun_where_it_may_not(directory: SessionDirectory) -> None:
    """A caller that has left is heard before anything is changed."""
    path = write_session(directory.path, ID, USED)
    before = place(directory)
    with pytest.raises(SessionFileError, match=CALLED_OFF):
        relocate(directory, ID, NEW, lambda: False)
    assert place(directory) == before == {path.name: path.read_bytes()}
    assert left(directory) == []


@pytest.mark.parametrize("name", file_names("slack_U2"))
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text(json.dumps(session_dict("slack_U2", USED))),
        lambda path: path.symlink_to("x"),
        os.mkdir,
        os.mkfifo,
    ],
    ids=["damaged", "session", "link", "folder", "FIFO"],
)
def test_move_over_anything_is_refused(directory: SessionDirectory, name: str, make: Callable[[Path], Any]) -> None:
    """Whatever stands under one of the new names stays, and so does the session."""
    path = write_session(directory.path, ID, USED)
    make(directory.path / name)
    before = sorted(directory.path.iterdir()), path.read_bytes()
    with pytest.raises(SessionExistsError, match="nothing is ever overwritten") as caught:
        relocate(directory, ID, "slack_U2", yes)
    assert (caught.value.path, caught.value.session_id) == (directory.path / name, "slack_U2")
    assert (sorted(directory.path.iterdir()), path.read_bytes()) == before
    assert left(directory) == []


@pytest.mark.parametrize("links", [True, False])
def test_move_that_meets_another_at_the_last_moment_is_refused(
    directory: SessionDirectory, fs: FaultyOs, links: bool
) -> None:
    """Also what comes after the look is not overwritten, with hard links or without."""
    path = write_session(directory.path, ID, USED)
    target = directory.path / f"{NEW}.json"

    def appear(called: str, args: tuple[object, ...]) -> None:
        if called == "link" and args[1] == target.name:
            target.write_text("newer")
            if not links:
                raise OSError(errno.EPERM, "no links")

    fs.on(appear)
    with pytest.raises(SessionExistsError):
        relocate(directory, ID, NEW, yes)
    assert place(directory) == {path.name: path.read_bytes(), target.name: b"newer"}
    assert left(directory) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.ENOTSUP])
def test_move_without_hard_links_is_the_same(directory: SessionDirectory, fs: FaultyOs, number: int) -> None:
    """On a disk without hard links the session moves all the same."""
    before = write_session(directory.path, ID, USED).read_bytes()
    fs.fail("link", number)
    relocate(directory, ID, NEW, yes)
    assert {name: json.loads(content) for name, content in place(directory).items()} == {f"{NEW}.json": as_new(before)}
    assert left(directory) == []


def test_move_of_what_is_no_session_is_refused(directory: SessionDirectory) -> None:
    """What is not there, cannot be read, or is another's is an error of its own, and stays."""
    (directory.path / "telegram_2.json").write_text("{")
    write_session(directory.path, "telegram_9", USED).rename(directory.path / "telegram_3.json")
    before = place(directory)
    for session_id, kind in (
        ("telegram_1", SessionNotFoundError),
        ("telegram_2", CorruptSessionError),
        ("telegram_3", MismatchedSessionError),
    ):
        with pytest.raises(kind):
            relocate(directory, session_id, NEW, yes)
    assert place(directory) == before


def test_move_of_a_session_with_two_files_is_refused(directory: SessionDirectory) -> None:
    """Where a session lies under both of its names, a person has to say which one is meant."""
    write_session(directory.path, "slack_U2", USED)
    second = directory.path / "slack_U2.json"
    second.write_text(json.dumps(session_dict("slack_U2", USED, note="older")))
    before = place(directory)
    with pytest.raises(SessionFileError, match="second file of the session") as caught:
        relocate(directory, "slack_U2", NEW, yes)
    assert caught.value.path == second
    assert place(directory) == before


def test_move_of_what_would_be_too_large_is_refused(
    directory: SessionDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer id makes a larger file: none is made that could not be loaded again."""
    path = write_session(directory.path, ID, USED)
    relocate(directory, ID, NEW, yes)
    relocate(directory, NEW, ID, yes)
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", path.stat().st_size)
    before = place(directory)
    with pytest.raises(SessionTooLargeError):
        relocate(directory, ID, "web_" + "x" * 100, yes)
    assert place(directory) == before


def test_captured_sessions_are_there(directory: SessionDirectory) -> None:
    """What a refused removal has left aside can be moved, and nothing can be moved over it."""
    aside = directory.path / ".work" / "rm-0123456789abcdef"
    aside.mkdir()
    for session_id in (ID, "telegram_2"):
        write_session(aside, session_id, USED)
        directory.captured[f"{session_id}.json"] = aside.name
    with pytest.raises(SessionExistsError):
        relocate(directory, ID, "telegram_2", yes)
    relocate(directory, ID, NEW, yes)
    assert set(place(directory)) == {"telegram_2.json", f"{NEW}.json"}
    assert left(directory) == []


# Durability -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_new_file_is_durable_before_the_old_one_goes(sessions_dir: Path, links: bool) -> None:
    """Its content and its name are on the disk before the old file is unlinked, and that is durable at the end."""
    fs = DurableOs(sessions_dir)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        StagingArea(directory).recover()
        path = write_session(sessions_dir, ID, USED)
        fs.forget()
        fs.links = links
        order: list[str] = []
        unlink = fs.unlink

        def noted(name: str, *, dir_fd: int) -> None:
            if name == path.name:
                order.append(name)
                assert fs.names_are_durable
                assert sessions_dir / f"{NEW}.json" not in fs.unsynced
                assert (sessions_dir / f"{NEW}.json").exists()
            unlink(name, dir_fd=dir_fd)

        fs.unlink = noted  # type: ignore[method-assign]
        relocate(directory, ID, NEW, yes)
        assert order == [path.name]
        assert fs.broken == []
        assert fs.names_are_durable
        assert not [path for path in fs.unsynced if path.name.startswith("rm-")]
    assert json.loads((sessions_dir / f"{NEW}.json").read_bytes())["session_id"] == NEW


# Names that differ in case only -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ignores", [True, False])
def test_sessions_whose_ids_differ_in_case_move_apart(sessions_dir: Path, ignores: bool) -> None:
    """Also where the file system ignores case, each session moves to and from its own place, and the other stays."""
    with SessionDirectory.open(sessions_dir, create=True, fs=CaseIgnoringOs() if ignores else FaultyOs()) as directory:
        directory.own()
        small = write_session(sessions_dir, "web_bob", USED, note="small")
        write_session(sessions_dir, ID, USED, note="another")
        relocate(directory, ID, "web_Bob", yes)
        assert set(place(directory)) == {small.name, file_name("web_Bob")}
        with pytest.raises(SessionExistsError):
            relocate(directory, "web_Bob", "web_bob", yes)
        relocate(directory, "web_Bob", "web_BOB", yes)
        relocate(directory, "web_bob", "web_Bob", yes)
        contents = {
            json.loads(content)["session_id"]: json.loads(content)["note"] for content in place(directory).values()
        }
        assert contents == {"web_BOB": "another", "web_Bob": "small"}
        assert set(place(directory)) == {file_name("web_BOB"), file_name("web_Bob")}


def test_session_under_an_older_name_moves_to_its_other_spelling_where_case_is_ignored(sessions_dir: Path) -> None:
    """The session's own older name is not taken for a session that stands in the way."""
    with SessionDirectory.open(sessions_dir, create=True, fs=CaseIgnoringOs()) as directory:
        directory.own()
        (sessions_dir / "web_Bob.json").write_text(json.dumps(session_dict("web_Bob", USED)))
        relocate(directory, "web_Bob", "web_bob", yes)
        assert list(place(directory)) == ["web_bob.json"]
        assert directory.load("web_bob").last_accessed == USED
