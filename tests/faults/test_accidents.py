"""A workspace that is full, read-only, gone, crowded, or not all ours: the runtime goes on and says what it cannot do."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import NotConfirmedError, StoreError, StoreIOError, UnsavedSessionsError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import MISPLACED, LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.sentinel import Sentinel, mount, small_disk
from tests.fakes.work_folder import left_in_work

SOAK = int(os.environ.get("MINICLAW_SOAK", "0"))  # 0: not set
CROWDS = [20_000, *([100_000] if SOAK >= 1 else []), *([1_000_000] if SOAK >= 10 else [])]
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


@pytest.fixture(autouse=True)
def outside(tmp_path: Path) -> Iterator[Sentinel]:
    """Prove that nothing beside the sessions directory was changed, made or removed."""
    sentinel = Sentinel(tmp_path / "outside")
    before = sentinel.snapshot()
    yield sentinel
    assert sentinel.snapshot() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "disk", "workspace", "home"}


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk of its own; a parameter is its size."""
    with small_disk(tmp_path / "disk", f"size={getattr(request, 'param', '256k')},nr_inodes=64") as path:
        yield path


def fill(disk: Path) -> Path:
    """Leave no room on a disk, neither for bytes nor for names; return the folder that takes it."""
    ballast = disk / "ballast"
    ballast.mkdir()
    with suppress(OSError), (ballast / "bytes").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    with suppress(OSError):
        for number in range(1000):
            (ballast / str(number)).touch()
    status = os.statvfs(disk)
    assert (status.f_bavail, status.f_favail) == (0, 0)
    return ballast


async def say(runtime: SessionRuntime, text: str) -> None:
    """Say something in a chat, as a channel would."""
    session = await runtime.manager.get_or_create_session("web", "1")
    await runtime.manager.add_message(session.session_id, Message("user", text, session.last_accessed))


