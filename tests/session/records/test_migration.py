"""Moving in what earlier versions kept outside: nothing lost, nothing doubled, nothing of others touched."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.live.store import open_store
from miniclaw.session.records.history import merge_histories
from miniclaw.session.records.migration import move_in
from miniclaw.session.runtime import open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.faults.file_work import Told
from tests.faults.migration_work import ENTRIES, check, earlier_of, lay, rename_across

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOVED = "State and trash of an earlier version moved into the sessions directory"
NOT_MOVED = "Files of an earlier version could not be moved in; the next start tries again"
NO_FOLDER = "Folder of an earlier version could not be moved in"
OTHERS = "Files of others stay in a folder of an earlier version"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of an earlier version."""
    path = tmp_path / "workspace"
    path.mkdir()
    lay(path)
    return path


def migrate(root: Path, fs: FaultyOs | DurableOs | None = None) -> None:
    with SessionDirectory.open(root / "sessions", fs=fs) as directory:
        directory.own()
        move_in(directory, earlier_of(root))


def wrong(root: Path, *, complete: bool = True) -> list[str]:
    return list(check(root, Told(), complete))


def test_move_in_says_once_how_much_came_from_where(root: Path, logs: LogRecorder) -> None:
    """One line counts what was moved; a second start finds nothing, says nothing and changes nothing."""
    migrate(root)
    assert wrong(root) == []
    event = logs.one(MOVED)
    assert (event["level"], event["state_files"], event["trash_entries"]) == ("info", 4, 2)
    assert event["moved_from"] == [str(root / "state"), str(root / "trash")]
    logs.events.clear()
    migrate(root)
    assert logs.events == []
    assert wrong(root) == []


async def test_open_store_moves_in_before_anything_is_swept(root: Path) -> None:
    """The owner's start does it; the store has all of it, and one that only reads moves nothing."""
    async with open_store(root / "sessions", own=False, earlier=earlier_of(root)) as store:
        assert store.trash.entries() == []
    assert (root / "trash").exists()
    async with open_store(root / "sessions", earlier=earlier_of(root)) as store:
        assert {f"{entry.id}.gz" for entry in store.trash.entries()} == set(ENTRIES)
        assert len(store.state.history().read()[0]) == 4
    assert wrong(root) == []


class DisksApart(DurableOs):
    """Each folder is a file system of its own; what was unlinked too early is noted."""

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if not os.path.samestat(os.fstat(src_dir_fd), os.fstat(dst_dir_fd)):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        if not name.startswith("tmp-"):
            self.broken += [f"{name} was unlinked before {path} was synced" for path in in_hidden(self.unsynced)]
        super().unlink(name, dir_fd=dir_fd)


def in_hidden(paths: set[Path]) -> list[Path]:
    """Return those of some paths that are hidden folders, or in one."""
    return [path for path in paths if {".state", ".trash"} & {path.name, path.parent.name}]


@pytest.mark.parametrize("across", [False, True])
def test_move_in_is_durable_before_the_old_place_is_empty(root: Path, across: bool) -> None:
    """No original goes before its copy and the names are on the disk; all of it is, when the start goes on."""
    fs = DisksApart(root / "sessions") if across else DurableOs(root / "sessions")
    migrate(root, fs)
    assert fs.broken == []
    assert in_hidden(fs.unsynced) == []
    assert wrong(root) == []


# Across file systems --------------------------------------------------------------------------------------------


