"""The files beside the state: the list of what is due, and the landmark; and what may stand in the place of each."""

from __future__ import annotations

import errno
import os
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.errors import StoreError, StoreIOError
from miniclaw.session.records.state import (
    DUE_NAME,
    LANDMARK_NAME,
    LAST_SEEN_NAME,
    STATE_FILE,
    RetentionState,
    StateDirectory,
    tick_of,
)
from miniclaw.session.retention.noted import Noted
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, OtherInodes
from tests.session.records.test_state import COULD_NOT_READ, known

NOT_LISTED = "List of what is due could not be read; it is announced anew"
DUE = {7: 60, 1 << 63: 61, (1 << 64) - 1: 0}
AHEAD = {5: 4_000_000_000}


def noted(seconds: dict[int, int]) -> Noted:
    return Noted(array("Q", sorted(seconds)), array("I", [seconds[each] for each in sorted(seconds)]))


def told(both: tuple[Noted, Noted]) -> list[bytes]:
    return [each.encoded() for each in both]


NOTHING = told((Noted(), Noted()))
ALL = told((noted(DUE), noted(AHEAD)))


@pytest.fixture
def seen(clock: WallClock) -> RetentionState:
    return known(clock)


# What is due ----------------------------------------------------------------------------------------------------


def test_due_round_trips(state: StateDirectory, seen: RetentionState) -> None:
    """Each of both lists is read as it was written, at whole seconds, in another instance too."""
    state.write_due(seen.id, Noted(), Noted())
    assert told(state.read_due(seen)) == NOTHING
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    due, ahead = state_in(state.path.parent).read_due(seen)
    assert {which: due.find(which) for which in DUE} == {which: at * 1_000_000 for which, at in DUE.items()}
    assert (due.find(5), ahead.find(5), ahead.find(7)) == (None, 4_000_000_000 * 1_000_000, None)


def test_due_of_a_hundred_thousand_is_under_two_megabytes(state: StateDirectory, seen: RetentionState) -> None:
    """Sixteen bytes each, and a head."""
    many = noted({number * 97: number for number in range(100_000)})
    state.write_due(seen.id, many, Noted())
    assert (state.path / DUE_NAME).stat().st_size < 1_600_100
    assert len(state.read_due(seen)[0]) == 100_000


def test_due_is_on_the_disk_before_the_call_returns(state: StateDirectory, seen: RetentionState) -> None:
    """The run is remembered after it: a state that knows of a run has the list of that run."""
    fs = FaultyOs()
    state_in(state.path.parent, fs).write_due(seen.id, noted(DUE), Noted())
    assert [name for name, _ in fs.calls if name in {"fsync", "rename"}][-3:] == ["fsync", "rename", "fsync"]


def test_due_that_is_missing_is_nothing(state: StateDirectory, seen: RetentionState, logs: LogRecorder) -> None:
    """Before the first run nothing is due, and there is nothing to be told."""
    assert told(state.read_due(seen)) == NOTHING
    assert logs.events == []


def test_due_of_another_state_is_nothing(state: StateDirectory, clock: WallClock, logs: LogRecorder) -> None:
    """With the state lost, times that it counted mean nothing: all is announced anew."""
    state.write_due(known(clock).id, noted(DUE), noted(AHEAD))
    assert told(state.read_due(known(clock))) == NOTHING
    assert logs.events == []


