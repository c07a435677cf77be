"""Removing into the trash: at any moment a session is in its place, captured, or whole in the trash; never nowhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.transaction import Removal, TrashOrder, remove_batch
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.work_folder import left_in_work

OLD = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
NAME = "telegram_1.json"
LONG = "x" * 20_000


def all_go(headers: Sequence[SessionHeader]) -> list[bool]:
    return [True] * len(headers)


def none_goes(headers: Sequence[SessionHeader]) -> list[bool]:
    return [False] * len(headers)


def order(*names: str, reason: str = "ttl") -> TrashOrder:
    return TrashOrder(dict.fromkeys(names, reason), "service", NOW, WEEK)


def remove(
    directory: SessionDirectory,
    trash: Trash,
    *names: str,
    consent: Callable[[Sequence[SessionHeader]], Sequence[bool]] = all_go,
    to_trash: TrashOrder | None = None,
) -> list[Removal]:
    return remove_batch(directory, names, consent, trash=trash, order=to_trash or order(*names))


def files(trash: Trash) -> list[str]:
    return sorted(os.listdir(trash.path)) if trash.path.exists() else []


def test_remove_to_the_trash_keeps_it_whole_with_why_and_when(directory: SessionDirectory, trash: Trash) -> None:
    """What was removed is in the trash as it was, with who removed it, why, when, and until when it is kept."""
    path = write_session(directory.path, "telegram_1", OLD, note=LONG)
    content = path.read_bytes()
    (removal,) = remove(directory, trash, NAME)
    (entry,) = trash.entries()
    assert (removal.outcome, removal.entry_id, removal.size) == ("removed", entry.id, len(content))
    assert not path.exists()
    assert trash.read(entry.id) == content
    assert (entry.session_id, entry.key, entry.reason, entry.by) == ("telegram_1", NAME, "ttl", "service")
    assert (entry.removed_at, entry.expires_at, entry.last_accessed) == (NOW, NOW + WEEK, OLD)
    assert left_in_work(directory.path) == []


def test_remove_to_the_trash_frees_what_the_entry_does_not_take(directory: SessionDirectory, trash: Trash) -> None:
    """What the disk got back is the session less its compressed copy; less than nothing for one that grows by packing."""
    size = write_session(directory.path, "telegram_1", OLD, note=LONG).stat().st_size
    write_session(directory.path, "telegram_2", OLD)
    long, short = remove(directory, trash, NAME, "telegram_2.json")
    stored = {entry.session_id: entry.stored_size for entry in trash.entries()}
    assert long.bytes_freed == size - stored["telegram_1"] > size / 2
    assert short.bytes_freed == short.size - stored["telegram_2"] < 0


def test_remove_hard_linked_to_the_trash_frees_nothing(
    directory: SessionDirectory, trash: Trash, tmp_path: Path
) -> None:
    """Where another name holds the file, a copy in the trash only takes room."""
    os.link(write_session(directory.path, "telegram_1", OLD, note=LONG), tmp_path / "other")
    (removal,) = remove(directory, trash, NAME)
    [entry] = trash.entries()
    assert (removal.outcome, removal.bytes_freed) == ("removed", -entry.stored_size)


def test_remove_takes_to_the_trash_only_what_was_ordered(directory: SessionDirectory, trash: Trash) -> None:
    """What a disk budget takes is gone for good; of the same batch the others go to the trash."""
    for number in (1, 2):
        write_session(directory.path, f"telegram_{number}", OLD)
    one, two = remove(directory, trash, NAME, "telegram_2.json", to_trash=order(NAME))
    assert (one.outcome, two.outcome) == ("removed", "removed")
    assert [entry.session_id for entry in trash.entries()] == ["telegram_1"]
    assert (two.entry_id, two.bytes_freed) == ("", two.size)


def test_remove_without_an_order_makes_no_trash(directory: SessionDirectory, trash: Trash) -> None:
    """Nobody who keeps no trash gets a folder for it."""
    write_session(directory.path, "telegram_1", OLD)
    (removal,) = remove_batch(directory, [NAME], all_go, trash=trash)
    assert (removal.outcome, removal.entry_id) == ("removed", "")
    assert not trash.path.exists()


@pytest.mark.parametrize("call", ["write", "open", "fsync"])
def test_remove_that_cannot_be_copied_stays(directory: SessionDirectory, trash: Trash, fs: FaultyOs, call: str) -> None:
    """On a full disk the session stays where it is, the very file, and nobody was asked to forget it."""
    trash.path.mkdir(parents=True)
    path = write_session(directory.path, "telegram_1", OLD)
    inode = path.stat().st_ino
    asked: list[SessionHeader] = []

    def consent(headers: Sequence[SessionHeader]) -> list[bool]:
        asked.extend(headers)
        return all_go(headers)

    in_trash = failed = 0

    def full(name: str, args: tuple[Any, ...]) -> None:
        nonlocal in_trash, failed
        in_trash |= name == "open" and str(args[0]).startswith("tmp-")
        if name == call and in_trash and not failed:
            failed = 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fs.on(full)
    (removal,) = remove(directory, trash, NAME, consent=consent)
    fs.clear()
    assert removal.outcome == "failed"
    assert "No space left" in removal.reason
    assert asked == []
    assert path.stat().st_ino == inode
    assert files(trash) == []
    assert left_in_work(directory.path) == []


def test_remove_one_that_cannot_be_copied_hinders_no_other(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs
) -> None:
    """Of a batch only those stay for which there is no room."""
    for number in (1, 2):
        write_session(directory.path, f"telegram_{number}", OLD)
    failed: list[str] = []

    def first_write(name: str, args: tuple[Any, ...]) -> None:
        if name == "write" and not failed:
            failed.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fs.on(first_write)
    outcomes = [removal.outcome for removal in remove(directory, trash, NAME, "telegram_2.json")]
    assert outcomes == ["failed", "removed"]
    assert [entry.session_id for entry in trash.entries()] == ["telegram_2"]
    assert (directory.path / NAME).exists()


def test_remove_whose_commit_fails_keeps_all(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """Where the trash cannot be synced, all that was to go there stays, and what needs no trash goes."""
    for number in (1, 2, 3):
        write_session(directory.path, f"telegram_{number}", OLD)

    def at_commit(name: str, args: tuple[Any, ...]) -> None:
        if name == "rename" and str(args[1]).endswith(".gz") and str(args[1]).startswith("telegram_2"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(at_commit)
    names = [NAME, "telegram_2.json", "telegram_3.json"]
    removals = remove(directory, trash, *names, to_trash=order(*names[:2]))
    assert [removal.outcome for removal in removals] == ["failed", "failed", "removed"]
    assert sorted(path.name for path in directory.path.glob("*.json")) == names[:2]
    assert files(trash) == []
    assert left_in_work(directory.path) == []


def test_remove_refused_leaves_no_entry(directory: SessionDirectory, trash: Trash) -> None:
    """Of a session that somebody has come back to there is nothing in the trash."""
    path = write_session(directory.path, "telegram_1", OLD)
    (removal,) = remove(directory, trash, NAME, consent=none_goes)
    assert removal.outcome == "kept"
    assert path.exists()
    assert files(trash) == []


def test_remove_consent_that_raises_leaves_no_entry(directory: SessionDirectory, trash: Trash) -> None:
    """An error of who is asked counts as a refusal: all is back, and nothing in the trash."""
    path = write_session(directory.path, "telegram_1", OLD)

    def fail(_: Sequence[SessionHeader]) -> list[bool]:
        raise RuntimeError("nobody there")

    with pytest.raises(RuntimeError, match="nobody there"):
        remove(directory, trash, NAME, consent=fail)
    assert path.exists()
    assert files(trash) == []
    assert left_in_work(directory.path) == []


def test_remove_asks_when_the_copies_are_whole_already(directory: SessionDirectory, trash: Trash) -> None:
    """Packing takes a while; so it is done before anybody is asked, and nothing slow comes after the answer."""
    write_session(directory.path, "telegram_1", OLD, note=LONG)
    seen: list[list[str]] = []

    def consent(headers: Sequence[SessionHeader]) -> list[bool]:
        seen.append(files(trash))
        return none_goes(headers)

    remove(directory, trash, NAME, consent=consent)
    ((copy,),) = seen
    assert copy.startswith("tmp-")


def test_remove_whose_unlink_is_refused_withdraws_the_entry(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs
) -> None:
    """A session that stays after all has no second life in the trash."""
    path = write_session(directory.path, "telegram_1", OLD)
    fs.fail("unlink", errno.EACCES, path=NAME)
    (removal,) = remove(directory, trash, NAME)
    assert (removal.outcome, removal.entry_id) == ("failed", "")
    assert path.exists()
    assert files(trash) == []


def test_remove_whose_unlink_fails_but_happened_keeps_the_entry(
    directory: SessionDirectory, trash: Trash, fs: FaultyOs
) -> None:
    """Where a call reports an error and the file is gone all the same, the trash has the only copy: it stays."""
    content = write_session(directory.path, "telegram_1", OLD).read_bytes()

    def unlink_and_fail(name: str, args: tuple[Any, ...]) -> None:
        if name == "unlink" and args[0] == NAME:
            fs.clear()
            for folder in (directory.path / ".work").glob("rm-*"):
                (folder / NAME).unlink(missing_ok=True)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(unlink_and_fail)
    (removal,) = remove(directory, trash, NAME)
    assert removal.outcome == "failed"
    (entry,) = trash.entries()
    assert trash.read(entry.id) == content
    assert entry.id in removal.reason


def test_remove_unsynced_keeps_the_entry(directory: SessionDirectory, trash: Trash, fs: FaultyOs) -> None:
    """A session that is gone, but that a power cut may bring back, can be restored from the trash."""
    write_session(directory.path, "telegram_1", OLD)
    unlinked: list[int] = []

    def after_unlink(name: str, args: tuple[Any, ...]) -> None:
        if name == "unlink" and args[0] == NAME:
            unlinked.append(1)
        if name == "fsync" and unlinked:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(after_unlink)
    (removal,) = remove(directory, trash, NAME)
    fs.clear()
    (entry,) = trash.entries()
    assert (removal.outcome, removal.bytes_freed, removal.entry_id) == ("unsynced", 0, entry.id)


def test_remove_damaged_never_comes_near_the_trash(directory: SessionDirectory, trash: Trash) -> None:
    """What cannot be read as a session is neither removed nor copied."""
    (directory.path / NAME).write_text('{"session_id": "telegram_1", "mess')
    (removal,) = remove(directory, trash, NAME)
    assert removal.outcome == "corrupt"
    assert files(trash) == []