def test_copy_that_differs_leaves_the_original(root: Path, fs: FaultyOs, logs: LogRecorder) -> None:
    """A disk that returns something else than was written costs nothing: the copy goes, the original stays."""
    logs.expect_error(NOT_MOVED)
    fs.rename = rename_across  # type: ignore[method-assign]
    write = fs.write
    fs.write = lambda fd, data: write(fd, bytes(len(data)))  # type: ignore[method-assign]
    migrate(root, fs)
    assert "the copy is not what was copied" in logs.named(NOT_MOVED)[0]["error"]
    assert wrong(root, complete=False) == []
    assert set(ENTRIES) <= set(os.listdir(root / "trash"))
    assert os.listdir(root / "sessions" / ".trash") == []
    del fs.write
    migrate(root, fs)
    assert wrong(root) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_original_that_cannot_be_removed_is_in_the_old_place_only(
    root: Path, fs: FaultyOs, logs: LogRecorder, number: int
) -> None:
    """An old place that is read-only keeps its entries; with two copies, a restored session would come back."""
    logs.expect_error(NOT_MOVED)
    fs.rename = rename_across  # type: ignore[method-assign]
    unlink = fs.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if os.path.samestat(os.fstat(dir_fd), os.stat(root / "trash")):
            raise OSError(number, os.strerror(number))
        unlink(name, dir_fd=dir_fd)

    fs.unlink = refuse  # type: ignore[method-assign]
    for _ in range(2):
        migrate(root, fs)
    assert set(ENTRIES) <= set(os.listdir(root / "trash"))
    assert os.listdir(root / "sessions" / ".trash") == []
    assert os.strerror(number) in logs.named(NOT_MOVED)[-1]["error"]
    del fs.unlink
    migrate(root, fs)
    assert wrong(root) == []


def test_full_disk_moves_what_it_has_room_for(root: Path, fs: FaultyOs, logs: LogRecorder) -> None:
    """A file for which there is no room stays and is named; the others are moved, and it is, at the next start."""
    logs.expect_error(NOT_MOVED)
    fs.rename = rename_across  # type: ignore[method-assign]
    write, full = fs.write, next(iter(ENTRIES.values()))

    def refuse(fd: int, data: bytes) -> int:
        if bytes(data) == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    fs.write = refuse  # type: ignore[method-assign,assignment]
    migrate(root, fs)
    event = logs.one(NOT_MOVED)
    assert (event["path"], event["files"], event["more"]) == (str(root / "trash"), os.listdir(root / "trash"), 0)
    assert event["error"] == "No space left on device"
    assert wrong(root, complete=False) == []
    assert logs.one(MOVED)["trash_entries"] == 1
    del fs.write
    migrate(root, fs)
    assert wrong(root) == []


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system beside the one of the sessions; where root does not allow a mount, the other one is shm."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "miniclaw", str(path)], capture_output=True, check=False)
    if done.returncode == 0:
        yield path
        subprocess.run(["umount", str(path)], check=True)
        return
    path = Path(f"/dev/shm/miniclaw-{os.getpid()}")  # noqa: S108 - another file system, also for a user without rights
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


def test_move_in_from_a_real_other_file_system(root: Path, other_disk: Path) -> None:
    """The kernel's own EXDEV leads to the same."""
    for name in ("state", "trash"):
        shutil.move(root / name, other_disk / name)
    with SessionDirectory.open(root / "sessions") as directory:
        directory.own()
        move_in(directory, EarlierFolders(other_disk / "state", other_disk / "trash"))
    assert wrong(root) == []
    assert os.listdir(other_disk) == []


# What is in the way, and what is not ours -----------------------------------------------------------------------


def test_files_of_others_stay_and_are_named(root: Path, logs: LogRecorder, tmp_path: Path) -> None:
    """A note, a link, a FIFO and a folder are left alone, whatever they are called; the rest is moved."""
    (tmp_path / "victim").write_text("precious")
    trash, linked = root / "trash", "web_9.20260101T000000Z-00000000.gz"
    (trash / "notes.txt").write_text("mine")
    (trash / linked).symlink_to(tmp_path / "victim")
    os.mkfifo(trash / "web_9.20260101T000000Z-00000001.gz")
    (root / "state" / "folder").mkdir()
    migrate(root)
    named = {event["path"]: event["files"] for event in logs.named(OTHERS)}
    assert named == {str(trash): sorted(os.listdir(trash)), str(root / "state"): ["folder"]}
    assert len(os.listdir(trash)) == 3
    assert (tmp_path / "victim").read_text() == "precious"
    assert sorted(os.listdir(root / "sessions" / ".trash")) == sorted(ENTRIES)


