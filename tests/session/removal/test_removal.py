"""Removing: rename aside, verify, then unlink or put back; and what the next start does with a removal that broke off."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal import staging
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import Removal, remove_batch
from miniclaw.session.types import SessionHeader
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.work_folder import left_in_work

OLD = datetime(2026, 1, 1, tzinfo=UTC)
NEW = datetime(2026, 11, 23, tzinfo=UTC)
NAME = "telegram_1.json"
LONG = {"role": "user", "content": "x" * 10_000, "timestamp": "2026-01-01T00:00:00Z"}


def all_go(headers: Sequence[SessionHeader]) -> list[bool]:
    return [True] * len(headers)


def if_old(headers: Sequence[SessionHeader]) -> list[bool]:
    return [header.last_accessed == OLD for header in headers]


def work(directory: SessionDirectory) -> list[str]:
    return [str(Path(path).relative_to(directory.path)) for path in left_in_work(directory.path)]


def remove_one(directory: SessionDirectory, name: str = NAME) -> Removal:
    return remove_batch(directory, [name], if_old)[0]


def test_remove_expired_is_gone_with_its_bytes(directory: SessionDirectory) -> None:
    """A removed session is gone, its size is counted, and nothing of the batch stays."""
    size = write_session(directory.path, "telegram_1", OLD).stat().st_size
    removal = remove_one(directory)
    assert (removal.outcome, removal.bytes_freed) == ("removed", size)
    assert not (directory.path / NAME).exists()
    assert work(directory) == []


def test_remove_hard_linked_frees_nothing(directory: SessionDirectory, tmp_path: Path) -> None:
    """Where another name holds the file, the disk gets nothing back, and that is what is counted."""
    os.link(write_session(directory.path, "telegram_1", OLD), tmp_path / "other")
    removal = remove_one(directory)
    assert (removal.outcome, removal.bytes_freed) == ("removed", 0)
    assert (tmp_path / "other").exists()


def test_remove_fresh_is_put_back_as_it_was(directory: SessionDirectory) -> None:
    """What turns out to be fresh when it was captured is in its place again, the same file."""
    path = write_session(directory.path, "telegram_1", NEW)
    inode = path.stat().st_ino
    assert remove_one(directory).outcome == "kept"
    assert path.stat().st_ino == inode
    assert path.stat().st_nlink == 1
    assert work(directory) == []


def test_remove_saved_between_look_and_deed_survives(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A save just before the capture is what gets captured, and it is put back."""
    path = write_session(directory.path, "telegram_1", OLD)

    def save_before_rename(name: str, args: tuple[object, ...]) -> None:
        if name == "rename":
            fs.clear()
            write_session(directory.path, "telegram_1", NEW)

    fs.on(save_before_rename)
    assert remove_one(directory).outcome == "kept"
    assert NEW.date().isoformat() in path.read_text()


def test_remove_newer_file_in_place_is_not_overwritten(directory: SessionDirectory, logs: LogRecorder) -> None:
    """A file that another program puts in the place meanwhile stays; the captured one goes to quarantine."""
    path = write_session(directory.path, "telegram_1", OLD)
    logs.expect_error("Two files for one session; one is in quarantine")

    def refuse(headers: Sequence[SessionHeader]) -> list[bool]:
        write_session(directory.path, "telegram_1", NEW)
        return [False] * len(headers)

    assert remove_batch(directory, [NAME], refuse)[0].outcome == "kept"
    assert NEW.date().isoformat() in path.read_text()
    (kept,) = (directory.path / ".quarantine").iterdir()
    assert OLD.date().isoformat() in kept.read_text()
    assert work(directory) == []


def test_remove_torn_file_in_place_gives_way(directory: SessionDirectory, logs: LogRecorder) -> None:
    """Where what stands in the place cannot be read, it goes to quarantine and the captured session comes back."""
    path = write_session(directory.path, "telegram_1", OLD)
    logs.expect_error("Two files for one session; one is in quarantine")

    def refuse(headers: Sequence[SessionHeader]) -> list[bool]:
        path.write_text("{torn")
        return [False] * len(headers)

    remove_batch(directory, [NAME], refuse)
    assert OLD.date().isoformat() in path.read_text()
    (kept,) = (directory.path / ".quarantine").iterdir()
    assert kept.read_text() == "{torn"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"last_accessed":"2020-01-01T00:00:00Z"}'])
def test_remove_corrupt_is_put_back(directory: SessionDirectory, content: str) -> None:
    """What cannot be read as a session is never deleted, also not when a removal was asked for."""
    path = directory.path / NAME
    path.write_text(content)
    assert remove_batch(directory, [NAME], all_go)[0].outcome == "corrupt"
    assert path.read_text() == content


def test_remove_truncated_after_the_header_is_put_back(directory: SessionDirectory) -> None:
    """A torn file whose beginning still looks expired is corrupt, not expired."""
    path = write_session(directory.path, "telegram_1", OLD, messages=[{"text": "x" * 10_000}])
    os.truncate(path, 6_000)
    assert remove_one(directory).outcome == "corrupt"
    assert path.stat().st_size == 6_000


