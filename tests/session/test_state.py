"""What the services remember: durable where it matters, never a reason to delete, never beyond its directory."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from miniclaw.errors import StoreError, StoreIOError
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.state import CLEANUP_NAME, LAST_SEEN_NAME, Announcement, CleanupState, StateDirectory
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
COULD_NOT_READ = "Cleanup state could not be read"


def failing(name: str, number: int = errno.EACCES, *, path: str = "") -> FaultyOs:
    """Return the real calls, but for one that fails."""
    fs = FaultyOs()
    fs.fail(name, number, path=path)
    return fs


def names(fs: FaultyOs) -> list[str]:
    return [name for name, _ in fs.calls]


@pytest.fixture
def state(sessions_dir: Path) -> StateDirectory:
    """A state directory that is not made yet."""
    return state_in(sessions_dir)


STATES = [
    CleanupState(),
    CleanupState(last_run_at=NOW),
    CleanupState(announcement=Announcement(NOW, "long_absence")),
    CleanupState(last_run_at=NOW - timedelta(days=1), announcement=Announcement(NOW, "clock_ran_ahead")),
]


@pytest.mark.parametrize("written", STATES)
def test_cleanup_state_round_trips(state: StateDirectory, written: CleanupState) -> None:
    """What was written is read, by another instance too."""
    state.write_cleanup(CleanupState(last_run_at=NOW + timedelta(days=99)))
    state.write_cleanup(written)
    assert state.read_cleanup() == state_in(state.path.parent).read_cleanup() == written


def test_write_cleanup_leaves_private_files_and_nothing_else(state: StateDirectory) -> None:
    """Directory and file are the owner's alone, and no temporary file stays."""
    state.write_cleanup(STATES[1])
    assert os.listdir(state.path) == [CLEANUP_NAME]
    assert state.path.stat().st_mode & 0o777 == 0o700
    assert (state.path / CLEANUP_NAME).stat().st_mode & 0o777 == 0o600


def test_write_cleanup_syncs_file_before_and_directory_after_the_rename(state: StateDirectory) -> None:
    """The content is on the disk before the name shows it, and the name before the call returns."""
    fs = FaultyOs()
    state = state_in(state.path.parent, fs)
    state.write_cleanup(STATES[0])
    fs.calls.clear()
    state.write_cleanup(STATES[1])
    assert [name for name in names(fs) if name in {"fsync", "rename"}] == ["fsync", "rename", "fsync"]
    assert state.read_cleanup() == STATES[1]


def test_read_of_missing_state_is_empty(state: StateDirectory) -> None:
    """Before the first start nothing is known, which is no error, and reading makes no directory."""
    assert state.read_cleanup() == CleanupState()
    assert state.read_last_seen() is None
    assert not state.path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b'{"last_run_at":"2026-11-23T12:0',
        b"garbage",
        b"\0" * 64,
        b"[]",
        b"null",
        b'{"last_run_at":"2026-11-23T12:00:00"}',
        b'{"last_run_at":0}',
        b'{"announcement":{"at":"2026-11-23T12:00:00Z","reason":"boredom"}}',
        b'{"announcement":{"reason":"first_sweep"}}',
        b'{"x":"\xff","last_run_at":"\xff"}',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_read_cleanup_of_damaged_file_is_empty_and_logged(
    state: StateDirectory, logs: LogRecorder, content: bytes
) -> None:
    """A damaged state counts as none, so that the next run announces; an ERROR names the file."""
    logs.expect_error(COULD_NOT_READ)
    state.path.mkdir()
    (state.path / CLEANUP_NAME).write_bytes(content)
    assert state.read_cleanup() == CleanupState()
    assert logs.one(COULD_NOT_READ)["path"] == str(state.path / CLEANUP_NAME)


def test_read_cleanup_that_is_refused_is_empty_and_logged(state: StateDirectory, logs: LogRecorder) -> None:
    """A file that the system does not give is like a damaged one, and is left as it is."""
    logs.expect_error(COULD_NOT_READ)
    state.write_cleanup(STATES[1])
    assert state_in(state.path.parent, failing("open", path=CLEANUP_NAME)).read_cleanup() == CleanupState()
    assert state.read_cleanup() == STATES[1]


def test_read_cleanup_of_link_is_refused(state: StateDirectory, logs: LogRecorder, tmp_path: Path) -> None:
    """A link in the place of the file is not followed."""
    logs.expect_error(COULD_NOT_READ)
    elsewhere = state_in(tmp_path / "elsewhere")
    elsewhere.write_cleanup(STATES[1])
    state.path.mkdir()
    (state.path / CLEANUP_NAME).symlink_to(elsewhere.path / CLEANUP_NAME)
    assert state.read_cleanup() == CleanupState()