@pytest.mark.parametrize("kind", ["link", "file", "FIFO"])
def test_old_folder_that_is_none_is_an_error_and_not_followed(
    root: Path, logs: LogRecorder, tmp_path: Path, kind: str
) -> None:
    """A link in the place of an old folder is not followed; the other folder is moved in."""
    logs.expect_error(NO_FOLDER)
    (root / "trash").rename(tmp_path / "elsewhere")
    _put_in_the_way(root / "trash", kind, tmp_path / "elsewhere")
    migrate(root)
    assert "not a directory; move it out of the way" in logs.one(NO_FOLDER)["error"]
    assert set(ENTRIES) <= set(os.listdir(tmp_path / "elsewhere"))
    assert not (root / "state").exists()


@pytest.mark.parametrize("kind", ["link", "file", "FIFO"])
@pytest.mark.parametrize("name", [".state", ".trash"])
async def test_hidden_folder_with_something_in_its_place_is_an_error_and_loses_nothing(
    root: Path, logs: LogRecorder, tmp_path: Path, name: str, kind: str
) -> None:
    """Nothing is moved into it or through it, the error says what to do, and once it is away all is moved."""
    logs.expect_error(NO_FOLDER)
    if name == ".trash":
        logs.expect_error("Trash could not be swept")
    (tmp_path / "elsewhere").mkdir()
    _put_in_the_way(root / "sessions" / name, kind, tmp_path / "elsewhere")
    async with open_store(root / "sessions", earlier=earlier_of(root)):
        pass
    event = logs.one(NO_FOLDER)
    assert str(root / "sessions" / name) in event["error"]
    assert "not a directory; move it out of the way" in event["error"]
    assert event["path"] == str(root / name[1:])
    assert os.listdir(tmp_path / "elsewhere") == []
    assert wrong(root, complete=False) == []
    (root / "sessions" / name).unlink()
    migrate(root)
    assert wrong(root) == []


def _put_in_the_way(path: Path, kind: str, target: Path) -> None:
    if kind == "link":
        path.symlink_to(target)
    elif kind == "file":
        path.write_text("x")
    else:
        os.mkfifo(path)


def test_file_that_is_refused_stays_and_the_rest_is_moved(root: Path, fs: FaultyOs, logs: LogRecorder) -> None:
    """A file that the system does not let go is named; the next start moves it."""
    logs.expect_error(NOT_MOVED)
    fs.fail("rename", errno.EPERM, path="history.jsonl")
    migrate(root, fs)
    assert (logs.one(NOT_MOVED)["files"], os.listdir(root / "state")) == (["history.jsonl"], ["history.jsonl"])
    fs.clear()
    migrate(root)
    assert wrong(root) == []


def test_old_folder_that_cannot_be_listed_is_an_error(root: Path, fs: FaultyOs, logs: LogRecorder) -> None:
    """A folder that may not be read is named, and left; the start goes on."""
    logs.expect_error(NO_FOLDER)
    fs.fail("open", errno.EACCES, path=str(root / "state"))
    migrate(root, fs)
    assert logs.one(NO_FOLDER)["path"] == str(root / "state")
    assert not (root / "trash").exists()
    assert wrong(root, complete=False) == []


def test_old_folder_that_is_the_new_one_is_left_alone(root: Path, logs: LogRecorder) -> None:
    """A program that has named the hidden folders itself has nothing to move."""
    migrate(root)
    logs.events.clear()
    place = root / "sessions"
    with SessionDirectory.open(place) as directory:
        directory.own()
        move_in(directory, EarlierFolders(place / ".state", place / ".trash"))
    assert logs.events == []
    assert wrong(root) == []