def test_remove_doubled_key_the_last_counts(directory: SessionDirectory) -> None:
    """A file whose beginning says old and whose end says fresh is fresh, as it would be loaded."""
    path = write_session(directory.path, "telegram_1", OLD, messages=[LONG])
    fresh = NEW.isoformat().replace("+00:00", "Z")
    path.write_text(path.read_text()[:-1] + f',"last_accessed":"{fresh}"}}')
    assert remove_one(directory).outcome == "kept"


def test_remove_mismatched_is_put_back(directory: SessionDirectory) -> None:
    """A file that holds another session than its name says is not removed as that one."""
    source = write_session(directory.path, "telegram_2", OLD)
    source.rename(directory.path / NAME)
    removal = remove_batch(directory, [NAME], all_go)[0]
    assert removal.outcome == "unreadable"
    assert (directory.path / NAME).exists()


def test_remove_vanished_is_told(directory: SessionDirectory) -> None:
    """What is gone already counts as nobody's deletion."""
    assert remove_one(directory).outcome == "vanished"


def test_remove_directory_under_the_name_is_put_back(directory: SessionDirectory) -> None:
    """A directory that took the place of a session is put back with what is in it."""
    (directory.path / NAME).mkdir()
    (directory.path / NAME / "precious").write_text("x")
    assert remove_batch(directory, [NAME], all_go)[0].outcome == "unreadable"
    assert (directory.path / NAME / "precious").exists()


def test_remove_directory_and_newcomer_stay_both(directory: SessionDirectory, logs: LogRecorder) -> None:
    """A directory cannot be linked back; where something new stands, it goes to quarantine instead of over it."""
    (directory.path / NAME).mkdir()
    logs.expect_error("Two files for one session; one is in quarantine")

    def newcomer(headers: Sequence[SessionHeader]) -> list[bool]:
        write_session(directory.path, "telegram_1", NEW)
        return []

    remove_batch(directory, [NAME], newcomer)
    assert (directory.path / NAME).is_file()
    (kept,) = (directory.path / ".quarantine").iterdir()
    assert kept.is_dir()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES, errno.ENOSYS])
def test_remove_without_hard_links_puts_back_by_a_rename(
    directory: SessionDirectory, fs: FaultyOs, number: int
) -> None:
    """On a file system without hard links, what is fresh comes back as it is, also where the disk is full."""
    path = write_session(directory.path, "telegram_1", NEW)
    content, inode = path.read_bytes(), path.stat().st_ino
    fs.fail("link", number)
    fs.fail("write", errno.ENOSPC)
    assert remove_one(directory).outcome == "kept"
    assert (path.read_bytes(), path.stat().st_ino) == (content, inode)
    assert work(directory) == []


