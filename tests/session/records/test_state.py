"""What the services remember: durable where it matters, never a reason to delete, never beyond its directory."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from miniclaw.clock import read_clock
from miniclaw.errors import StoreError, StoreIOError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.records.state import LAST_SEEN_NAME, STATE_FILE, RetentionState, StateDirectory, tick_of
from miniclaw.session.retention.notice import LastRun, Rules
from tests.fakes.clock import WallClock
from tests.fakes.descriptors import open_descriptors
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
COULD_NOT_READ = "Cleanup state could not be read; what is due is announced anew"
RULES = Rules(timedelta(days=1), timedelta(days=30), {"web": None, "mail": timedelta(hours=5)}, None, 7)


def failing(name: str, number: int = errno.EACCES, *, path: str = "") -> FaultyOs:
    """Return the real calls, but for one that fails."""
    fs = FaultyOs()
    fs.fail(name, number, path=path)
    return fs


def names(fs: FaultyOs) -> list[str]:
    return [name for name, _ in fs.calls]


def look(state: RetentionState, clock: WallClock) -> RetentionState:
    """Observe the clocks, as a running program does before it writes."""
    state.serial += 1
    state.timeline.observe(read_clock(clock))
    return state


def known(clock: WallClock, **fields: object) -> RetentionState:
    """Return a state that has seen an hour pass."""
    state = look(RetentionState(**fields), clock)  # type: ignore[arg-type]
    clock.move(hours=1)
    return look(state, clock)


@pytest.fixture
def clock() -> WallClock:
    return WallClock(NOW)


# The state ------------------------------------------------------------------------------------------------------


def test_state_round_trips(state: StateDirectory, clock: WallClock) -> None:
    """The last state that was written is loaded with every field, by another instance too."""
    first = known(clock)
    state.write(first)
    written = known(clock, last_run=LastRun(1, 2, 3, RULES), held="too many", inodes_last=False)
    clock.move(days=40)
    clock.jump(days=-3)  # another frame, and a floor
    clock.reboot(off=timedelta(0))
    look(written, clock)
    clock.jump(days=-300)
    clock.reboot(off=timedelta(0))
    look(written, clock)
    assert (written.timeline.floor, len(written.timeline.frames)) != (None, 1)
    state.inodes_last(written)
    state.write(written)
    assert state.load() == state_in(state.path.parent).read() == written
    assert written.id != first.id


def test_write_leaves_private_files_and_nothing_else(state: StateDirectory, clock: WallClock) -> None:
    """Directory and file are the owner's alone, and no temporary file stays."""
    state.write(known(clock))
    assert os.listdir(state.path) == [STATE_FILE]
    assert state.path.stat().st_mode & 0o777 == 0o700
    assert (state.path / STATE_FILE).stat().st_mode & 0o777 == 0o600


def test_write_syncs_file_before_and_directory_after_the_rename(state: StateDirectory, clock: WallClock) -> None:
    """The content is on the disk before the name shows it, and the name before the call returns."""
    fs = FaultyOs()
    state = state_in(state.path.parent, fs)
    state.write(known(clock))
    fs.calls.clear()
    state.write(known(clock))
    assert [name for name in names(fs) if name in {"fsync", "rename"}] == ["fsync", "rename", "fsync"]


def test_load_of_missing_state_is_none(state: StateDirectory) -> None:
    """Before the first start nothing is known, which is no error; neither reading nor sweeping makes a directory."""
    state.sweep()
    assert state.load() is None
    assert state.read() is None
    assert not state.path.exists()


SEEN = b'"seen":{"now":1,"wall":1,"boottime":1,"boot":"a","synchronised":false}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"id":"0123',
        b"garbage",
        b"\0" * 64,
        b"[]",
        b"null",
        b"{}",
        b'{"id":7}',
        b'{"timeline":{"lived":"long"}}',
        b'{"timeline":{' + SEEN + b"}}",
        b'{"timeline":{"frames":[[0,1,1]]}}',
        b'{"timeline":{"frames":[[0,1]],' + SEEN + b"}}",
        b'{"last_run":{"at":1}}',
        b'{"x":"\xff"}',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_damaged_state_raises_in_load_and_is_an_error_in_read(
    state: StateDirectory, logs: LogRecorder, content: bytes
) -> None:
    """A damaged state counts as none, so that the next run announces; an ERROR names the file."""
    logs.expect_error(COULD_NOT_READ)
    state.path.mkdir()
    (state.path / STATE_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=STATE_FILE):
        state.load()
    assert logs.events == []
    assert state.read() is None
    assert str(state.path / STATE_FILE) in logs.one(COULD_NOT_READ)["error"]


