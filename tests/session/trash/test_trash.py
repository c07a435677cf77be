"""The trash: sessions go in whole and come out as they were, and nothing else in its folder is touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.errors import StoreIOError
from miniclaw.session.entries import Leftover
from miniclaw.session.names import split_session_id
from miniclaw.session.trash.entries import Prepared, TrashEntry, TrashRemoval
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import trash_in
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
LONG_ID = "telegram_" + "é" * 5000


@pytest.fixture
def folder(sessions_dir: Path) -> Iterator[int]:
    """The sessions directory, opened."""
    sessions_dir.mkdir(parents=True, exist_ok=True)
    fd = os.open(sessions_dir, os.O_RDONLY)
    yield fd
    os.close(fd)


def prepare(trash: Trash, folder: int, path: Path, session_id: str, *, now: datetime = NOW) -> Prepared:
    channel, chat_id = split_session_id(session_id)
    header = SessionHeader(session_id, channel, chat_id, OLD)
    return trash.prepare(path.name, header, dir_fd=folder, reason="ttl", by="service", now=now, keep_for=WEEK)


def put(trash: Trash, folder: int, directory: Path, session_id: str = "telegram_1", *, now: datetime = NOW) -> Prepared:
    prepared = prepare(trash, folder, write_session(directory, session_id, OLD), session_id, now=now)
    trash.commit([prepared])
    return prepared


# Filling --------------------------------------------------------------------------------------------------------


def test_trash_says_of_a_session_what_there_is_to_say(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """An entry tells which session it was, when and why it went, and until when it is kept."""
    prepared = put(trash, folder, sessions_dir)
    (entry,) = trash.entries()
    stored = (trash.path / f"{entry.id}.gz").stat().st_size
    assert entry == TrashEntry(
        id=prepared.entry_id, session_id="telegram_1", key="telegram_1.json", removed_at=NOW, expires_at=NOW + WEEK,
        reason="ttl", last_accessed=OLD, size=entry.size, stored_size=stored, by="service",
    )  # fmt: skip
    assert entry.id.startswith("telegram_1.20261123T120000Z-")
    assert trash.path_of(entry.id).stat().st_mode & 0o777 == 0o600
    assert trash.path.stat().st_mode & 0o777 == 0o700
    assert entry.size == (sessions_dir / "telegram_1.json").stat().st_size
    assert trash.read(entry.id) == (sessions_dir / "telegram_1.json").read_bytes()
    assert trash.foreign() == []
    assert trash.leftovers() == [Leftover("trash", f"{entry.id}.gz", stored, NOW, NOW + WEEK)]


def test_prepare_alone_makes_no_entry(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Until it is committed a copy is nobody's, and neither listed nor foreign; abandoned, it leaves nothing."""
    path = write_session(sessions_dir, "telegram_1", OLD)
    prepared = prepare(trash, folder, path, "telegram_1")
    assert trash.entries() == []
    assert trash.foreign() == []
    assert len(os.listdir(trash.path)) == 1
    trash.abandon([prepared])
    assert os.listdir(trash.path) == []
    assert path.exists()


