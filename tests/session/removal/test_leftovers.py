"""Leftovers: each is of a kind by its name, is counted by it, and what is of no kind is never touched."""

from __future__ import annotations

import errno
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.session.entries import Leftover, LeftoverRemoval
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.removal.leftovers import list_foreign, list_leftovers, remove_leftovers
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import Session, SessionHeader
from tests.fakes.durable_os import DurableOs
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = datetime(2026, 10, 1, 8, 30, 15, tzinfo=UTC)
QUARANTINED = "telegram_1.json.20261001T083015Z-0a1b2c3d"
TEMPORARY = "tmp-0123456789abcdef"
LEGACY = "telegram_2.json.tmp"
NOT_LISTED = "Leftovers could not be listed"


def lay(path: Path, content: bytes = b"12345", *, mtime: datetime = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime.timestamp(), mtime.timestamp()))
    return path


@pytest.fixture
def laid(directory: SessionDirectory, trash: Trash) -> list[Leftover]:
    """One leftover of each kind, and a session that is none."""
    write_session(directory.path, "telegram_9", NOW)
    lay(directory.path / ".quarantine" / QUARANTINED, mtime=NOW)
    lay(directory.path / ".work" / TEMPORARY)
    lay(directory.path / ".work" / "rm-0" / "telegram_3.json", b"captured")
    directory.captured["telegram_3.json"] = "rm-0"
    lay(directory.path / LEGACY, b"old")
    header = SessionHeader("telegram_9", "telegram", "9", NOW)
    prepared = trash.prepare(
        "telegram_9.json", header, dir_fd=directory.fd, reason="ttl", by="service", now=NOW, keep_for=timedelta(days=7)
    )
    trash.commit([prepared])
    return [
        Leftover("quarantined", QUARANTINED, 5, STAMP),
        Leftover("temporary", TEMPORARY, 5, OLD),
        Leftover("unfinished", "rm-0/telegram_3.json", 8, None),
        Leftover("legacy", LEGACY, 3, OLD),
        Leftover("trash", f"{prepared.entry_id}.gz", prepared.stored_size, NOW, NOW + timedelta(days=7)),
    ]


def tree(directory: SessionDirectory) -> set[str]:
    return {str(path.relative_to(directory.path)) for path in directory.path.rglob("*")}


# Listing --------------------------------------------------------------------------------------------------------


def test_list_names_each_kind(directory: SessionDirectory, trash: Trash, laid: list[Leftover]) -> None:
    """Every leftover is listed once, with its kind, size and age, and nothing else is."""
    assert list_leftovers(directory, now=NOW, trash=trash) == laid
    assert list_leftovers(directory, now=NOW, trash=None) == laid[:-1]
    assert list_foreign(directory, trash) == []


def test_list_of_a_directory_that_is_not_owned_sees_the_same(
    directory: SessionDirectory, trash: Trash, laid: list[Leftover]
) -> None:
    """A command that only looks finds what the owner finds, but for what the owner has just captured."""
    with SessionDirectory.open(directory.path) as reader:
        assert list_leftovers(reader, now=NOW, trash=trash) == [each for each in laid if each.kind != "unfinished"]


def test_list_of_an_empty_directory_is_empty(sessions_dir: Path, trash: Trash) -> None:
    """Folders that nobody has made yet hold nothing, and are not made."""
    with SessionDirectory.open(sessions_dir) as reader:
        assert list_leftovers(reader, now=NOW, trash=trash) == []
        assert list_foreign(reader, trash) == []
    assert os.listdir(sessions_dir) == []


def test_quarantine_ages_by_its_stamp_alone(directory: SessionDirectory) -> None:
    """A file keeps its own time when it moves: it says nothing about how long the file has been in quarantine."""
    path = lay(directory.path / "telegram_1.json", b"{", mtime=OLD)
    before = datetime.now(UTC)
    quarantine(directory, path.name)
    (leftover,) = list_leftovers(directory, now=NOW, trash=None)
    assert leftover.since is not None
    assert before - timedelta(seconds=2) < leftover.since <= datetime.now(UTC)


@pytest.mark.parametrize(("age", "listed"), [(timedelta(hours=1), 0), (timedelta(hours=1, microseconds=1), 1)])
def test_temporary_file_is_left_behind_after_an_hour(directory: SessionDirectory, age: timedelta, listed: int) -> None:
    """A younger one may belong to a save that is just going on."""
    lay(directory.path / ".work" / TEMPORARY)
    assert len(list_leftovers(directory, now=OLD + age, trash=None)) == listed