def test_write_cleanup_over_damaged_file_heals_it(state: StateDirectory) -> None:
    """The next write replaces what could not be read."""
    state.path.mkdir()
    (state.path / CLEANUP_NAME).write_bytes(b"garbage" * 100)
    state.write_cleanup(STATES[3])
    assert state.read_cleanup() == STATES[3]


# Each call of a write, and a part of its arguments that tells it from others of its name.
WRITING = [("open", "tmp-"), ("write", ""), ("fsync", ""), ("rename", "")]


@pytest.mark.parametrize(("name", "path"), WRITING)
def test_write_cleanup_that_fails_keeps_the_old_state(state: StateDirectory, name: str, path: str) -> None:
    """After a failed write the old state is still there, whole, and the temporary file is gone."""
    state.write_cleanup(STATES[1])
    with pytest.raises(StoreIOError) as caught:
        state_in(state.path.parent, failing(name, errno.ENOSPC, path=path)).write_cleanup(STATES[3])
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.path in {state.path, state.path / CLEANUP_NAME}
    assert state.read_cleanup() == STATES[1]
    assert os.listdir(state.path) == [CLEANUP_NAME]


@pytest.mark.parametrize("name", ["open", "mkdir"])
def test_write_in_unwritable_directory_raises_store_error(state: StateDirectory, name: str) -> None:
    """A directory that cannot be opened or made reaches the caller as a StoreError, never as an OSError."""
    refusing = state_in(state.path.parent, failing(name))
    with pytest.raises(StoreIOError) as caught:
        refusing.write_cleanup(STATES[1])
    assert caught.value.path == state.path
    with pytest.raises(StoreIOError):
        refusing.write_last_seen(NOW)


@pytest.mark.parametrize(("name", "path"), [("open", LAST_SEEN_NAME), ("write", "")])
def test_write_last_seen_that_fails_raises_store_error(state: StateDirectory, name: str, path: str) -> None:
    """A refused write says which file it was."""
    with pytest.raises(StoreIOError) as caught:
        state_in(state.path.parent, failing(name, path=path)).write_last_seen(NOW)
    assert caught.value.path == state.path / LAST_SEEN_NAME


def test_write_in_the_place_of_a_file_raises_store_error(state: StateDirectory) -> None:
    """A file in the place of the folder is refused in words, and not touched."""
    state.path.write_text("mine")
    with pytest.raises(StoreIOError, match="it is a file, not a directory; move it out of the way"):
        state.write_cleanup(STATES[1])
    with pytest.raises(StoreIOError, match="it is a file"):
        state.write_last_seen(NOW)
    assert state.path.read_text() == "mine"


@pytest.mark.parametrize(("name", "path"), [("", ""), *WRITING])
def test_write_closes_what_it_opened(state: StateDirectory, name: str, path: str) -> None:
    """Writes, also those that fail for months, leave no file open."""
    state.write_cleanup(STATES[0])
    fs = failing(name, path=path)
    refusing = state_in(state.path.parent, fs)
    before = os.listdir("/proc/self/fd")
    with suppress(StoreError):
        refusing.write_cleanup(STATES[1])
    with suppress(StoreError):
        refusing.write_last_seen(NOW)
    assert os.listdir("/proc/self/fd") == before
    assert names(fs).count("close") >= 2


