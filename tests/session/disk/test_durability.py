"""Syncing: a file system that cannot is told from a sync that failed, wherever anything is synced."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest

import miniclaw
from miniclaw.errors import StoreIOError
from miniclaw.session.disk import syscalls as seam
from miniclaw.session.disk.sync import (
    DIRECTORIES_UNSYNCED,
    FILES_UNSYNCED,
    NO_DIRECTORY_SYNC,
    NO_FILE_SYNC,
    sync_data,
    sync_directory,
    sync_directory_at,
    sync_file,
)
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.types import Session
from miniclaw.web.access.token import load_token
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Sync: TypeAlias = Callable[[OsCalls, int], None]

FAILED = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def names(numbers: frozenset[int] | tuple[int, ...]) -> list[str]:
    return sorted({errno.errorcode[number] for number in numbers})


@pytest.fixture
def fs() -> FaultyOs:
    return FaultyOs()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("name", names(NO_DIRECTORY_SYNC))
def test_sync_of_a_directory_that_cannot_be_synced_goes_on_and_says_so_once(
    fs: FaultyOs, folder: int, tmp_path: Path, logs: LogRecorder, name: str
) -> None:
    """No retry would help: the work goes on, and one WARNING for each file system says what it does not promise."""
    fs.fail("fsync", getattr(errno, name))
    for _ in range(3):
        sync_directory(fs, folder)
    event = logs.one(DIRECTORIES_UNSYNCED)
    assert (event["level"], event["path"]) == ("warning", str(tmp_path))
    assert event["error"] == os.strerror(getattr(errno, name))


@pytest.mark.parametrize("name", names(NO_FILE_SYNC))
@pytest.mark.parametrize(("call", "sync"), [("fsync", sync_file), ("sync_data", sync_data)])
def test_sync_of_a_file_that_cannot_be_synced_goes_on_and_says_so_once(
    fs: FaultyOs, file: int, logs: LogRecorder, call: str, sync: Sync, name: str
) -> None:
    """Likewise of a file, whole or its content alone; the sentence is another one, for what may be lost is."""
    fs.fail(call, getattr(errno, name))
    for _ in range(3):
        sync(fs, file)
    assert logs.one(FILES_UNSYNCED)["level"] == "warning"
    assert [name for name, _ in fs.calls].count(call) == 3


@pytest.mark.parametrize("name", names(FAILED))
def test_sync_that_fails_is_raised(fs: FaultyOs, folder: int, file: int, logs: LogRecorder, name: str) -> None:
    """A disk that is full, broken or read-only is no lack of its file system."""
    for call in ("fsync", "sync_data"):
        fs.fail(call, getattr(errno, name))
    for sync, fd in ((sync_directory, folder), (sync_file, file), (sync_data, file)):
        with pytest.raises(OSError, match=os.strerror(getattr(errno, name))):
            sync(fs, fd)
    assert logs.events == []


def test_sync_of_a_descriptor_that_is_none_is_raised(fs: FaultyOs, tmp_path: Path, logs: LogRecorder) -> None:
    """EBADF of a directory is believed only of one that is open; of a file never."""
    fd = os.open(tmp_path, os.O_RDONLY)
    os.close(fd)
    for sync in (sync_directory, sync_file, sync_data):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            sync(fs, fd)
    assert logs.events == []


def test_sync_of_file_systems_is_told_for_each(fs: FaultyOs, folder: int, logs: LogRecorder) -> None:
    """A second file system without it is another thing to know; where its path is not known, that does not matter."""
    fs.fail("fsync", errno.EINVAL)
    fs.fail("path_of", errno.ENOENT)
    sync_directory(fs, folder)
    other = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(2):
            sync_directory(fs, other)
    finally:
        os.close(other)
    assert [event["path"] for event in logs.named(DIRECTORIES_UNSYNCED)] == ["", ""]


def test_sync_by_path_of_a_directory_that_may_not_be_read_goes_on(fs: FaultyOs, tmp_path: Path) -> None:
    """To make something in a directory one need not be able to read it; a directory that is gone is an error."""
    fs.fail("open", errno.EACCES)
    sync_directory_at(fs, str(tmp_path))
    fs.clear()
    sync_directory_at(fs, str(tmp_path))
    assert [name for name, _ in fs.calls] == ["open", "open", "fsync", "close"]
    with pytest.raises(FileNotFoundError):
        sync_directory_at(fs, str(tmp_path / "none"))


def test_nothing_but_the_helper_syncs() -> None:
    """There is one place that knows which errors mean what; whoever syncs beside it would know another thing."""
    package = Path(miniclaw.__file__).parent
    calls = re.compile(r"\b(fs|os)\.(fsync|fdatasync|sync_data)\b")
    syncing = {path.name for path in package.rglob("*.py") if calls.search(path.read_text(encoding="utf-8"))}
    assert syncing == {"sync.py", "syscalls.py"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF])
def test_token_is_made_where_directories_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: LogRecorder, number: int
) -> None:
    """The gateway starts on such a file system, with the token that it made."""
    fsync = os.fsync

    def refuse(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(number, os.strerror(number))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    made = load_token(tmp_path / "workspace")
    assert load_token(tmp_path / "workspace").reveal() == made.reveal()
    assert len(logs.named(DIRECTORIES_UNSYNCED)) == 1


@pytest.mark.parametrize(("number", "saved"), [(errno.ENOTSUP, True), (errno.EBADF, False), (errno.EIO, False)])
def test_save_is_acknowledged_as_far_as_its_file_system_can(
    sessions_dir: Path, fs: FaultyOs, number: int, saved: bool
) -> None:
    """A file that cannot be synced is saved all the same; one whose sync failed is not."""
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        fs.fail("fsync", number)
        session = Session("web_1", "web", "1", NOW, NOW)
        if saved:
            directory.write(session)
            directory.sync()
        else:
            with pytest.raises(StoreIOError):
                directory.write(session)
        assert (sessions_dir / "web_1.json").exists() == saved


# macOS --------------------------------------------------------------------------------------------------------

F_FULLFSYNC = 51  # macOS's


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "ENOTTY", "EIO", ""])
@pytest.mark.parametrize("sync", [OsCalls.fsync, OsCalls.sync_data])
def test_sync_on_macos_reaches_the_drive(file: int, monkeypatch: pytest.MonkeyPatch, sync: Sync, name: str) -> None:
    """There fsync alone leaves the content in the drive's cache; it is what is left where the fcntl is not known."""
    calls: list[str] = []

    def control(fd: int, command: int) -> int:
        assert (fd, command) == (file, F_FULLFSYNC)
        calls.append("fcntl")
        if name:
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
        return 0

    monkeypatch.setattr(seam, "FULL_SYNC", F_FULLFSYNC)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync"))
    monkeypatch.delattr(os, "fdatasync")
    if name == "EIO":
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            sync(OsCalls(), file)
    else:
        sync(OsCalls(), file)
    assert calls == ["fcntl", "fsync"] if name not in {"", "EIO"} else calls == ["fcntl"]


def test_sync_of_the_content_alone_is_fdatasync_on_linux(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the times of the file, as fsync would."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(-1))
    sync_data(OsCalls(), file)
    assert calls == [file]


def test_read_ahead_without_posix_fadvise_reads_all_the_same(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is advice; macOS takes none."""
    monkeypatch.delattr(os, "posix_fadvise")
    OsCalls().read_ahead(file, 1)


def test_path_of_an_open_file_on_macos(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no /proc; an fcntl fills a buffer with the path and zeros."""
    monkeypatch.setattr(seam, "GET_PATH", 50)
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, command, buffer: b"/Users/anna".ljust(len(buffer), b"\0"))
    assert OsCalls().path_of(file) == "/Users/anna"
