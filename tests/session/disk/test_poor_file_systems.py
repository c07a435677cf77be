"""What else a file system may lack, or do in its own way: modes, sizes, links, kinds of entries, files in use."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from miniclaw.clock import SystemClock
from miniclaw.config.web import WebConfig
from miniclaw.errors import ConfigError, StoreIOError
from miniclaw.session.disk.privacy import keeps_modes
from miniclaw.session.disk.sync import DIRECTORIES_UNSYNCED
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.manager import SessionManager
from miniclaw.session.ownership.ownership import NO_LOCK
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import remove_batch
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from miniclaw.web.access.security import open_security
from miniclaw.web.access.token import load_token
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, with_numbers
from tests.fakes.poor_os import PoorOs
from tests.fakes.runs import Runs
from tests.fakes.samples import read_contents, write_session
from tests.fakes.work_folder import left_in_work

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=400)
OPEN = "Directory is open to other users; its owner should make it private: chmod 700"


# All at once --------------------------------------------------------------------------------------------------


async def test_runtime_on_a_file_system_that_can_only_rename_keeps_every_promise_but_those_it_names(
    sessions_dir: Path, logs: LogRecorder
) -> None:
    """Messages, autosave, cleanup, trash, restore, history and a second start: all work, and each lack is told once."""
    policy = RetentionPolicy(trash_for=timedelta(days=7))
    for start in range(2):
        async with open_runtime(
            sessions_dir, fs=PoorOs(), policy=policy, clock=SystemClock(), cleanup_interval_seconds=None
        ) as runtime:
            manager = runtime.manager
            for chat_id in ("bob", "Bob"):
                await manager.get_or_create_session("web", chat_id)
                await manager.add_message(f"web_{chat_id}", Message("user", f"{chat_id} {start}", NOW))
            assert (await manager.save_all_sessions()).failed == ()
            write_session(sessions_dir, "web_old", OLD)
            assert (await runtime.cleanup.run()).sessions_deleted == 1
            assert await manager.restore_session("web_old") == "web_old"
            assert (await manager.delete_session("web_Bob")).entry_id
            assert await manager.restore_session("web_Bob") == "web_Bob"
            events = state_in(sessions_dir).history().read()[0]
            assert [event.event for event in events] == ["cleanup"] * (start + 1)
            await manager.delete_session("web_old")
    warnings = [event["event"] for event in logs.events if event["level"] == "warning"]
    assert sorted(set(warnings)) == sorted([DIRECTORIES_UNSYNCED, NO_LOCK, OPEN])
    assert warnings.count(DIRECTORIES_UNSYNCED) == 1  # of the two starts; they are one process
    for chat_id in ("bob", "Bob"):
        (path,) = (path for path in sessions_dir.glob("*.json") if path.name.split("~")[0].startswith(f"web_{chat_id}"))
        assert read_contents(path) == [f"{chat_id} 0", f"{chat_id} 1"]


# Modes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, None], ids=["EPERM", "ENOTSUP", "ignored"])
def test_own_where_a_directory_cannot_be_made_private_goes_on_and_says_so(
    sessions_dir: Path, logs: LogRecorder, number: int | None
) -> None:
    """The mount decides who may read it then; a change of mode that had no effect is not taken for one."""
    fs = PoorOs()
    if number is None:
        fs.fchmod = lambda *_: None  # type: ignore[method-assign]
    else:
        fs.fail("fchmod", number)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
    event = logs.one(OPEN)
    assert (event["level"], event["path"], event["mode"]) == ("warning", str(sessions_dir), "0777")
    assert ("mount it" in event["reason"]) == (number is None)


@pytest.fixture
def without_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the real calls say that everything is open to everybody."""
    fstat = os.fstat

    def refuse(_fd: int, _mode: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fstat", lambda fd: with_numbers(fstat(fd), mode=fstat(fd).st_mode | 0o077))
    monkeypatch.setattr(os, "fchmod", refuse)


@pytest.mark.usefixtures("without_modes")
def test_token_where_nothing_can_be_private_is_read_all_the_same(tmp_path: Path, logs: LogRecorder) -> None:
    """The gateway starts again with the token that it has made itself, and the log says who may read it."""
    made = open_security(WebConfig(), tmp_path / "workspace")
    assert load_token(tmp_path / "workspace").reveal() in (tmp_path / "workspace" / "web-token").read_text()
    assert made.access is not None
    assert logs.one(OPEN)["level"] == "warning"


def test_token_that_others_can_read_is_refused_where_files_can_be_private(tmp_path: Path) -> None:
    """Where the file system keeps modes, somebody has opened it, and others may know it."""
    load_token(tmp_path)
    (tmp_path / "web-token").chmod(0o644)
    assert keeps_modes(tmp_path)
    assert keeps_modes(tmp_path / "none"), "what cannot be tried counts as if it were private"
    with pytest.raises(ConfigError, match="others can read it"):
        load_token(tmp_path)


# Sizes --------------------------------------------------------------------------------------------------------


def sizes(**numbers: int) -> SimpleNamespace:
    return SimpleNamespace(**{"f_bavail": 0, "f_blocks": 0, "f_frsize": 0, "f_bsize": 0} | numbers)


@pytest.mark.parametrize(
    ("told", "free"),
    [
        (sizes(), None),
        (sizes(f_frsize=4096), None),
        (sizes(f_bavail=9, f_blocks=9), None),
        (sizes(f_blocks=9, f_frsize=4096), 0),
        (sizes(f_bavail=2, f_blocks=9, f_bsize=512), 1024),
        (sizes(f_bavail=2, f_blocks=9, f_bsize=512, f_frsize=4096), 8192),
    ],
)
async def test_free_disk_of_a_file_system_that_does_not_know_is_not_known(
    runs: Runs, fs: FaultyOs, told: SimpleNamespace, free: int | None
) -> None:
    """Zeros everywhere are no full disk: a budget by free disk then removes nothing."""
    directory = runs.store.directory
    fs.fstatvfs = lambda _: told  # type: ignore[method-assign, assignment, return-value]
    assert directory.free_disk() == free
    runs.write(1)
    result = await runs.by(RetentionPolicy(min_free_disk=1024, min_idle=timedelta(hours=1))).run()
    assert result.sessions_deleted == (free == 0)


async def test_free_disk_that_cannot_be_asked_is_not_known(runs: Runs, fs: FaultyOs) -> None:
    """Likewise where the call is refused, or not there."""
    for number in (errno.ENOSYS, errno.EACCES, errno.EOVERFLOW):
        fs.fail("fstatvfs", number)
        assert runs.store.directory.free_disk() is None
        fs.clear()


# Files in use -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EPERM])
async def test_save_over_a_file_that_is_in_use_is_tried_again(
    manager: SessionManager, fs: FaultyOs, logs: LogRecorder, sessions_dir: Path, number: int
) -> None:
    """A share may refuse to rename onto an open file: the old one stays, an ERROR says so, the next save succeeds."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    path = write_session(sessions_dir, "telegram_1", OLD)
    before = path.read_bytes()
    await manager.get_session("telegram_1")
    fs.fail("rename", number)
    assert (await manager.save_all_sessions()).failed == ("telegram_1",)
    assert path.read_bytes() == before
    fs.clear()
    assert (await manager.save_all_sessions()).saved == 1
    assert left_in_work(sessions_dir) == []


def test_recover_leaves_what_a_share_keeps_of_a_deleted_file(directory: SessionDirectory) -> None:
    """NFS and FUSE rename a file that is unlinked while it is read: it is no session that a removal has captured."""
    write_session(directory.path, "web_1", OLD)
    (removal,) = remove_batch(directory, ["web_1.json"], lambda headers: [True] * len(headers))
    assert removal.outcome == "removed"
    folder = directory.path / ".work" / "rm-0123456789abcdef"
    folder.mkdir()
    hidden = [folder / ".nfs000000000123456700000001", folder / ".fuse_hidden0000000100000001"]
    for path in hidden:
        path.write_bytes(b"{}")
    assert StagingArea(directory).recover().put_back == 0
    assert all(path.exists() for path in hidden)
    assert not list(directory.path.glob("*.json"))
    assert not list(directory.path.glob(".nfs*"))


# Kinds of entries ---------------------------------------------------------------------------------------------


class UnknownKinds(FaultyOs):
    """A file system whose listing tells no kinds (d_type is DT_UNKNOWN): each entry has to be looked at, which may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def scandir(self, fd: int) -> Any:
        return _Listing(self, os.scandir(fd), fd)


class _Listing:
    def __init__(self, fs: UnknownKinds, entries: Any, fd: int) -> None:
        self._fs, self._entries, self._fd = fs, entries, fd

    def __enter__(self) -> _Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.close()

    close = __exit__

    def __iter__(self) -> _Listing:
        return self

    def __next__(self) -> Any:
        entry = next(self._entries)

        def is_file(*, follow_symlinks: bool) -> bool:
            if entry.name in self._fs.refused:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            found: bool = entry.is_file(follow_symlinks=follow_symlinks)
            return found

        return SimpleNamespace(name=entry.name, inode=entry.inode, is_file=is_file)


async def test_scan_where_one_entry_cannot_be_looked_at_lists_the_others(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """One file that a bad disk cannot show stops no cleanup of the others."""
    logs.expect_error("Session file kept, it cannot be judged")
    fs = UnknownKinds()
    fs.refused.add("web_bad.json")
    fs.fail("open", errno.EIO, path="web_bad.json")
    for chat_id in ("bad", "1", "2"):
        write_session(sessions_dir, f"web_{chat_id}", OLD)
    async with open_runtime(sessions_dir, fs=fs, clock=clock, cleanup_interval_seconds=None) as runtime:
        result = await runtime.cleanup.run()
    assert (result.sessions_deleted, result.unreadable) == (2, 1)


# Opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda path: path / "a" / "sessions", lambda path: path / "sessions"])
def test_open_below_a_directory_that_may_not_be_read_makes_the_sessions_directory(
    tmp_path: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    """To make a directory one has to be able to change its parent, and not to read it."""
    monkeypatch.setattr(FaultyOs, "is_root", False)  # who may read everything
    fs = FaultyOs()

    def refuse(called: str, args: tuple[Any, ...]) -> None:
        if called == "open" and args[0] == str(tmp_path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    fs.on(refuse)
    with SessionDirectory.open(make(tmp_path), create=True, fs=fs) as directory:
        directory.own()
    assert logs.one("Directory cannot be read, nor synced; a power cut may take what is made in it")


def test_save_where_a_name_is_too_long_is_an_error_that_names_it(directory: SessionDirectory, fs: FaultyOs) -> None:
    """eCryptfs admits 143 bytes: a chat whose id makes a longer name is told so, before its message is accepted."""
    fs.fail("open", errno.ENAMETOOLONG, path="x" * 150)
    with pytest.raises(StoreIOError, match="could not read: File name too long"):
        directory.load(f"web_{'x' * 150}", adopt=True)