def test_remove_that_can_put_nothing_back_leaves_it_captured(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Where even the rename fails, the result says where the session lies, and the next start brings it back."""
    path = write_session(directory.path, "telegram_1", NEW)

    def refuse(called: str, args: tuple[Any, ...]) -> None:
        if called == "link":
            fs.fail("rename", errno.EACCES)

    fs.on(refuse)
    fs.fail("link", errno.EPERM)
    removal = remove_one(directory)
    assert removal.outcome == "failed"
    assert ".work/rm-" in removal.reason
    assert not path.exists()
    fs.clear()
    assert StagingArea(directory).recover().put_back == 1
    assert path.exists()
    assert work(directory) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
def test_remove_capture_refused_is_failed(directory: SessionDirectory, fs: FaultyOs, number: int) -> None:
    """Where the renaming is refused, the file stays and the removal has failed."""
    path = write_session(directory.path, "telegram_1", OLD)
    fs.fail("rename", number)
    removal = remove_one(directory)
    assert removal.outcome == "failed"
    assert os.strerror(number) in removal.reason
    assert path.exists()


def test_remove_unlink_refused_is_put_back(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Where the unlinking is refused, the session is in its place again and not counted."""
    path = write_session(directory.path, "telegram_1", OLD)
    fs.fail("unlink", errno.EIO)
    removal = remove_one(directory)
    assert (removal.outcome, removal.bytes_freed) == ("failed", 0)
    assert path.exists()
    fs.clear()
    StagingArea(directory).recover()
    assert path.stat().st_nlink == 1
    assert work(directory) == []


def test_remove_first_sync_refused_removes_nothing(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Without the sync that makes links durable nothing is unlinked."""
    StagingArea(directory).recover()  # makes a folder that stays
    path = write_session(directory.path, "telegram_1", OLD)
    fs.fail("fsync", errno.EIO)
    assert remove_one(directory).outcome == "failed"
    assert path.exists()


def test_remove_last_sync_refused_is_not_counted(directory: SessionDirectory, fs: FaultyOs) -> None:
    """What a power cut may bring back does not count as deleted."""
    StagingArea(directory).recover()  # makes a folder that stays
    write_session(directory.path, "telegram_1", OLD)
    syncs = 0

    def second_sync(name: str, args: tuple[object, ...]) -> None:
        nonlocal syncs
        syncs += name == "fsync"
        if name == "fsync" and syncs == 2:
            raise OSError(errno.EIO, "Input/output error")

    fs.on(second_sync)
    removal = remove_one(directory)
    assert (removal.outcome, removal.bytes_freed) == ("unsynced", 0)
    assert "power cut" in removal.reason


def test_remove_put_back_refused_says_where(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Where a fresh session cannot be put back, the result says where it lies, and the next start brings it back."""
    path = write_session(directory.path, "telegram_1", NEW)
    fs.fail("link", errno.EIO)
    removal = remove_one(directory)
    assert removal.outcome == "failed"
    assert "it is at" in removal.reason
    fs.clear()
    assert StagingArea(directory).recover().put_back == 1
    assert path.exists()


def test_remove_unlink_and_put_back_refused_says_where(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Where neither unlinking nor putting back works, the result names both and where the file lies."""
    write_session(directory.path, "telegram_1", OLD)
    fs.fail("unlink", errno.EIO)
    fs.fail("link", errno.EIO)
    removal = remove_one(directory)
    assert removal.outcome == "failed"
    assert "could not remove it" in removal.reason
    assert "it is at" in removal.reason


def test_remove_consent_fails_everything_is_put_back(directory: SessionDirectory) -> None:
    """An error in the question is a refusal: nothing is removed, and the error is raised."""
    path = write_session(directory.path, "telegram_1", OLD)

    def broken(headers: Sequence[SessionHeader]) -> list[bool]:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        remove_batch(directory, [NAME], broken)
    assert path.exists()
    assert work(directory) == []


def test_remove_batch_cannot_begin_is_an_error(
    directory: SessionDirectory, fs: FaultyOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder of the batch cannot be made, nothing is moved."""
    monkeypatch.setattr(staging, "_OTHERS_SECONDS", 0)  # there is no other batch
    path = write_session(directory.path, "telegram_1", OLD)
    fs.fail("mkdir", errno.ENOSPC)
    with pytest.raises(StoreError, match="could not make a folder for removals"):
        remove_one(directory)
    assert path.exists()


def test_remove_mixed_batch_each_gets_its_own(directory: SessionDirectory) -> None:
    """In one batch each session meets its own fate."""
    write_session(directory.path, "telegram_1", OLD)
    write_session(directory.path, "telegram_2", NEW)
    (directory.path / "telegram_3.json").write_text("no")
    names = [f"telegram_{number}.json" for number in range(1, 5)]
    removals = remove_batch(directory, names, if_old)
    assert [removal.key for removal in removals] == names
    assert [removal.outcome for removal in removals] == ["removed", "kept", "corrupt", "vanished"]
    assert sorted(path.name for path in directory.path.glob("*.json")) == ["telegram_2.json", "telegram_3.json"]


def test_remove_nothing_touches_nothing(directory: SessionDirectory, fs: FaultyOs) -> None:
    """An empty batch makes no system call."""
    before = len(fs.calls)
    assert remove_batch(directory, [], all_go) == []
    assert len(fs.calls) == before


def test_recover_puts_back_and_sweeps(directory: SessionDirectory, logs: LogRecorder) -> None:
    """After a crash captured sessions are back in their places, temporary files are gone, and a WARNING says so."""
    batch = directory.path / ".work" / "rm-0123"
    write_session(batch, "telegram_1", OLD)
    (directory.path / ".work" / "tmp-4567").write_text("half")
    (directory.path / ".work" / "unknown").write_text("x")
    found = StagingArea(directory).recover()
    assert (found.put_back, found.temporary) == (1, 1)
    assert (directory.path / NAME).exists()
    assert work(directory) == [".work/unknown"]
    assert logs.one("Resolved what an earlier process left")["level"] == "warning"


def test_recover_after_put_back_unlinks_the_second_name(directory: SessionDirectory) -> None:
    """A crash between linking back and unlinking leaves two names of one file; one of them goes."""
    batch = directory.path / ".work" / "rm-0123"
    os.link(write_session(directory.path, "telegram_1", NEW), write_session(batch, "telegram_9", OLD).parent / NAME)
    StagingArea(directory).recover()
    assert (directory.path / NAME).stat().st_nlink == 1
    assert (directory.path / "telegram_9.json").exists()
    assert work(directory) == []


def test_recover_refused_is_logged_and_kept(directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder) -> None:
    """What cannot be put back now stays where it is for the next start, with an ERROR; the start goes on."""
    write_session(directory.path / ".work" / "rm-0123", "telegram_1", OLD)
    logs.expect_error("Unfinished removal could not be resolved")
    fs.fail("link", errno.EIO)
    assert StagingArea(directory).recover().put_back == 0
    assert f".work/rm-0123/{NAME}" in work(directory)


def test_recover_twice_finds_nothing_more(directory: SessionDirectory) -> None:
    """A recovery leaves nothing for the next one."""
    write_session(directory.path / ".work" / "rm-0123", "telegram_1", OLD)
    StagingArea(directory).recover()
    found = StagingArea(directory).recover()
    assert (found.put_back, found.temporary) == (0, 0)
