"""What is listed of the trash: its entries, damaged ones among them, and strangers, which are never touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.errors import CorruptTrashError, StoreIOError, TrashEntryNotFoundError
from miniclaw.session.entries import Leftover
from miniclaw.session.trash.trash import Trash
from tests.fakes.os_calls import FaultyOs
from tests.session.trash.test_trash import NOW, put


@pytest.fixture
def folder(sessions_dir: Path) -> Iterator[int]:
    """The sessions directory, opened."""
    sessions_dir.mkdir(parents=True, exist_ok=True)
    fd = os.open(sessions_dir, os.O_RDONLY)
    yield fd
    os.close(fd)


# Looking --------------------------------------------------------------------------------------------------------


def test_missing_trash_is_empty_and_is_not_made(trash: Trash) -> None:
    """Reading makes no folder, and there is nothing in one that is missing."""
    assert [*trash.entries(), *trash.leftovers(), *trash.foreign(), *trash.find_all("telegram_1")] == []
    assert trash.sweep() == 0
    assert trash.remove(["telegram_1.20261123T120000Z-00000000"])[0].outcome == "vanished"
    with pytest.raises(TrashEntryNotFoundError, match="telegram_1"):
        trash.find("telegram_1")
    with pytest.raises(TrashEntryNotFoundError):
        trash.read("telegram_1.20261123T120000Z-00000000")
    assert not trash.path.exists()


def test_find_gives_the_newest_of_a_session_and_any_by_its_id(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """A session's id stands for its newest entry, an entry's id for itself, with or without the suffix."""
    older = put(trash, folder, sessions_dir, now=NOW - timedelta(days=1)).entry_id
    newer = put(trash, folder, sessions_dir).entry_id
    put(trash, folder, sessions_dir, "telegram_12")
    assert trash.find("telegram_1").id == newer
    assert trash.find(older).id == older
    assert trash.find(f"{older}.gz").id == older
    assert [entry.id for entry in trash.find_all("telegram_1")] == [older, newer]
    for text in ("telegram_3", "nothing", "", "../x", "telegram_1.20261123T120000Z-00000000", "x" * 1000):
        with pytest.raises(TrashEntryNotFoundError):
            trash.find(text)


def test_find_of_a_session_called_like_an_entry_finds_it(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """A chat may be called as entries are; its own entry is found by its session's id."""
    session_id = "telegram_1.20261123t120000z-00000000"
    entry_id = put(trash, folder, sessions_dir, session_id).entry_id
    assert trash.find(session_id).id == trash.find(entry_id).id == entry_id