def _other_order(data: bytes) -> bytes:
    mark = b"<" if sys.byteorder == "little" else b">"
    other = b">" if mark == b"<" else b"<"
    return data.replace(mark, other, 1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "torn": lambda data: data[:-1],
    "head only": lambda data: data[:10],
    "longer": lambda data: data + bytes(12),
    "one bit": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    "another kind": lambda data: b"x" + data[1:],
    "newer": lambda data: data.replace(b"miniclaw-due-1", b"miniclaw-due-9", 1),
    "other byte order": _other_order,
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_due_that_is_damaged_is_nothing(
    state: StateDirectory, seen: RetentionState, logs: LogRecorder, kind: str
) -> None:
    """One wrong bit could make an announcement of one session that of another: all is announced anew."""
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    path = state.path / DUE_NAME
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    assert told(state.read_due(seen)) == NOTHING
    assert logs.one(NOT_LISTED)["level"] == "warning"
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    assert told(state.read_due(seen)) == ALL, "the next write heals it"


def test_due_that_is_refused_is_nothing(state: StateDirectory, seen: RetentionState, logs: LogRecorder) -> None:
    """A list that the system does not give is announced anew, with a WARNING, and left as it is."""
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    fs = FaultyOs()
    fs.fail("pread", errno.EIO)
    assert told(state_in(state.path.parent, fs).read_due(seen)) == NOTHING
    assert logs.one(NOT_LISTED)
    assert told(state.read_due(seen)) == ALL


def test_due_in_whose_place_is_a_directory_is_nothing(
    state: StateDirectory, seen: RetentionState, logs: LogRecorder
) -> None:
    """The WARNING has a sentence, and no number of an error."""
    state.write(seen)
    (state.path / DUE_NAME).mkdir()
    assert told(state.read_due(seen)) == NOTHING
    assert logs.one(NOT_LISTED)["error"] == "it is a directory, not a file"


@pytest.mark.parametrize("name", [DUE_NAME, STATE_FILE])
def test_huge_file_is_not_read(state: StateDirectory, seen: RetentionState, logs: LogRecorder, name: str) -> None:
    """A file that is too large is one that cannot be read, whatever the memory would hold."""
    if name == STATE_FILE:
        logs.expect_error(COULD_NOT_READ)
    state.write(seen)
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    os.truncate(state.path / name, 3 * 2**30)
    state.read()
    state.read_due(seen)
    (event,) = logs.named(COULD_NOT_READ) + logs.named(NOT_LISTED)
    assert "too many" in event["error"]


@pytest.mark.parametrize("name", ["write", "fsync", "rename"])
def test_write_due_that_fails_keeps_the_old_list(state: StateDirectory, seen: RetentionState, name: str) -> None:
    """After a failed write the old list is still there, whole, and no temporary file."""
    state.write_due(seen.id, noted(DUE), noted(AHEAD))
    fs = FaultyOs()
    fs.fail(name, errno.ENOSPC)
    with pytest.raises(StoreIOError):
        state_in(state.path.parent, fs).write_due(seen.id, Noted(), Noted())
    assert told(state.read_due(seen)) == ALL
    assert os.listdir(state.path) == [DUE_NAME]


# The landmark ---------------------------------------------------------------------------------------------------


def test_landmark_that_stays_says_that_inodes_last(state: StateDirectory, seen: RetentionState) -> None:
    """The same file at each start: files can be recognised by their inodes."""
    for _ in range(3):
        assert state.inodes_last(seen)
        state.write(seen)
        seen = state.read() or pytest.fail("it was written")
    assert seen.landmark is not None
    assert seen.landmark.inode == (state.path / LANDMARK_NAME).stat().st_ino
    assert (state.path / LANDMARK_NAME).stat().st_size == 0


def test_landmark_with_the_same_times_and_another_inode_says_that_inodes_do_not_last(
    state: StateDirectory, seen: RetentionState
) -> None:
    """Only the file system itself can do that; once seen, it is true for good."""
    assert state.inodes_last(seen)
    seen.inodes_last = state_in(state.path.parent, OtherInodes(1)).inodes_last(seen)
    assert not seen.inodes_last
    assert not state_in(state.path.parent, OtherInodes(1)).inodes_last(seen), "also where it does not change this time"


def test_landmark_of_a_copy_has_other_times_and_inodes_last(state: StateDirectory, seen: RetentionState) -> None:
    """A restored backup has other inodes once; from then on they last again."""
    assert state.inodes_last(seen)
    before = (state.path / LANDMARK_NAME).stat()
    (state.path / LANDMARK_NAME).rename(state.path / "old")
    (state.path / LANDMARK_NAME).touch()
    os.utime(state.path / LANDMARK_NAME, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a good copy has it
    assert seen.landmark is not None
    assert (state.path / LANDMARK_NAME).stat().st_ino != seen.landmark.inode
    assert state.inodes_last(seen)
    assert state.inodes_last(seen)


def test_landmark_that_is_lost_says_nothing(state: StateDirectory, seen: RetentionState) -> None:
    """A landmark that was removed is made anew, and inodes are believed to last."""
    assert state.inodes_last(seen)
    (state.path / "in the way of its inode").touch()
    (state.path / LANDMARK_NAME).unlink()
    assert state.inodes_last(seen)
    assert (state.path / LANDMARK_NAME).exists()


def test_landmark_that_cannot_be_made_raises_store_error(state: StateDirectory, seen: RetentionState) -> None:
    """A refusal is a StoreError, and names the file."""
    fs = FaultyOs()
    fs.fail("open", errno.EROFS, path=LANDMARK_NAME)
    with pytest.raises(StoreIOError) as caught:
        state_in(state.path.parent, fs).inodes_last(seen)
    assert caught.value.path == state.path / LANDMARK_NAME


# In the place of each -------------------------------------------------------------------------------------------


def write_all(state: StateDirectory, seen: RetentionState) -> dict[str, Exception]:
    """Write each file; return what was refused."""
    refused: dict[str, Exception] = {}
    for name, write in (
        (LANDMARK_NAME, lambda: state.inodes_last(seen)),  # which changes the state
        (STATE_FILE, lambda: state.write(seen)),
        (LAST_SEEN_NAME, lambda: state.write_last_seen(tick_of(seen))),
        (DUE_NAME, lambda: state.write_due(seen.id, noted(DUE), noted(AHEAD))),
    ):
        try:
            write()
        except StoreError as error:
            refused[name] = error
    return refused


FILES = [STATE_FILE, LAST_SEEN_NAME, DUE_NAME, LANDMARK_NAME]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "dangling", "FIFO", "directory"])
def test_something_else_in_the_place_of_a_file_is_never_followed_or_waited_for(
    state: StateDirectory, seen: RetentionState, logs: LogRecorder, tmp_path: Path, name: str, kind: str
) -> None:
    """Reading it is as if there were none, or an error; writing it replaces it, or is refused. Nothing gets out."""
    if name == STATE_FILE:
        logs.expect_error(COULD_NOT_READ)
    other = state_in(tmp_path / "elsewhere")
    assert write_all(other, seen) == write_all(state, seen) == {}
    outside = {path.name: path.read_bytes() for path in other.path.iterdir()}
    (state.path / name).unlink()
    if kind == "link":
        (state.path / name).symlink_to(other.path / name)
    elif kind == "dangling":
        (state.path / name).symlink_to(tmp_path / "nowhere")
    elif kind == "FIFO":
        os.mkfifo(state.path / name)
    else:
        (state.path / name).mkdir()
    assert state.read() == (None if name == STATE_FILE else seen)
    assert told(state.read_due(seen)) == (NOTHING if name == DUE_NAME else ALL)
    refused = write_all(state, seen)
    assert set(refused) <= {name}
    if name == LAST_SEEN_NAME or (kind == "directory" and name != LANDMARK_NAME):
        assert set(refused) == {name}
    elif name in {STATE_FILE, DUE_NAME}:
        assert (state.path / name).is_file()
        assert not (state.path / name).is_symlink()
        assert (state.load(), told(state.read_due(seen))) == (seen, ALL)
    assert {path.name: path.read_bytes() for path in other.path.iterdir()} == outside
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", FILES)
def test_hard_link_leaves_the_other_name_as_it_was(
    state: StateDirectory, seen: RetentionState, clock: WallClock, tmp_path: Path, name: str
) -> None:
    """A backup by hard links keeps what it had."""
    assert write_all(state, seen) == {}
    (tmp_path / "backup").hardlink_to(state.path / name)
    before = (tmp_path / "backup").read_bytes()
    clock.move(hours=1)
    later = known(clock)
    assert write_all(state, later) == {}
    assert (tmp_path / "backup").read_bytes() == before
    assert (state.load(), told(state.read_due(later))) == (later, ALL)