def test_write_through_linked_directory_is_refused(state: StateDirectory, tmp_path: Path) -> None:
    """A symbolic link in the place of the state directory is not followed, and nothing appears behind it."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    state.path.symlink_to(target)
    with pytest.raises(StoreIOError, match="symbolic link"):
        state.write_cleanup(STATES[1])
    with pytest.raises(StoreIOError, match="symbolic link"):
        state.write_last_seen(NOW)
    assert os.listdir(target) == []


@pytest.mark.parametrize(
    "now",
    [
        NOW,
        NOW.replace(microsecond=0),
        NOW.astimezone(timezone(timedelta(hours=5, minutes=45))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
)
def test_last_seen_round_trips_at_one_length(state: StateDirectory, now: datetime) -> None:
    """The time is always of one length, so that overwriting in place leaves nothing of the one before."""
    state.write_last_seen(NOW)
    state.write_last_seen(now)
    assert state.read_last_seen() == now
    text = (state.path / LAST_SEEN_NAME).read_text()
    assert (len(text), text[-7:]) == (33, "+00:00\n")


def test_last_seen_is_overwritten_in_place_and_not_synced(state: StateDirectory) -> None:
    """A tick writes to the same file and waits for no disk, so that an SD card is spared."""
    state.write_last_seen(NOW)
    before = (state.path / LAST_SEEN_NAME).stat().st_ino
    fs = FaultyOs()
    state_in(state.path.parent, fs).write_last_seen(NOW + timedelta(seconds=30))
    assert not {"fsync", "rename"} & set(names(fs))
    assert (state.path / LAST_SEEN_NAME).stat().st_ino == before
    assert state.read_last_seen() == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff\xfe", b"\0" * 33, b"2026-11-23T12:0", b"1771083900", b"12:00", b"2026-13-01"]
)
def test_read_last_seen_of_garbage_is_very_long_ago(state: StateDirectory, content: bytes) -> None:
    """A damaged time makes the next cleanup announce: it counts as very long ago, and is no error."""
    state.path.mkdir()
    (state.path / LAST_SEEN_NAME).write_bytes(content)
    assert state.read_last_seen() == LONG_AGO


def test_read_last_seen_that_is_refused_is_very_long_ago(state: StateDirectory) -> None:
    """A time that the system does not give makes the next cleanup announce."""
    state.write_last_seen(NOW)
    assert state_in(state.path.parent, failing("pread", errno.EIO)).read_last_seen() == LONG_AGO


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "x" * 60])
def test_write_last_seen_heals_what_is_damaged(state: StateDirectory, text: str) -> None:
    """Whatever stood there, longer or beyond the calendar, the next tick's time is read again."""
    state.path.mkdir()
    (state.path / LAST_SEEN_NAME).write_text(text)
    assert state.read_last_seen() == LONG_AGO
    state.write_last_seen(NOW)
    assert state.read_last_seen() == NOW


def test_write_last_seen_over_a_fifo_is_refused(state: StateDirectory) -> None:
    """A FIFO in the place of the file is an error and not a wait for its reader."""
    state.path.mkdir()
    os.mkfifo(state.path / LAST_SEEN_NAME)
    with pytest.raises(StoreIOError):
        state.write_last_seen(NOW)


def test_read_through_a_linked_directory_is_refused(state: StateDirectory, tmp_path: Path, logs: LogRecorder) -> None:
    """A link in place of the state directory is followed neither to write nor to read."""
    logs.expect_error("Cleanup state could not be read")
    state.write_cleanup(CleanupState(last_run_at=NOW))
    state.path.rename(tmp_path / "elsewhere")
    state.path.symlink_to(tmp_path / "elsewhere")
    assert state.read_cleanup() == CleanupState()


def test_read_cleanup_of_an_empty_file_says_so(state: StateDirectory, logs: LogRecorder) -> None:
    """An empty file is a damaged one."""
    logs.expect_error("Cleanup state could not be read")
    state.path.mkdir()
    (state.path / CLEANUP_NAME).touch()
    assert state.read_cleanup() == CleanupState()


def test_write_last_seen_over_a_link_is_refused(state: StateDirectory, tmp_path: Path) -> None:
    """A link in the place of the file does not lead the write elsewhere."""
    (tmp_path / "victim").write_text("mine")
    state.path.mkdir()
    (state.path / LAST_SEEN_NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreIOError):
        state.write_last_seen(NOW)
    assert (tmp_path / "victim").read_text() == "mine"


def test_state_directory_within_sessions_is_hidden(sessions_dir: Path) -> None:
    """The state lies in a hidden folder, where no scan takes it for a session."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        StateDirectory.within(directory).write_last_seen(NOW)
    assert state_in(sessions_dir).read_last_seen() == NOW


def test_state_directory_within_sessions_follows_them(sessions_dir: Path, tmp_path: Path) -> None:
    """Once the sessions directory is replaced by a link, the state still lies in the one that is held open."""
    outside = tmp_path / "outside"
    outside.mkdir()
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        state = StateDirectory.within(directory)
        sessions_dir.rename(tmp_path / "moved")
        sessions_dir.symlink_to(outside)
        state.write_last_seen(NOW)
        state.write_cleanup(STATES[1])
        assert state.read_last_seen() == NOW
    assert list(outside.iterdir()) == []
    assert (tmp_path / "moved" / ".state" / "last-seen").exists()


def test_write_last_seen_over_a_hard_link_leaves_the_other_name(state: StateDirectory, tmp_path: Path) -> None:
    """A backup by hard links keeps the time that it had."""
    state.write_last_seen(NOW)
    (tmp_path / "backup").hardlink_to(state.path / LAST_SEEN_NAME)
    before = (tmp_path / "backup").read_text()
    state.write_last_seen(NOW + timedelta(hours=1))
    assert (tmp_path / "backup").read_text() == before
    assert state.read_last_seen() == NOW + timedelta(hours=1)