async def test_disk_full_while_running_chat_goes_on_and_is_saved_later(
    disk: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """On a full disk nothing is torn, each failed save is an ERROR with ENOSPC, and room for one save saves all."""
    logs.expect_error(NOT_SAVED)
    sessions = disk / "sessions"
    async with open_runtime(sessions, clock=clock, cleanup_interval_seconds=None) as runtime:
        await say(runtime, "before")
        await runtime.manager.save_all_sessions()
        before = (sessions / "web_1.json").read_bytes()
        ballast = fill(disk)
        for text in ("first", "second"):
            await say(runtime, text)
            assert (await runtime.persistence.tick()).failed == ("web_1",)
        assert {event["errno"] for event in logs.named(NOT_SAVED)} == {errno.ENOSPC}
        assert (sessions / "web_1.json").read_bytes() == before
        assert left_in_work(sessions) == []
        shutil.rmtree(ballast)
        assert (await runtime.persistence.tick()).saved == 1
    text = (sessions / "web_1.json").read_text()
    assert all(word in text for word in ("before", "first", "second"))


@pytest.mark.parametrize("disk", ["4m"], indirect=True)  # the journal has 1 MiB, or 2
async def test_disk_full_messages_are_confirmed_while_the_journal_has_room(
    disk: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What is confirmed on a full disk is there after a crash; what has no room is refused, and confirmed with room."""
    logs.expect_error(NOT_SAVED)
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    sessions, said, crashed = disk / "sessions", [], disk.parent / "home"
    async with open_runtime(sessions, clock=clock, cleanup_interval_seconds=None) as runtime:
        await say(runtime, "before")
        await runtime.manager.durable("web_1")
        ballast = fill(disk)
        with suppress(NotConfirmedError):
            for number in range(1000):
                said.append(f"{number} {'x' * 50_000}")
                await say(runtime, said[-1])
                await runtime.manager.durable("web_1")
        assert 10 < len(said) < 1000
        shutil.copytree(sessions, crashed)
        shutil.rmtree(ballast)
        await runtime.manager.durable("web_1")
    async with open_runtime(crashed, clock=clock, cleanup_interval_seconds=None) as runtime:
        session = await runtime.manager.get_or_create_session("web", "1")
        assert [message.content for message in session.messages] == ["before", *said[:-1]]
    with SessionDirectory.open(sessions) as directory:
        assert [message.content for message in directory.load("web_1").messages] == ["before", *said]


async def test_disk_full_at_the_start_is_swept_all_the_same(disk: Path, clock: WallClock, logs: LogRecorder) -> None:
    """On a disk too full for a folder or a byte the runtime starts, and removes what is expired; one ERROR is told."""
    logs.expect_error("Cleanup state could not be written")
    sessions = disk / "sessions"
    async with open_runtime(sessions, clock=clock):
        pass  # as it was when there was room
    for number in range(10):
        write_session(sessions, f"web_{number}", clock.ago(days=31 if number else 1))
    fill(disk)
    async with open_runtime(sessions, clock=clock, cleanup_interval_seconds=None) as runtime:
        result = await runtime.cleanup.run()
    assert (result.sessions_deleted, result.failed) == (9, 0)
    assert [path.name for path in sessions.glob("*.json")] == ["web_0.json"]


def turn_read_only(fs: FaultyOs) -> None:
    """Have all calls that write fail; a real disk cannot be made read-only by hand while its lock is open to write."""

    def hook(name: str, args: tuple[Any, ...]) -> None:
        writes = name == "open" and args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        if writes or name in {"mkdir", "rename", "link", "unlink", "rmdir", "write", "ftruncate", "fchmod"}:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    fs.on(hook)


async def test_disk_read_only_while_running_chat_goes_on_and_nothing_is_removed(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """When the disk turns read-only, saves and cleanups are ERRORs, chat goes on, and all is saved when it is back."""
    logs.expect_error(NOT_SAVED)
    logs.expect_error("Cleanup state could not be written")
    logs.expect_error("Cleanup could not be written into the history")
    logs.expect_error("Session not removed")
    fs = FaultyOs()
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
        old = write_session(sessions_dir, "web_old", clock.ago(days=31))
        await say(runtime, "before")
        turn_read_only(fs)
        await say(runtime, "read-only")
        assert (await runtime.persistence.tick()).failed == ("web_1",)
        assert (await runtime.cleanup.run()).failed == 1
        assert "Read-only file system" in logs.one("Session not removed")["reason"]
        with pytest.raises(StoreError):
            await runtime.manager.delete_session("web_old")
        assert old.exists()
        fs.clear()
        assert (await runtime.persistence.tick()).saved == 1
        assert (await runtime.cleanup.run()).sessions_deleted == 1
    assert "read-only" in (sessions_dir / "web_1.json").read_text()


async def test_disk_read_only_at_the_start_is_refused_and_can_be_looked_at(disk: Path, clock: WallClock) -> None:
    """On a read-only disk the runtime says why it does not start; a dry run needs to write nothing."""
    write_session(disk / "sessions", "web_old", clock.ago(days=31))
    mount("mount", "-o", "remount,ro", str(disk))
    with pytest.raises(StoreIOError, match="Read-only file system"):
        async with open_runtime(disk / "sessions", clock=clock):
            pytest.fail("it started")
    assert len((await Cleanup(disk / "sessions", clock=clock).plan()).removals) == 1


async def test_disk_unmounted_while_running_does_not_crash_and_ends(
    tmp_path: Path, disk: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """When the disk goes an ERROR says so, no session is written to what lay under it, and the runtime ends."""
    logs.expect_error(MISPLACED)
    sessions = disk / "sessions"
    async with open_runtime(sessions, clock=clock, cleanup_interval_seconds=None) as runtime:
        write_session(sessions, "web_old", clock.ago(days=31))
        await say(runtime, "before")
        mount("umount", "-l", str(disk))
        await say(runtime, "after")
        await runtime.persistence.tick()
        await runtime.cleanup.run()
        assert await runtime.manager.get_session("web_none") is None
    assert os.listdir(disk) == []
    assert logs.one(MISPLACED)


async def test_directory_deleted_while_running_says_what_is_not_saved(
    sessions_dir: Path, tmp_path: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """When somebody deletes the whole directory, chat goes on, each save is an ERROR, and the end names the sessions."""
    logs.expect_error(NOT_SAVED)
    logs.expect_error(MISPLACED)
    logs.expect_error("Sessions could not be saved before the end")
    logs.expect_error("Cleanup state could not be written")
    logs.expect_error("Cleanup could not be written into the history")
    logs.expect_error("Journal could not be written; sessions are saved as a whole")

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
            await say(runtime, "before")
            shutil.rmtree(sessions_dir)
            await say(runtime, "after")
            assert (await runtime.persistence.tick()).failed == ("web_1",)
            assert (await runtime.cleanup.run()).sessions_scanned == 0

    with pytest.raises(UnsavedSessionsError, match="web_1"):
        await run()
    assert not sessions_dir.exists()


@pytest.mark.parametrize("mode", [0o600, 0o644], ids=["unreadable", "readable"])
def test_file_of_another_user_is_kept_unless_it_can_be_read(tmp_path: Path, mode: int) -> None:
    """What belongs to somebody else and may not be read is kept and named; what may be read is a session like others."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() or setpriv is None:
        pytest.skip("giving a file away needs root, and setpriv to lose root's rights again")
    home = tmp_path / "home"
    sessions = home / "workspace" / "sessions"
    old, fresh = datetime.now(UTC) - timedelta(days=31), datetime.now(UTC)
    paths = [write_session(sessions, "web_old", old), write_session(sessions, "web_fresh", fresh)]
    for path in paths:
        path.chmod(mode)
        os.chown(path, 65534, 65534)
    done = subprocess.run(
        [
            *(setpriv, "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"),
            *(sys.executable, "-m", "miniclaw", "sessions", "cleanup", "--yes"),
        ],
        env=os.environ | {"MINICLAW_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    shown = done.stdout + done.stderr
    assert ("2 kept: unreadable" in shown) == (mode == 0o600), shown
    assert [path.exists() for path in paths] == [mode == 0o600, True]
    assert {path.stat().st_uid for path in paths if path.exists()} == {65534}


@pytest.mark.parametrize("files", CROWDS)
async def test_crowd_of_files_is_scanned_once_and_only_the_expired_go(
    files: int, sessions_dir: Path, clock: WallClock
) -> None:
    """Of very many sessions exactly the expired ones go, in one listing, without holding many descriptors."""
    write_session(sessions_dir, "web_first", clock.now)
    text = (sessions_dir / "web_first.json").read_bytes()
    expired = text.replace(clock.now.isoformat()[:10].encode(), b"2020-01-01")
    (sessions_dir / "web_first.json").unlink()
    folder = os.open(sessions_dir, os.O_RDONLY)
    for number in range(files):
        content = (text if number % 20 else expired).replace(b"first", str(number).encode())
        fd = os.open(f"web_{number}.json", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
        os.write(fd, content)
        os.close(fd)
    os.close(folder)
    with SessionDirectory.open(sessions_dir) as directory:
        directory.own()
    most: list[int] = []

    def look(_: int) -> None:
        most.append(len(os.listdir("/proc/self/fd")))

    before = len(os.listdir("/proc/self/fd"))
    result = await Cleanup(sessions_dir, clock=clock).run(on_progress=look)
    assert (result.sessions_scanned, result.sessions_deleted) == (files, (files + 19) // 20)
    assert {int(path.name[4:-5]) % 20 for path in sessions_dir.glob("*.json")} == set(range(1, 20))
    assert max(most) < before + 10