def test_one_old_folder_for_both_is_divided(root: Path, logs: LogRecorder) -> None:
    """State and entries of the trash that lay in one folder come where they belong."""
    for path in (root / "trash").iterdir():
        path.rename(root / "state" / path.name)
    (root / "trash").rmdir()
    with SessionDirectory.open(root / "sessions") as directory:
        directory.own()
        move_in(directory, EarlierFolders(root / "state", root / "state"))
    assert wrong(root) == []
    assert logs.named(OTHERS) == []


# Both places filled ---------------------------------------------------------------------------------------------


def test_three_entries_of_one_name_are_all_kept_or_named(root: Path, logs: LogRecorder) -> None:
    """An entry whose both possible names are taken by others stays, and is named."""
    logs.expect_error(NOT_MOVED)
    trash = root / "sessions" / ".trash"
    trash.mkdir()
    name = sorted(ENTRIES)[0]
    (trash / name).write_bytes(b"another one")
    migrate(root)
    (renamed,) = set(os.listdir(trash)) - set(ENTRIES)
    assert (trash / renamed).read_bytes() == ENTRIES[name]
    (trash / renamed).write_bytes(b"a third one")
    (root / "trash").mkdir()
    (root / "trash" / name).write_bytes(ENTRIES[name])
    migrate(root)
    assert logs.one(NOT_MOVED)["files"] == [name]
    assert (root / "trash" / name).read_bytes() == ENTRIES[name]
    assert {(trash / name).read_bytes(), (trash / renamed).read_bytes()} == {b"another one", b"a third one"}


def line(hours: int, note: str = "") -> bytes:
    at = msgspec.json.encode(NOW + timedelta(hours=hours)).decode()
    return f'{{"at":{at},"event":"cleanup","by":"service","because":"{note}"}}\n'.encode()


@pytest.mark.parametrize(
    ("here", "there", "merged"),
    [
        (b"", b"", b""),
        (line(1), b"", line(1)),
        (b"", line(1), line(1)),
        (line(2), line(1), line(1) + line(2)),
        (line(1) + line(3), line(2) + line(3), line(1) + line(2) + line(3)),
        (line(1), line(1) + line(1), line(1) + line(1)),
        (line(3) + line(1), line(2), line(2) + line(3) + line(1)),
        (line(2), b"torn", b"torn\n" + line(2)),
        (line(1)[:-1], line(2), line(1) + line(2)),
        (line(1, "a"), line(1, "b"), line(1, "a") + line(1, "b")),
    ],
)
def test_merge_histories_loses_and_doubles_no_line(here: bytes, there: bytes, merged: bytes) -> None:
    """Lines come by time, those of one file in their order, and merging again changes nothing."""
    assert merge_histories(here, there) == merged
    assert merge_histories(merged, there) == merged


@pytest.mark.parametrize("both", [False, True])
def test_earlier_state_is_dropped_and_touches_nothing_of_the_new(root: Path, logs: LogRecorder, both: bool) -> None:
    """No time that an earlier version has written down is taken over: the next run announces what it finds."""
    ours = b"what this version has seen\n"
    if both:
        (root / "sessions" / ".state").mkdir()
        (root / "sessions" / ".state" / "last-seen").write_bytes(ours)
    migrate(root)
    found = {path.name: path.read_bytes() for path in (root / "sessions" / ".state").iterdir()}
    assert found.pop("last-seen", None) == (ours if both else None)
    assert sorted(found) == ["history.jsonl", "sessions.ledger"]
    assert not (root / "state").exists()
    assert logs.one(MOVED)["state_files"] == 4


async def test_earlier_state_in_the_sessions_directory_is_dropped(tmp_path: Path, clock: WallClock) -> None:
    """Where the folder is the right one already, the first start leaves nothing of it either, and reads nothing of it."""
    lay(tmp_path)
    sessions = tmp_path / "sessions"
    (tmp_path / "state").rename(sessions / ".state")
    async with open_runtime(sessions, clock=clock, cleanup_interval_seconds=None):
        assert not (sessions / ".state" / "cleanup.json").exists()
    state = state_in(sessions).load()
    assert state is not None
    assert (state.last_run, state.timeline.lived, len(state.timeline.frames)) == (None, 0, 1)
