"""Removing files from quarantine: each is gone, or in the trash, or still there; what was changed meanwhile stays."""

from __future__ import annotations

import errno
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.errors import CorruptTrashError, OwnershipLostError
from miniclaw.session.entries import Leftover, LeftoverRemoval
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.quarantine_files import list_quarantined
from miniclaw.session.removal.quarantine_removal import leftover_of, remove_quarantined
from miniclaw.session.removal.restore import restore, return_to_quarantine
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.trash.trash import Trash
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import trash_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import session_dict

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
ID = "telegram_1.json.20261001T083015Z-0a1b2c3d"
SESSION = json.dumps(session_dict("telegram_1", OLD)).encode()


def lay(directory: SessionDirectory, content: bytes = b"{", file_id: str = ID) -> Leftover:
    path = directory.path / ".quarantine" / file_id
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(content)
    return next(leftover_of(file) for file in list_quarantined(directory) if file.id == file_id)


def order(*leftovers: Leftover) -> TrashOrder:
    return TrashOrder({leftover.key: "ttl" for leftover in leftovers}, "service", NOW, WEEK)


def _refuse() -> None:
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def left(directory: SessionDirectory) -> list[str]:
    return sorted(os.listdir(directory.path / ".quarantine"))


@pytest.mark.parametrize("content", [SESSION, b"{", b"", bytes(range(256)) * 2000])
def test_file_that_goes_to_the_trash_comes_back_as_it_was(
    directory: SessionDirectory, trash: Trash, content: bytes
) -> None:
    """Its entry says what it was and why it went; restored it is in quarantine again, as moved there just now."""
    leftover = lay(directory, content)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert (removal.outcome, left(directory)) == ("removed", [])
    (entry,) = trash.entries()
    assert entry.id == removal.entry_id
    assert removal.bytes_freed == len(content) - entry.stored_size
    assert (entry.from_quarantine, entry.key, entry.problem) == (True, "telegram_1.json", "")
    assert (entry.reason, entry.by, entry.size) == ("ttl", "service", len(content))
    assert (entry.removed_at, entry.expires_at) == (NOW, NOW + WEEK)
    is_session = content == SESSION
    assert (entry.session_id, entry.last_accessed) == (("telegram_1", OLD) if is_session else (None, None))
    (row,) = trash.leftovers()
    assert (row.kind, row.since, row.expires_at, row.from_quarantine) == ("trash", NOW, NOW + WEEK, True)
    before = datetime.now(UTC).replace(microsecond=0)  # the name of a quarantined file has whole seconds
    file_id = return_to_quarantine(directory, trash, entry.id)
    assert left(directory) == [file_id]
    assert (directory.path / ".quarantine" / file_id).read_bytes() == content
    assert (directory.path / ".quarantine" / file_id).stat().st_mode & 0o777 == 0o600
    assert trash.entries() == []
    (file,) = list_quarantined(directory)
    assert file.file == "telegram_1.json"
    assert before <= file.since <= datetime.now(UTC)
    assert list((directory.path / ".work").glob("tmp-*")) == []


def test_entry_of_a_file_from_quarantine_is_not_taken_for_the_session(
    directory: SessionDirectory, trash: Trash
) -> None:
    """Restoring the session's newest entry never brings back what was moved aside; and it has no place of a session."""
    leftover = lay(directory, SESSION)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert trash.find_all("telegram_1") == []
    # The stem of this session's entries is the name of the file that was moved aside.
    assert trash.find_all("telegram_1.json") == []
    assert trash.find(removal.entry_id).id == removal.entry_id
    with pytest.raises(CorruptTrashError):
        restore(directory, trash, removal.entry_id, NOW)
    assert not (directory.path / "telegram_1.json").exists()


def test_without_an_order_it_is_gone_for_good(directory: SessionDirectory, trash: Trash) -> None:
    """What the order does not name leaves no entry, and frees all of its bytes."""
    leftover = lay(directory)
    assert remove_quarantined(directory, [leftover], trash=trash) == [LeftoverRemoval(leftover, "removed", 1)]
    leftover = lay(directory)
    assert remove_quarantined(directory, [leftover], trash=trash, order=order())[0].entry_id == ""
    assert (left(directory), trash.entries()) == ([], [])


