"""Loading a session: by its own name or an earlier one, and what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from miniclaw.errors import (
    CorruptSessionError,
    MismatchedSessionError,
    SessionFileError,
    SessionNotFoundError,
    SessionTooLargeError,
    StoreIOError,
)
from miniclaw.session.entries import ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import make_socket, session_dict, write_session
from tests.session.files.test_directory import NOW, rows


def test_load_missing_is_not_found(sessions_dir: Path) -> None:
    """Only a file that is not there means that there is no session."""
    with SessionDirectory.open(sessions_dir, create=True) as directory, pytest.raises(SessionNotFoundError):
        directory.load("telegram_1")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("call", ["open", "pread"])
def test_load_unreadable_is_not_taken_for_missing(sessions_dir: Path, call: str, number: int) -> None:
    """An error of the system reaches the caller as what it is."""
    write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory:
        fs.fail(call, number)
        with pytest.raises(StoreIOError) as caught:
            directory.load("telegram_1")
        assert caught.value.errno == number


def test_load_mismatched_is_refused_under_either_name(sessions_dir: Path) -> None:
    """The id inside a file never steers a path: the file is loaded neither by its name nor by its content."""
    path = write_session(sessions_dir, "telegram_1", NOW)
    path.write_text(json.dumps(session_dict("telegram_2", NOW)))
    with SessionDirectory.open(sessions_dir) as directory:
        with pytest.raises(MismatchedSessionError, match="telegram_2"):
            directory.load("telegram_1")
        with pytest.raises(SessionNotFoundError):
            directory.load("telegram_2")
        with pytest.raises(MismatchedSessionError):
            directory.header("telegram_1")
    assert path.exists()


def test_load_inner_parts_disagree_is_mismatched(sessions_dir: Path) -> None:
    """A session id that is not made of the file's own channel and chat id is not believed."""
    write_session(sessions_dir, "telegram_1", NOW, chat_id="2")
    with SessionDirectory.open(sessions_dir) as directory, pytest.raises(MismatchedSessionError):
        directory.load("telegram_1")


@pytest.mark.parametrize("chat_id", ["U024BE7LH", "a:b", "ünï"])
def test_load_bare_name_of_earlier_implementation_is_adopted(sessions_dir: Path, chat_id: str) -> None:
    """A file under the bare session id loads, is swept under that name, and gets our name when it is adopted."""
    session_id = f"slack_{chat_id}"
    ours = write_session(sessions_dir, session_id, NOW)
    bare = ours.rename(sessions_dir / f"{session_id}.json")
    with SessionDirectory.open(sessions_dir) as directory:
        assert isinstance(rows(directory)[bare.name], StoredSession)
        assert directory.header(session_id).session_id == session_id
        assert directory.load(session_id).chat_id == chat_id
        assert bare.exists()
        directory.load(session_id, adopt=True)
    assert ours.exists()
    assert not bare.exists()


def test_load_adoption_failing_leaves_the_file(sessions_dir: Path) -> None:
    """Where the renaming is refused, the error says so and the file stays under its old name."""
    bare = write_session(sessions_dir, "slack_U1", NOW).rename(sessions_dir / "slack_U1.json")
    fs = FaultyOs()
    fs.fail("rename", errno.EROFS)
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, pytest.raises(StoreIOError, match="rename to"):
        directory.load("slack_U1", adopt=True)
    assert bare.exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "dangling", "socket"])
def test_load_no_regular_file_is_refused(sessions_dir: Path, tmp_path: Path, kind: str) -> None:
    """A link, a FIFO, a socket or a directory under a session's name is neither followed nor waited for nor taken as missing."""
    sessions_dir.mkdir(parents=True)
    path = sessions_dir / "telegram_1.json"
    if kind == "link":
        path.symlink_to(write_session(tmp_path / "elsewhere", "telegram_1", NOW))
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        make_socket(path)
    else:
        path.mkdir()
    with SessionDirectory.open(sessions_dir) as directory:
        with pytest.raises(SessionFileError, match="not a file"):
            directory.load("telegram_1")
        with pytest.raises(SessionFileError, match="not a file"):
            directory.header("telegram_1")
        row = rows(directory)["telegram_1.json"]
        assert isinstance(row, ProblemFile)
        assert row.kind == "foreign"


def test_load_too_large_is_refused_unread(sessions_dir: Path) -> None:
    """A sparse file of a gigabyte is told by its size, without reading it."""
    path = write_session(sessions_dir, "telegram_1", NOW)
    os.truncate(path, 1 << 30)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, pytest.raises(SessionTooLargeError):
        directory.load("telegram_1")
    assert not [call for call in fs.calls if call[0] in {"read", "pread"}]


def test_load_corrupt_names_file_and_reason(sessions_dir: Path) -> None:
    """What cannot be decoded is an error with path and reason, and stays."""
    path = write_session(sessions_dir, "telegram_1", NOW)
    path.write_bytes(path.read_bytes().replace(b"session_id", b"id"))
    with SessionDirectory.open(sessions_dir) as directory, pytest.raises(CorruptSessionError) as caught:
        directory.load("telegram_1")
    assert caught.value.path == path
    assert "session_id" in caught.value.reason