def test_state_that_is_refused_is_an_error_and_left_as_it_is(
    state: StateDirectory, clock: WallClock, logs: LogRecorder
) -> None:
    """A file that the system does not give is like a damaged one, and is left as it is."""
    logs.expect_error(COULD_NOT_READ)
    written = known(clock)
    state.write(written)
    refusing = state_in(state.path.parent, failing("open", path=STATE_FILE))
    with pytest.raises(StoreIOError):
        refusing.load()
    assert refusing.read() is None
    assert state.load() == written


def test_state_of_a_newer_version_is_read(state: StateDirectory, clock: WallClock) -> None:
    """Fields that this version does not know are ignored."""
    written = known(clock)
    state.write(written)
    path = state.path / STATE_FILE
    path.write_bytes(b'{"newer":{"field":[1,2]},' + path.read_bytes()[1:])
    assert state.load() == written


def test_write_over_damaged_state_heals_it(state: StateDirectory, clock: WallClock) -> None:
    """The next write replaces what could not be read."""
    state.path.mkdir()
    (state.path / STATE_FILE).write_bytes(b"garbage" * 100)
    written = known(clock)
    state.write(written)
    assert state.load() == written


# Each call of a write, and a part of its arguments that tells it from others of its name.
WRITING = [("open", "tmp-"), ("write", ""), ("fsync", ""), ("rename", "")]


@pytest.mark.parametrize(("name", "path"), WRITING)
def test_write_that_fails_keeps_the_old_state(state: StateDirectory, clock: WallClock, name: str, path: str) -> None:
    """After a failed write the old state is still there, whole, and the temporary file is gone."""
    written = known(clock)
    state.write(written)
    with pytest.raises(StoreIOError) as caught:
        state_in(state.path.parent, failing(name, errno.ENOSPC, path=path)).write(known(clock))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.path in {state.path, state.path / STATE_FILE}
    assert state.load() == written
    assert os.listdir(state.path) == [STATE_FILE]


@pytest.mark.parametrize("name", ["open", "mkdir"])
def test_write_in_unwritable_directory_raises_store_error(state: StateDirectory, clock: WallClock, name: str) -> None:
    """A directory that cannot be opened or made reaches the caller as a StoreError, never as an OSError."""
    refusing = state_in(state.path.parent, failing(name))
    with pytest.raises(StoreIOError) as caught:
        refusing.write(known(clock))
    assert caught.value.path == state.path
    with pytest.raises(StoreIOError):
        refusing.write_last_seen(b"x")


@pytest.mark.parametrize(("name", "path"), [("", ""), *WRITING])
def test_write_closes_what_it_opened(state: StateDirectory, clock: WallClock, name: str, path: str) -> None:
    """Writes, also those that fail for months, leave no file open."""
    written = known(clock)
    state.write(written)
    fs = failing(name, path=path)
    refusing = state_in(state.path.parent, fs)
    before = open_descriptors()
    tick = partial(refusing.write_last_seen, tick_of(written))
    for write in (partial(refusing.write, written), partial(refusing.inodes_last, written), tick):
        with suppress(StoreError):
            write()
    assert not open_descriptors() - before
    assert names(fs).count("close") >= 2


def test_sweep_removes_what_nobody_needs_and_nothing_else(state: StateDirectory, clock: WallClock) -> None:
    """Temporary files of a program that died and the state of earlier versions go; all else stays."""
    written = known(clock)
    state.write(written)
    for name in ("tmp-0123456789abcdef", "cleanup.json", "notes.txt", "sessions.ledger"):
        (state.path / name).write_text("x")
    state.sweep()
    assert sorted(os.listdir(state.path)) == ["notes.txt", STATE_FILE, "sessions.ledger"]
    assert state.load() == written


# Where it lies --------------------------------------------------------------------------------------------------


def test_state_directory_within_sessions_is_hidden(sessions_dir: Path, clock: WallClock) -> None:
    """The state lies in a hidden folder, where no scan takes it for a session."""
    written = known(clock)
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        StateDirectory.within(directory).write(written)
    assert state_in(sessions_dir).load() == written


def test_state_directory_within_sessions_follows_them(sessions_dir: Path, tmp_path: Path, clock: WallClock) -> None:
    """Once the sessions directory is replaced by a link, the state still lies in the one that is held open."""
    outside = tmp_path / "outside"
    outside.mkdir()
    written = known(clock)
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        state = StateDirectory.within(directory)
        sessions_dir.rename(tmp_path / "moved")
        sessions_dir.symlink_to(outside)
        state.write_last_seen(tick_of(written))
        state.write(written)
        assert state.load() == written
    assert list(outside.iterdir()) == []
    assert (tmp_path / "moved" / ".state" / LAST_SEEN_NAME).exists()


def test_state_is_small(state: StateDirectory, clock: WallClock) -> None:
    """After a year of daily restarts the file is still a matter of kilobytes."""
    seen = known(clock)
    for _ in range(365):
        clock.reboot(off=timedelta(hours=9), uptime=timedelta(hours=15))
        look(seen, clock)
    state.write(seen)
    assert (state.path / STATE_FILE).stat().st_size < 20_000