@pytest.mark.parametrize("kind", ["link", "file", "FIFO"])
def test_something_else_in_the_place_of_the_folder_is_refused_in_words(
    state: StateDirectory, seen: RetentionState, clock: WallClock, logs: LogRecorder, tmp_path: Path, kind: str
) -> None:
    """Nothing is written through it or read through it, and each error says what it is."""
    logs.expect_error(COULD_NOT_READ)
    other = state_in(tmp_path / "elsewhere")
    write_all(other, seen)
    if kind == "link":
        state.path.symlink_to(other.path)
    elif kind == "file":
        state.path.write_text("mine")
    else:
        os.mkfifo(state.path)
    refused = write_all(state, known(clock))
    assert set(refused) == set(FILES)
    assert all("not a directory; move it out of the way" in str(error) for error in refused.values())
    assert state.read() is None
    assert told(state.read_due(seen)) == NOTHING
    state.sweep()
    assert (other.load(), sorted(os.listdir(other.path))) == (seen, sorted(FILES))
    assert kind != "file" or state.path.read_text() == "mine"


@pytest.mark.parametrize("name", [STATE_FILE, LAST_SEEN_NAME])
def test_number_that_became_another_one_is_damage(
    state: StateDirectory, clock: WallClock, logs: LogRecorder, name: str
) -> None:
    """A time that is still a number, but not the one that was written, could delete what is in use."""
    if name == STATE_FILE:
        logs.expect_error(COULD_NOT_READ)
    written = known(clock)
    state.write(written)
    written.serial += 1
    state.write_last_seen(tick_of(written))
    path = state.path / name
    lived = f'"lived":{written.timeline.lived}'.encode()
    assert lived in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(lived, lived[:-1] + b"1"))
    found = state.read()
    assert found is None if name == STATE_FILE else found is not None and found.serial == written.serial - 1