def test_temporary_file_of_a_running_save_is_not_listed(directory: SessionDirectory) -> None:
    """However old it is, what somebody is working on is in use."""
    lay(directory.path / ".work" / TEMPORARY)
    directory.under_way.add(TEMPORARY)
    assert list_leftovers(directory, now=NOW, trash=None) == []


def test_temporary_file_of_a_save_outlives_a_clock_that_jumps(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A save that is going on is nobody's leftover, also where the clock says that its file is years old."""
    gate = fs.block("rename", path="tmp-")
    saving = threading.Thread(target=directory.write, args=[Session("web_1", "web", "1", NOW, NOW)])
    saving.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    far_ahead = datetime(2100, 1, 1, tzinfo=UTC)
    found = list_leftovers(directory, now=far_ahead, trash=None)
    gate.opened.set()
    saving.join()
    assert found == []
    assert (directory.path / "web_1.json").exists()
    assert directory.under_way == set()


@pytest.mark.parametrize(("age", "listed"), [(timedelta(days=1), 0), (timedelta(days=1, microseconds=1), 1)])
def test_legacy_file_is_left_behind_after_a_day(directory: SessionDirectory, age: timedelta, listed: int) -> None:
    """A younger one may belong to another program that is still running."""
    lay(directory.path / LEGACY)
    assert len(list_leftovers(directory, now=OLD + age, trash=None)) == listed


def test_names_that_a_scan_found_are_not_listed_again(directory: SessionDirectory, fs: FaultyOs) -> None:
    """With the names given, the sessions directory is not read twice; what vanished meanwhile is left out."""
    lay(directory.path / LEGACY)
    fs.calls.clear()
    found = list_leftovers(directory, now=NOW, trash=None, names=[LEGACY, "telegram_4.json.corrupted", "README"])
    assert [leftover.key for leftover in found] == [LEGACY]
    assert len([call for call in fs.calls if call[0] == "scandir"]) == 1


def test_unfinished_removal_that_was_put_back_takes_no_place(directory: SessionDirectory) -> None:
    """The second name of a session that is in its place is listed, and its bytes are not counted twice."""
    path = write_session(directory.path, "telegram_1", OLD)
    (directory.path / ".work" / "rm-0").mkdir()
    (directory.path / ".work" / "rm-0" / path.name).hardlink_to(path)
    directory.captured[path.name] = "rm-0"
    assert list_leftovers(directory, now=NOW, trash=None) == [Leftover("unfinished", f"rm-0/{path.name}", 0, None)]


def test_removal_under_way_is_not_unfinished(directory: SessionDirectory) -> None:
    """What the owner has captured just now is no leftover; only its book of failures tells which is."""
    lay(directory.path / ".work" / "rm-0" / "telegram_3.json")
    assert list_leftovers(directory, now=NOW, trash=None) == []


def test_file_of_any_time_is_no_error(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A file system may hold times that no calendar does; such a file is not old."""
    status = list(os.stat(lay(directory.path / LEGACY)))
    far = os.stat_result(status, {"st_mtime_ns": 2**40 * 10**9})
    fs.stat = lambda name, *, dir_fd=None: far  # type: ignore[method-assign]
    assert list_leftovers(directory, now=NOW, trash=None) == []


@pytest.mark.parametrize("folder", [".quarantine", ".work", "."])
def test_list_of_a_folder_that_is_refused_is_told_and_goes_on(
    directory: SessionDirectory, trash: Trash, laid: list[Leftover], fs: FaultyOs, logs: LogRecorder, folder: str
) -> None:
    """One folder that cannot be read is an ERROR, and the leftovers in the others are listed all the same."""
    logs.expect_error(NOT_LISTED)
    fs.on(lambda called, args: _refuse() if called == "open" and args[0] == folder else None)
    gone = {".quarantine": {"quarantined"}, ".work": {"temporary", "unfinished"}, ".": {"legacy"}}[folder]
    kinds = {leftover.kind for leftover in list_leftovers(directory, now=NOW, trash=trash)}
    assert kinds == {"quarantined", "temporary", "unfinished", "legacy", "trash"} - gone
    assert {event["path"].removesuffix("/rm-0") for event in logs.named(NOT_LISTED)} == {str(directory.path / folder)}


def _refuse() -> None:
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def test_trash_that_is_refused_is_told_and_goes_on(
    directory: SessionDirectory, trash: Trash, laid: list[Leftover], fs: FaultyOs, logs: LogRecorder
) -> None:
    """A trash that cannot be read is an ERROR, and hides no other leftover."""
    logs.expect_error(NOT_LISTED)
    fs.fail("open", errno.EACCES, path=trash.path.name)
    assert list_leftovers(directory, now=NOW, trash=trash) == laid[:-1]
    assert list_foreign(directory, trash) == []
    assert len(logs.named(NOT_LISTED)) == 2


# Removing -------------------------------------------------------------------------------------------------------


def test_remove_takes_each_kind_its_own_way(directory: SessionDirectory, trash: Trash, laid: list[Leftover]) -> None:
    """Quarantined, temporary and trashed files go, old ones move to quarantine, a captured session stays."""
    order = [*laid[3:], *laid[:3]]
    removals = remove_leftovers(directory, order, trash=trash)
    assert [removal.leftover for removal in removals] == order
    assert {removal.leftover.kind: (removal.outcome, removal.bytes_freed) for removal in removals} == {
        "quarantined": ("removed", 5),
        "temporary": ("removed", 5),
        "unfinished": ("failed", 0),
        "legacy": ("moved", 0),
        "trash": ("removed", laid[4].size),
    }
    assert [bool(removal.reason) for removal in removals] == [False, False, False, False, True]
    (moved,) = os.listdir(directory.path / ".quarantine")
    assert moved.startswith(LEGACY + ".")
    assert (directory.path / ".quarantine" / moved).read_bytes() == b"old"
    assert tree(directory) == {
        ".lock", ".work", ".work/rm-0", ".work/rm-0/telegram_3.json", ".quarantine", f".quarantine/{moved}",
        ".trash", "telegram_9.json",
    }  # fmt: skip
    assert trash.entries() == []


def test_remove_twice_has_vanished(directory: SessionDirectory, trash: Trash, laid: list[Leftover]) -> None:
    """What is gone already is no failure, and frees nothing."""
    remove_leftovers(directory, laid, trash=trash)
    again = remove_leftovers(directory, laid, trash=trash)
    assert {removal.leftover.kind: removal.outcome for removal in again} == {
        "quarantined": "vanished", "temporary": "vanished", "unfinished": "failed", "legacy": "vanished",
        "trash": "vanished",
    }  # fmt: skip
    assert remove_leftovers(directory, [laid[0], laid[0]], trash=trash) == [LeftoverRemoval(laid[0], "vanished")] * 2


def test_remove_without_folder_or_trash_says_so(directory: SessionDirectory) -> None:
    """Where there is no quarantine nothing is in it, and without a trash nothing can be taken out of one."""
    gone, nowhere = Leftover("quarantined", QUARANTINED, 5, STAMP), Leftover("trash", QUARANTINED + ".gz", 5, STAMP)
    assert [each.outcome for each in remove_leftovers(directory, [gone, nowhere], trash=None)] == ["vanished", "failed"]


def test_remove_hard_linked_frees_nothing(directory: SessionDirectory, laid: list[Leftover], tmp_path: Path) -> None:
    """Where another name holds the file, the disk gets nothing back."""
    os.link(directory.path / ".quarantine" / QUARANTINED, tmp_path / "backup")
    assert remove_leftovers(directory, laid[:1], trash=None) == [LeftoverRemoval(laid[0], "removed", 0)]


def test_remove_of_a_legacy_file_that_is_written_again_leaves_it(
    directory: SessionDirectory, laid: list[Leftover]
) -> None:
    """An earlier implementation that is still running keeps its file."""
    lay(directory.path / LEGACY, b"new", mtime=NOW)
    (removal,) = remove_leftovers(directory, [laid[3]], trash=None)
    assert (removal.outcome, removal.reason) == ("failed", "another program has changed it since")
    assert (directory.path / LEGACY).read_bytes() == b"new"


@pytest.mark.parametrize("call", ["open", "stat", "unlink", "fsync", "rename", "mkdir"])
def test_remove_that_is_refused_says_so(
    directory: SessionDirectory, trash: Trash, laid: list[Leftover], fs: FaultyOs, call: str
) -> None:
    """What the system refuses raises nothing, and does not count as removed."""
    fs.fail(call, errno.EROFS)
    for removal in remove_leftovers(directory, laid, trash=trash):
        if removal.outcome == "failed":
            assert removal.bytes_freed == 0
            assert removal.reason
        else:
            assert (call, removal.outcome) in {
                *((call, "removed") for call in ("rename", "mkdir") if removal.leftover.kind != "legacy"),
                ("unlink", "moved"),
                ("mkdir", "moved"),  # its folder is there
            }


def test_remove_is_durable(sessions_dir: Path) -> None:
    """What counts as removed stays removed, with one sync of the folder for all."""
    fs = DurableOs(sessions_dir)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        for number in range(3):
            lay(sessions_dir / ".quarantine" / f"{QUARANTINED[:-1]}{number}")
        fs.forget()
        found = list_leftovers(directory, now=NOW, trash=None)
        assert len(remove_leftovers(directory, found, trash=None)) == 3
        assert sessions_dir / ".quarantine" not in fs.unsynced


# Strange company ------------------------------------------------------------------------------------------------


STRANGE = [
    ".quarantine/notes.txt",
    ".quarantine/telegram_1.json",
    ".quarantine/telegram_1.json.20261001T083015Z-0a1b2c3",
    ".quarantine/" + "x" * 255,
    ".work/tmp-0123",
    ".work/tmp-0123456789abcdef.bak",
    ".work/notes",
    "notes.json.tmp",
    "Telegram_1.json.tmp",
    ".telegram_1.json.tmp",
    "telegram_1.json.tmp.bak",
    "telegram_1.tmp",
    "telegram_1.json.corrupted.1",
    "_.json.tmp",
    "\udcff_\udcfe.json.tmp",
]


def test_strangers_are_neither_listed_nor_touched(directory: SessionDirectory, trash: Trash, logs: LogRecorder) -> None:
    """What only resembles our names stays, though it is old and though somebody asks for it."""
    for name in STRANGE:
        lay(directory.path / name)
    before = tree(directory)
    assert list_leftovers(directory, now=NOW, trash=trash) == []
    kinds = {".quarantine": "quarantined", ".work": "temporary"}
    asked = []
    for name in [*STRANGE, "../outside", ".quarantine/../telegram_1.json", ".work/../telegram_1.json"]:
        folder, slash, key = name.partition("/")
        kind = kinds.get(folder, "legacy")
        asked.append(Leftover(kind, key if slash and kind != "legacy" else name, 5, OLD))  # type: ignore[arg-type]
    assert {removal.outcome for removal in remove_leftovers(directory, asked, trash=trash)} == {"failed"}
    assert tree(directory) == before
    assert {row.key for row in list_foreign(directory, trash)} == {
        name for name in STRANGE if name.startswith(".quarantine")
    }


def test_links_fifos_and_folders_under_our_names_are_not_touched(
    directory: SessionDirectory, trash: Trash, tmp_path: Path
) -> None:
    """What has a leftover's name and is something else stays, except in quarantine, and what it points to stays too."""
    (tmp_path / "victim").write_text("precious")
    places = {"temporary": ".work/" + TEMPORARY, "legacy": LEGACY}
    for make in (lambda path: path.symlink_to(tmp_path / "victim"), os.mkfifo, os.mkdir):
        for name in places.values():
            make(directory.path / name)
        assert list_leftovers(directory, now=NOW + timedelta(days=9999), trash=trash) == []
        asked = [Leftover(kind, Path(name).name, 5, OLD) for kind, name in places.items()]  # type: ignore[arg-type]
        for removal in remove_leftovers(directory, asked, trash=trash):
            assert removal.outcome == "failed"
            assert "not a file" in removal.reason
        for name in places.values():
            path = directory.path / name
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("folder", [".quarantine", ".work"])
def test_linked_folder_is_not_followed(
    directory: SessionDirectory, tmp_path: Path, logs: LogRecorder, folder: str
) -> None:
    """A link in the place of a folder makes nobody's files ours."""
    logs.expect_error(NOT_LISTED)
    name = QUARANTINED if folder == ".quarantine" else TEMPORARY
    victim = lay(tmp_path / "elsewhere" / name)
    if (directory.path / folder).exists():
        (directory.path / folder).rename(tmp_path / "moved")
    (directory.path / folder).symlink_to(tmp_path / "elsewhere")
    assert list_leftovers(directory, now=NOW, trash=None) == []
    kind = "quarantined" if folder == ".quarantine" else "temporary"
    (removal,) = remove_leftovers(directory, [Leftover(kind, name, 5, OLD)], trash=None)  # type: ignore[arg-type]
    assert removal.outcome == "failed"
    assert victim.exists()


@pytest.mark.parametrize("name", ["telegram_" + "x" * 237 + ".json.tmp", "telegram_\udcff\udcfe.json.corrupted"])
def test_legacy_files_of_any_name_move_to_quarantine_and_age_there(directory: SessionDirectory, name: str) -> None:
    """Names of 255 bytes, and names that are no text, are no reason to fail; in quarantine they are found again."""
    lay(directory.path / name, b"content")
    found = list_leftovers(directory, now=NOW, trash=None)
    assert [leftover.key for leftover in found] == [name]
    assert remove_leftovers(directory, found, trash=None)[0].outcome == "moved"
    (moved,) = list_leftovers(directory, now=NOW, trash=None)
    assert moved.kind == "quarantined"
    assert (directory.path / ".quarantine" / moved.key).read_bytes() == b"content"
