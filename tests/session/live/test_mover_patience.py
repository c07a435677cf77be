"""A move that hangs, fails or comes at the end: what its caller is told is what has happened."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.errors import (
    MiniclawError,
    RemovalPendingError,
    RuntimeClosedError,
    SessionFileError,
)
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.removal.relocation import CALLED_OFF, Relocation
from miniclaw.session.threads import PATIENCE_SECONDS
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, Gate
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import until, wait_in_thread
from tests.fakes.work_folder import left_in_work
from tests.session.live.test_mover import ID, NEW


@pytest.fixture
def path(sessions_dir: Path, store: FileSessionStore, clock: WallClock) -> Path:
    """The file of a session that was used two days ago."""
    return write_session(sessions_dir, ID, clock.ago(days=2))


@pytest.fixture
def target(path: Path) -> Path:
    """Where it is to be moved."""
    return path.with_name(f"{NEW}.json")


# The end of patience, failures, and the end ---------------------------------------------------------------------


async def hang(
    manager: SessionManager, fs: FaultyOs, clock: MockClock, call: str, path: str, late: list[Relocation]
) -> tuple[object, Gate]:
    """Move while a system call hangs, until the caller has left; return what that was told, and the gate."""
    gate = fs.block(call, path=path)
    told: list[object] = []

    async def move() -> None:
        try:
            told.append(await manager.move_session(ID, NEW, late=late.append))
        except MiniclawError as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move)
        await wait_in_thread(gate.reached)
        clock.jump(PATIENCE_SECONDS)
    return told[0], gate


async def test_move_on_a_hung_disk_is_called_off_before_it_begins(
    manager: SessionManager, path: Path, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """A disk that does not even answer to reading: nothing is moved, then or later, and the session goes on."""
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    late: list[Relocation] = []
    told, gate = await hang(manager, fs, mock_clock, "open", path.name, late)
    assert isinstance(told, SessionFileError)
    assert told.reason == CALLED_OFF
    gate.opened.set()
    await until(lambda: not len(manager._locks))
    assert late == []
    assert [each.name for each in path.parent.glob("*.json")] == [path.name]
    assert await manager.get_session(ID) is not None
    assert not logs.named("Session moved")


async def test_move_that_outlasts_its_caller_is_told_when_it_has_happened(
    manager: SessionManager, path: Path, target: Path, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """It counts as pending until then; memory follows it, and nobody gets the session before."""
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    late: list[Relocation] = []
    size = path.stat().st_size
    told, gate = await hang(manager, fs, mock_clock, "link", NEW, late)
    assert isinstance(told, RemovalPendingError)
    assert not logs.named("Session moved")
    gate.opened.set()
    await until(lambda: not len(manager._locks))
    assert [each.size for each in late] == [size]
    assert logs.one("Session moved")["to"] == NEW
    assert await manager.get_session(ID) is None
    assert await manager.get_session(NEW) is not None


async def test_move_that_fails_after_its_caller_has_left_is_an_error(
    manager: SessionManager, path: Path, target: Path, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """What was told as pending and has not happened is in the log, and the session can be used again."""
    logs.expect_error("Move that outlasted its caller has failed")
    await manager.get_or_create_session("telegram", "1")
    late: list[Relocation] = []
    told, gate = await hang(manager, fs, mock_clock, "link", NEW, late)
    assert isinstance(told, RemovalPendingError)
    target.write_text("in the way")
    gate.opened.set()
    await until(lambda: not len(manager._locks))
    assert late == []
    assert "is taken" in logs.one("Move that outlasted its caller has failed")["error"]
    assert await manager.get_session(ID) is not None
    assert target.read_text() == "in the way"


async def test_session_whose_old_file_stays_is_used_on_and_the_next_move_ends_it(
    manager: SessionManager, path: Path, target: Path, fs: FaultyOs
) -> None:
    """Until the move is made again the session is what it was, and what it was is saved."""
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    fs.fail("rename", errno.EACCES, path=path.name)
    with pytest.raises(SessionFileError, match="still here as well"):
        await manager.move_session(ID, NEW)
    fs.clear()
    assert manager.dirty_sessions() == [ID]
    await manager.move_session(ID, NEW)
    assert read_contents(target) == ["hello from 1"]
    assert not path.exists()


async def test_foreign_error_during_a_move_leaves_the_session_usable(
    manager: SessionManager, path: Path, target: Path, fs: FaultyOs
) -> None:
    """Whatever goes wrong in the thread, no lock stays held, and the session is not out of reach."""
    await manager.get_or_create_session("telegram", "1")

    def fail(called: str, args: tuple[object, ...]) -> None:
        if called == "link":
            raise RuntimeError

    fs.on(fail)
    with pytest.raises(SessionFileError, match="RuntimeError"):
        await manager.move_session(ID, NEW)
    fs.clear()
    assert not len(manager._locks)
    assert await manager.get_session(ID) is not None
    assert left_in_work(path.parent) == []
    assert not target.exists()


async def test_move_after_the_end_is_refused(manager: SessionManager, path: Path) -> None:
    """The runtime that ends begins no move."""
    manager.close()
    with pytest.raises(RuntimeClosedError):
        await manager.move_session(ID, NEW)
    assert path.exists()