@pytest.mark.parametrize(
    "name",
    [
        "x" * 200 + ".json", "telegram_\udcff\udcfe.json", "é" * 100, "a\nb\tc.json", "…" * 66, "telegram_1.json.tmp",
        "\x1b[31m.json", " ", "telegram_1 (conflicted copy 2026-11-01).json", "x" * 229,
    ],
)  # fmt: skip
def test_file_of_any_name_goes_to_the_trash_and_back(directory: SessionDirectory, trash: Trash, name: str) -> None:
    """Long names, names that are no text and names that command a terminal: the entry's name is a text that fits."""
    leftover = lay(directory, b"content", os.fsdecode(os.fsencode(name)[:229]) + ID[-26:])
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert (removal.outcome, removal.reason) == ("removed", "")
    (entry,) = trash.entries()
    assert (entry.problem, entry.from_quarantine) == ("", True)
    entry.id.encode()
    entry.key.encode()
    file_id = return_to_quarantine(directory, trash, entry.id)
    (file,) = list_quarantined(directory)
    assert file.id == file_id
    assert (directory.path / ".quarantine" / file_id).read_bytes() == b"content"
    (removal,) = remove_quarantined(directory, [leftover_of(file)], trash=trash, order=order(leftover_of(file)))
    assert removal.outcome == "removed"


@pytest.mark.parametrize("to_trash", [True, False])
@pytest.mark.parametrize("content", [SESSION, b"[", b"{", b""], ids=["repaired", "same size", "same", "emptied"])
def test_file_that_was_changed_since_it_was_judged_stays(
    directory: SessionDirectory, trash: Trash, content: bytes, to_trash: bool
) -> None:
    """Who repairs a file while a run goes on keeps it, and nothing of it is in the trash."""
    leftover = lay(directory, b"{")
    lay(directory, content)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover) if to_trash else None)
    if content in {b"[", b"{"}:  # as it was judged: it holds no session, and is as large
        assert removal.outcome == "removed"
        return
    assert (removal.outcome, removal.reason) == ("failed", "it was changed since it was looked at")
    assert (left(directory), trash.entries()) == ([ID], [])


@pytest.mark.parametrize("to_trash", [True, False])
def test_file_that_is_changed_at_the_last_moment_stays(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, to_trash: bool
) -> None:
    """Also between the copy and the removal; the copy is not left behind."""
    leftover = lay(directory, b"{")
    path = directory.path / ".quarantine" / ID
    looked: list[int] = []

    def change(called: str, args: tuple[object, ...]) -> None:
        if called == "stat" and args[0] == ID:
            looked.append(1)
            if len(looked) == 3:
                path.write_bytes(b"[")

    fs.on(change)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover) if to_trash else None)
    assert (removal.outcome, removal.reason) == ("failed", "it was changed since it was looked at")
    assert (path.read_bytes(), trash.entries()) == (b"[", [])
    assert not trash.path.exists() or os.listdir(trash.path) == []


def test_file_that_was_sound_and_cannot_be_read_any_more_stays(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs
) -> None:
    """An error of the disk condemns nothing."""
    leftover = lay(directory, SESSION)
    fs.fail("open", errno.EIO, path=ID)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert removal.outcome == "failed"
    assert left(directory) == [ID]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_file_that_the_trash_has_no_room_for_stays(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, call: str
) -> None:
    """On a full disk nothing is lost, and nothing half-made is left in the trash."""
    leftover = lay(directory)
    fs.fail(call, errno.ENOSPC)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert removal.outcome == "failed"
    assert "No space left" in removal.reason
    fs.clear()
    assert (left(directory), trash.entries()) == ([ID], [])