def test_damaged_entries_are_listed_with_what_their_names_tell(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """Of what cannot be read the name still tells the session's file and the time; it is found, and stays."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    path = trash.path_of(entry_id)
    path.write_bytes(path.read_bytes()[:30])
    (entry,) = trash.entries()
    assert entry.problem == "it ends too early"
    assert (entry.session_id, entry.expires_at, entry.last_accessed) == (None, None, None)
    assert (entry.key, entry.removed_at) == ("telegram_1.json", NOW.replace(microsecond=0))
    assert (entry.stored_size, entry.size) == (30, 0)
    assert trash.find_all("telegram_1") == [entry]
    assert trash.leftovers() == [Leftover("trash", f"{entry_id}.gz", 30, NOW.replace(microsecond=0))]
    with pytest.raises(CorruptTrashError, match="too early") as caught:
        trash.read(entry_id)
    assert caught.value.path == path
    assert path.exists()


def test_entry_that_says_it_is_another_session_is_damaged(trash: Trash, folder: int, sessions_dir: Path) -> None:
    """A file renamed in the trash is not believed: neither its name nor its line gives it to anybody."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    other = "telegram_2" + entry_id.removeprefix("telegram_1")
    trash.path_of(entry_id).rename(trash.path_of(other))
    (entry,) = trash.entries()
    assert "'telegram_1'" in entry.problem
    assert trash.find_all("telegram_1") == []
    with pytest.raises(CorruptTrashError):
        trash.read(other)


def test_entry_that_is_refused_is_listed_with_the_reason(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path
) -> None:
    """One entry that the system does not give does not hide the others."""
    refused = put(trash, folder, sessions_dir, "telegram_1").entry_id
    put(trash, folder, sessions_dir, "telegram_2")
    fs.fail("open", errno.EACCES, path="telegram_1")
    assert {entry.id == refused: entry.problem for entry in trash.entries()} == {
        True: "could not read it: Permission denied",
        False: "",
    }
    with pytest.raises(StoreIOError, match=refused):
        trash.read(refused)


def test_entry_that_vanishes_while_listed_is_left_out(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path
) -> None:
    """Between listing and reading an entry may go."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    fs.on(lambda called, args: trash.path_of(entry_id).unlink() if called == "open" and entry_id in args[0] else None)
    assert trash.entries() == []


def test_trash_that_cannot_be_listed_says_so(trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path) -> None:
    """A listing that breaks off is an error, not an empty trash."""
    put(trash, folder, sessions_dir)
    fs.fail("scandir")
    for look in (trash.entries, trash.foreign, trash.leftovers, trash.sweep, lambda: trash.find("telegram_1")):
        with pytest.raises(StoreIOError, match="list the trash"):
            look()


# Strange company ------------------------------------------------------------------------------------------------


@pytest.fixture
def strangers(trash: Trash, tmp_path: Path) -> dict[str, Path]:
    """Things in the trash that are none of ours, some of them under names that entries have."""
    trash.path.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    found = {}
    for name in (
        "README",
        "a.gz",
        "telegram_1.json",
        "x.20261123T120000Z-0000000g.gz",
        "tmp-123",
        ".hidden",
        "\udcff\udcfe",
    ):
        found[name] = trash.path / name
        found[name].write_text("mine")
    found["link"] = trash.path / "telegram_1.20261123T120000Z-00000001.gz"
    found["link"].symlink_to(victim)
    found["fifo"] = trash.path / "telegram_1.20261123T120000Z-00000002.gz"
    os.mkfifo(found["fifo"])
    found["directory"] = trash.path / "telegram_1.20261123T120000Z-00000003.gz"
    found["directory"].mkdir()
    found["temporary link"] = trash.path / "tmp-0123456789abcdef"
    found["temporary link"].symlink_to(victim)
    found["x" * 255] = trash.path / ("x" * 255)
    found["x" * 255].write_text("mine")
    return found


def test_strangers_in_the_trash_are_listed_apart_and_never_touched(
    trash: Trash, strangers: dict[str, Path], tmp_path: Path
) -> None:
    """What is not named as an entry, or is no file, is foreign, whatever is done to the trash."""
    assert [*trash.entries(), *trash.leftovers(), *trash.find_all("telegram_1")] == []
    assert {row.key for row in trash.foreign()} == {path.name for path in strangers.values()}
    assert {row.kind for row in trash.foreign()} == {"foreign"}
    removals = trash.remove([path.name for path in strangers.values()] + ["../victim", "..", "", "a/b"])
    assert {removal.outcome for removal in removals} == {"failed"}
    assert all(removal.reason for removal in removals)
    assert trash.sweep() == 0
    for path in strangers.values():
        with pytest.raises((CorruptTrashError, TrashEntryNotFoundError)):
            trash.read(path.name)
        assert os.path.lexists(path)
    assert (tmp_path / "victim").read_text() == "precious"


def test_file_that_turns_into_a_fifo_is_not_waited_for(
    trash: Trash, fs: FaultyOs, folder: int, sessions_dir: Path
) -> None:
    """What was a file when it was listed and is a FIFO when it is opened has a problem, and nobody waits."""
    entry_id = put(trash, folder, sessions_dir).entry_id
    path = trash.path_of(entry_id)

    def swap(called: str, args: tuple[object, ...]) -> None:
        if called == "open" and entry_id in str(args[0]):
            path.unlink(missing_ok=True)
            os.mkfifo(path)

    fs.on(swap)
    assert [entry.problem for entry in trash.entries()] == ["it is a FIFO, not a file"]