def test_abandon_after_the_commit_withdraws_the_entry(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Of a session that stays after all there is no entry."""
    going, staying = put(trash, folder, sessions_dir, "telegram_1"), put(trash, folder, sessions_dir, "telegram_2")
    trash.abandon([staying])
    assert [entry.id for entry in trash.entries()] == [going.entry_id]


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 700_000])
def test_prepare_copies_whole_files_of_any_size(trash: Trash, folder: int, sessions_dir: Path, size: int) -> None:
    """A file longer than what is read at a time is copied whole, and an empty one too."""
    content = os.urandom(size)
    (sessions_dir / "x").write_bytes(content)
    prepared = prepare(trash, folder, sessions_dir / "x", "telegram_1")
    trash.commit([prepared])
    assert trash.read(prepared.entry_id) == content
    assert (prepared.size, prepared.stored_size) == (size, trash.path_of(prepared.entry_id).stat().st_size)


def test_bytes_freed_is_what_compression_gained(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """The difference, which is negative for a session that grows by packing."""
    (sessions_dir / "a").write_bytes(b"a" * 100_000)
    (sessions_dir / "b").write_bytes(b"b")
    long, short = (prepare(trash, folder, sessions_dir / name, "telegram_1") for name in "ab")
    assert long.size - long.stored_size > 90_000
    assert short.size - short.stored_size < 0


def test_trash_of_long_ids_has_names_that_any_disk_takes(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Ids of any length have an entry, listed and found by the whole id, apart from ids that only begin alike."""
    put(trash, folder, sessions_dir, LONG_ID)
    put(trash, folder, sessions_dir, LONG_ID + "é")
    assert all(len(os.fsencode(name)) <= 255 for name in os.listdir(trash.path))
    assert trash.find(LONG_ID).session_id == LONG_ID
    assert [entry.session_id for entry in trash.find_all(LONG_ID + "é")] == [LONG_ID + "é"]


def test_prepare_of_what_is_no_file_is_refused(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Links, FIFOs and directories do not go to the trash; the error names the entry that was to be."""
    (sessions_dir / "link").symlink_to("/etc/passwd")
    os.mkfifo(sessions_dir / "fifo")
    (sessions_dir / "directory").mkdir()
    for name in ("link", "fifo", "directory", "missing"):
        with pytest.raises(StoreIOError) as caught:
            prepare(trash, folder, sessions_dir / name, "telegram_1")
        assert str(caught.value).startswith(f"{trash.path}/telegram_1.20261123T120000Z-")
        assert os.listdir(trash.path) == []


def test_prepare_of_an_id_that_is_none_is_refused(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """An id that names no session is an error of the trash like any other."""
    write_session(sessions_dir, "telegram_1", OLD)
    header = SessionHeader("nothing", "telegram", "1", OLD)
    with pytest.raises(StoreIOError, match="session id"):
        trash.prepare("telegram_1.json", header, dir_fd=folder, reason="", by="", now=NOW, keep_for=WEEK)


def test_prepare_of_a_file_that_shrinks_meanwhile_is_refused(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path
) -> None:
    """A copy that is not the file as it was looked at is none."""
    path = write_session(sessions_dir, "telegram_1", OLD)

    def shrink(called: str, args: tuple[object, ...]) -> None:
        if called == "read":
            path.write_bytes(b"")

    fs.on(shrink)
    with pytest.raises(StoreIOError, match="changed"):
        prepare(trash, folder, path, "telegram_1")
    assert os.listdir(trash.path) == []


def test_prepare_for_very_long_expires_at_the_end_of_the_calendar(
    trash: Trash, folder: int, sessions_dir: Path
) -> None:
    """A time to keep that no calendar holds is no error."""
    path = write_session(sessions_dir, "telegram_1", OLD)
    header = SessionHeader("telegram_1", "telegram", "1", OLD)
    trash.commit([trash.prepare(path.name, header, dir_fd=folder, reason="", by="", now=NOW, keep_for=timedelta.max)])
    assert trash.entries()[0].expires_at == datetime.max.replace(tzinfo=UTC)


def test_commit_and_remove_are_durable(folder: int, sessions_dir: Path) -> None:
    """Content is synced before its name, the folder's own name too, and the names before anybody hears of them."""
    fs = DurableOs(sessions_dir)
    trash = trash_in(sessions_dir, fs)
    path = write_session(sessions_dir, "telegram_1", OLD)
    prepared = [prepare(trash, folder, path, "telegram_1") for _ in range(2)]
    assert not {name for name in fs.unsynced if name.is_file()}
    trash.commit(prepared)
    assert fs.unsynced == set()
    trash.remove([prepared[0].entry_id])
    assert fs.unsynced == set()
    assert fs.broken == []


def test_folder_that_was_there_is_synced_into_its_parent_once(folder: int, sessions_dir: Path) -> None:
    """Who made the folder may have died before its name was on the disk: the first write sees to it."""
    fs = FaultyOs()
    (sessions_dir / ".trash").mkdir()
    trash = trash_in(sessions_dir, fs)
    put(trash, folder, sessions_dir)
    assert [name for name, _ in fs.calls].count("fsync") == 3
    put(trash, folder, sessions_dir)
    assert [name for name, _ in fs.calls].count("fsync") == 5


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["mkdir", "write", "fsync", "rename"])
def test_full_disk_leaves_the_session_and_no_trash(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path, call: str, number: int
) -> None:
    """A trash that cannot be written is an error with a path in it, and nothing is begun."""
    path = write_session(sessions_dir, "telegram_1", OLD)
    fs.fail(call, number)
    with pytest.raises(StoreIOError) as caught:
        trash.commit([prepare(trash, folder, path, "telegram_1")])
    assert caught.value.errno == number
    assert str(trash.path) in str(caught.value)
    assert path.exists()
    assert not trash.path.exists() or os.listdir(trash.path) == []


def test_commit_that_fails_midway_withdraws_all(trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path) -> None:
    """Either all that was prepared together are entries, or none is."""
    prepared = [
        prepare(trash, folder, write_session(sessions_dir, session_id, OLD), session_id)
        for session_id in ("telegram_1", "telegram_2", "telegram_3")
    ]
    fs.fail("rename", errno.EIO, path="telegram_2")
    with pytest.raises(StoreIOError, match="telegram_2"):
        trash.commit(prepared)
    fs.clear()
    assert os.listdir(trash.path) == []


def test_commit_and_abandon_of_nothing_touch_nothing(trash: Trash, fs: FaultyOs) -> None:
    """An empty batch makes no folder."""
    trash.commit([])
    trash.abandon([])
    assert trash.remove([]) == []
    assert fs.calls == []


def test_trash_folder_that_is_gone_is_made_again(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Who deletes the whole trash does not stop the next removal; what was prepared in it cannot be committed."""
    path = write_session(sessions_dir, "telegram_1", OLD)
    prepared = prepare(trash, folder, path, "telegram_1")
    trash.path.joinpath(prepared.temporary).unlink()
    trash.path.rmdir()
    with pytest.raises(StoreIOError, match="No such file"):
        trash.commit([prepared])
    put(trash, folder, sessions_dir)
    assert len(trash.entries()) == 1


def test_two_threads_that_make_the_folder_both_have_it(folder: int, sessions_dir: Path) -> None:
    """A folder that another thread makes at the same time is no error."""
    fs = FaultyOs()
    trash = trash_in(sessions_dir, fs)

    def make(called: str, args: tuple[object, ...]) -> None:
        if called == "mkdir" and not trash.path.exists():
            trash.path.mkdir()

    fs.on(make)
    put(trash, folder, sessions_dir)
    assert len(trash.entries()) == 1


def test_trash_in_the_place_of_something_else_is_refused(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """A link or a file in the place of the folder is not followed, to write, to list or to remove."""
    path = write_session(sessions_dir, "telegram_1", OLD)
    elsewhere = sessions_dir.parent / "elsewhere"
    elsewhere.mkdir()
    for make in (lambda: trash.path.symlink_to(elsewhere), lambda: trash.path.write_text("a file")):
        make()
        with pytest.raises(StoreIOError):
            prepare(trash, folder, path, "telegram_1")
        with pytest.raises(StoreIOError):
            trash.entries()
        with pytest.raises(StoreIOError):
            trash.sweep()
        (removal,) = trash.remove(["telegram_1.20261123T120000Z-00000000"])
        assert removal.outcome == "failed"
        assert str(trash.path) in removal.reason
        trash.path.unlink()
    assert os.listdir(elsewhere) == []


# Emptying -------------------------------------------------------------------------------------------------------


def test_remove_frees_what_the_disk_gets_back(trash: Trash, folder: int, sessions_dir: Path, tmp_path: Path) -> None:
    """The size of the entry's own file is counted, once, and not where another name holds it."""
    single, linked = put(trash, folder, sessions_dir, "telegram_1"), put(trash, folder, sessions_dir, "telegram_2")
    os.link(trash.path_of(linked.entry_id), tmp_path / "backup")
    ids = [single.entry_id, f"{linked.entry_id}.gz", single.entry_id]
    assert trash.remove(ids) == [
        TrashRemoval(single.entry_id, "removed", single.stored_size),
        TrashRemoval(linked.entry_id, "removed", 0),
        TrashRemoval(single.entry_id, "vanished"),
    ]
    assert os.listdir(trash.path) == []


def test_remove_takes_damaged_entries(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """What nobody can read can still be emptied."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    trash.path_of(entry_id).write_bytes(b"")
    assert trash.remove([entry_id]) == [TrashRemoval(entry_id, "removed", 0)]


@pytest.mark.parametrize("call", ["stat", "unlink", "fsync"])
def test_remove_that_is_refused_says_so(trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path, call: str) -> None:
    """What the system refuses is not counted, nor what a power cut may bring back."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    gone = "telegram_9.20261123T120000Z-00000000"
    fs.fail(call, path="" if call == "fsync" else "telegram_1")
    removal, vanished = trash.remove([entry_id, gone])
    assert (removal.outcome, removal.bytes_freed) == ("failed", 0)
    assert "Input/output error" in removal.reason
    assert vanished.outcome == "vanished"


def test_sweep_takes_what_was_prepared_and_nothing_else(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Copies of a program that died go at the next start; entries stay."""
    put(trash, folder, sessions_dir)
    path = write_session(sessions_dir, "telegram_2", OLD)
    for _ in range(2):
        prepare(trash, folder, path, "telegram_2")
    assert trash.sweep() == 2
    assert len(os.listdir(trash.path)) == len(trash.entries()) == 1


def test_sweep_that_is_refused_leaves_it_for_the_next(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path
) -> None:
    """A temporary file that cannot be removed is no reason not to start."""
    prepare(trash, folder, write_session(sessions_dir, "telegram_1", OLD), "telegram_1")
    fs.fail("unlink")
    assert trash.sweep() == 0
    fs.clear()
    assert trash.sweep() == 1