def test_file_that_cannot_be_unlinked_leaves_no_entry(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """What stays in quarantine is not in the trash as well; the others of the batch go."""
    one, two = lay(directory), lay(directory, b"{}", f"telegram_2{ID[10:]}")
    fs.on(lambda called, args: _refuse() if called == "unlink" and args[0] == ID else None)
    removals = remove_quarantined(directory, [one, two], trash=trash, order=order(one, two))
    assert [removal.outcome for removal in removals] == ["failed", "removed"]
    assert [entry.key for entry in trash.entries()] == ["telegram_2.json"]
    assert left(directory) == [ID]


def test_removal_that_is_not_synced_is_none_and_keeps_the_entry(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs
) -> None:
    """Where a power cut may bring the file back, that is said; the entry is all there may be."""
    leftover = lay(directory)
    unlinked = fs.notice("unlink", path=ID)

    def fail(called: str, args: tuple[object, ...]) -> None:
        if called == "fsync" and unlinked.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(fail)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    assert (removal.outcome, removal.bytes_freed) == ("failed", 0)
    assert "power cut" in removal.reason
    assert len(trash.entries()) == 1


def test_two_removals_of_one_file_make_one_entry(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """Of two at once one removes it, the other finds it gone and withdraws its copy."""
    leftover = lay(directory)
    gate = fs.block("unlink", path=ID)
    outcomes: list[LeftoverRemoval] = []

    def remove() -> None:
        outcomes.extend(remove_quarantined(directory, [leftover], trash=trash, order=order(leftover)))

    thread = threading.Thread(target=remove)
    thread.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    remove()
    gate.opened.set()
    thread.join(PATIENCE_SECONDS)
    assert sorted(removal.outcome for removal in outcomes) == ["removed", "vanished"]
    assert [entry.id for entry in trash.entries()] == [each.entry_id for each in outcomes if each.entry_id]
    assert (
        remove_quarantined(directory, [leftover, leftover], trash=trash, order=order(leftover))
        == [LeftoverRemoval(leftover, "vanished")] * 2
    )


def test_file_twice_in_a_batch_has_one_entry(directory: SessionDirectory, trash: Trash) -> None:
    """The second removal finds nothing, and takes nothing back."""
    leftover = lay(directory)
    removals = remove_quarantined(directory, [leftover, leftover], trash=trash, order=order(leftover))
    assert [removal.outcome for removal in removals] == ["removed", "vanished"]
    assert len(os.listdir(trash.path)) == 1


def test_removal_by_a_process_that_lost_the_directory_removes_nothing(
    directory: SessionDirectory, trash: Trash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the owner writes."""
    leftover = lay(directory)

    def lost() -> None:
        raise OwnershipLostError(directory.path, "process 7")

    monkeypatch.setattr(directory, "check_owned", lost)
    with pytest.raises(OwnershipLostError):
        remove_quarantined(directory, [leftover], trash=trash)
    assert left(directory) == [ID]


def test_entry_is_durable_before_its_file_goes(sessions_dir: Path) -> None:
    """Content and name of the entry are on the disk before the file is unlinked, and so is that before it is told."""
    fs = DurableOs(sessions_dir)
    trash = trash_in(sessions_dir, fs)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        leftover = lay(directory, SESSION)
        fs.forget()
        unlink, order_of_calls = fs.unlink, []

        def noted(name: str, *, dir_fd: int) -> None:
            if name == ID:
                order_of_calls.append(name)
                assert trash.path not in fs.unsynced
                assert not [path for path in fs.unsynced if path.is_file()]
            unlink(name, dir_fd=dir_fd)

        fs.unlink = noted  # type: ignore[method-assign]
        remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
        assert order_of_calls == [ID]
        assert sessions_dir / ".quarantine" not in fs.unsynced
        assert fs.broken == []


@pytest.mark.parametrize("links", [True, False])
def test_file_is_durable_in_quarantine_before_its_entry_goes(sessions_dir: Path, links: bool) -> None:
    """The way back is as careful, also where there are no hard links."""
    fs = DurableOs(sessions_dir)
    trash = trash_in(sessions_dir, fs)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        leftover = lay(directory, SESSION)
        (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
        (directory.path / ".quarantine").rmdir()  # its own name has to be made durable as well
        fs.forget()
        fs.links = links
        unlink, gone = fs.unlink, []

        def noted(name: str, *, dir_fd: int) -> None:
            if name.endswith(".gz"):
                gone.append(name)
                assert sessions_dir / ".quarantine" not in fs.unsynced
                assert fs.names_are_durable
                assert not [path for path in fs.unsynced if path.is_file()]
            unlink(name, dir_fd=dir_fd)

        fs.unlink = noted  # type: ignore[method-assign]
        return_to_quarantine(directory, trash, removal.entry_id)
        assert len(gone) == 1
        assert trash.path not in fs.unsynced


def test_way_back_whose_entry_stays_says_so(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The file is back; that it is in the trash as well is a WARNING."""
    leftover = lay(directory)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    fs.fail("unlink", errno.EACCES, path=".gz")
    return_to_quarantine(directory, trash, removal.entry_id)
    event = logs.one("File that was put back into quarantine is still in the trash as well")
    assert (event["level"], event["path"]) == ("warning", str(trash.path_of(removal.entry_id)))
    assert len(trash.entries()) == len(left(directory)) == 1


def test_damaged_entry_of_a_file_from_quarantine_is_known_by_its_name(
    directory: SessionDirectory, trash: Trash
) -> None:
    """It is listed as such, stays until it is emptied, and goes nowhere."""
    leftover = lay(directory)
    (removal,) = remove_quarantined(directory, [leftover], trash=trash, order=order(leftover))
    trash.path_of(removal.entry_id).write_bytes(b"junk")
    (entry,) = trash.entries()
    assert (entry.from_quarantine, entry.key, bool(entry.problem)) == (True, "telegram_1.json", True)
    with pytest.raises(CorruptTrashError):
        return_to_quarantine(directory, trash, removal.entry_id)
    assert left(directory) == []
    assert trash.remove([removal.entry_id])[0].outcome == "removed"
