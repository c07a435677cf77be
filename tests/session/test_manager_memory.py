"""The manager's memory is bounded, who holds a session keeps it, and what cannot be saved stays."""

from __future__ import annotations

import errno
import gc
import weakref
from pathlib import Path

import pytest
import trio

from miniclaw.errors import (
    SessionNotFoundError,
)
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import until, wait_in_thread
from tests.session.test_manager import say


async def test_memory_is_bounded_and_the_clean_oldest_leave(store: FileSessionStore, clock: WallClock) -> None:
    """After a save no more than the bound stay, the most recently used ones; unsaved ones are never dropped."""
    manager = SessionManager(store, clock=clock, max_live_sessions=3)
    for number in range(10):
        await manager.get_or_create_session("telegram", str(number))
    assert manager.live_sessions() == 10
    await manager.get_session("telegram_0")
    await manager.save_all_sessions()
    assert manager.live_sessions() == 3
    assert "telegram_0" in manager._memory
    assert len((await manager.get_or_create_session("telegram", "5")).messages) == 0


async def test_overfull_memory_calls_for_a_save(store: FileSessionStore, clock: WallClock) -> None:
    """The bound is not left to the next tick: whoever saves is told."""
    calls: list[int] = []
    manager = SessionManager(store, clock=clock, max_live_sessions=2, on_overfull=lambda: calls.append(1))
    for number in range(2):
        await manager.get_or_create_session("telegram", str(number))
    assert not calls
    await manager.get_or_create_session("telegram", "2")
    assert calls


async def test_memory_is_bounded_in_bytes_and_the_oldest_leave(store: FileSessionStore, clock: WallClock) -> None:
    """After a save a few large sessions leave as many small ones would; loaded again, nothing is missing."""
    manager = SessionManager(store, clock=clock, max_live_bytes=100_000)
    for number in range(4):
        await manager.get_or_create_session("telegram", str(number))
        await manager.add_message(f"telegram_{number}", say("x" * 40_000, clock))
    assert manager.live_bytes() > 160_000
    await manager.save_all_sessions()
    assert [*manager._memory._live] == ["telegram_2", "telegram_3"]
    assert 80_000 < manager.live_bytes() < 100_000
    session = await manager.get_session("telegram_0")
    assert session is not None
    assert len(session.messages[0].content) == 40_000
    assert manager.live_bytes() > 120_000


async def test_memory_that_runs_over_by_a_message_calls_for_a_save(store: FileSessionStore, clock: WallClock) -> None:
    """Whoever saves is told once when the bytes run over, by a message or by a session that is loaded."""
    calls: list[int] = []
    manager = SessionManager(store, clock=clock, max_live_bytes=100_000, on_overfull=lambda: calls.append(1))
    for number in range(2):
        await manager.get_or_create_session("telegram", str(number))
        await manager.add_message(f"telegram_{number}", say("x" * 40_000, clock))
    assert not calls
    await manager.add_message("telegram_1", say("x" * 40_000, clock))
    await manager.add_message("telegram_1", say("x" * 10_000, clock))
    assert len(calls) == 1
    await manager.save_all_sessions()
    assert [*manager._memory._live] == ["telegram_1"]
    await manager.get_session("telegram_0")
    assert len(calls) == 2


async def test_held_session_keeps_its_identity_after_leaving(store: FileSessionStore, clock: WallClock) -> None:
    """While somebody holds the object, asking again gives the same one, also after it left the memory's bound."""
    manager = SessionManager(store, clock=clock, max_live_sessions=1)
    held = await manager.get_or_create_session("telegram", "held")
    await manager.get_or_create_session("telegram", "other")
    await manager.save_all_sessions()
    assert "telegram_held" not in manager._memory
    assert await manager.get_session("telegram_held") is held
    await manager.add_message("telegram_held", say("again", clock))
    assert held.messages[-1].content == "again"
    assert "telegram_held" in manager.dirty_sessions()


async def test_session_that_left_and_nobody_holds_is_freed(store: FileSessionStore, clock: WallClock) -> None:
    """What left and is held by nobody takes no memory, and is loaded again when asked for."""
    manager = SessionManager(store, clock=clock, max_live_sessions=1)
    gone = weakref.ref(await manager.get_or_create_session("telegram", "gone"))
    await manager.get_or_create_session("telegram", "other")
    await manager.save_all_sessions()
    gc.collect()
    assert gone() is None
    assert (await manager.get_or_create_session("telegram", "gone")).created_at == clock.now


async def test_using_keeps_a_session_in_memory(store: FileSessionStore, clock: WallClock) -> None:
    """A session in use does not leave, however many others come."""
    manager = SessionManager(store, clock=clock, max_live_sessions=1)
    await manager.get_or_create_session("telegram", "used")
    async with manager.using("telegram_used") as session:
        for number in range(5):
            await manager.get_or_create_session("telegram", str(number))
        await manager.save_all_sessions()
        entry = manager._memory.find("telegram_used")
        assert entry is not None
        assert entry.session is session
    with pytest.raises(SessionNotFoundError):
        async with manager.using("telegram_nobody"):
            pass


async def test_save_failing_is_logged_kept_and_retried(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A failed save names path and errno, loses nothing, and succeeds when the fault is over."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await manager.get_or_create_session("telegram", "1")
    await manager.get_or_create_session("telegram", "2")
    fs.fail("rename", errno.ENOSPC, path="telegram_1.json")
    report = await manager.save_all_sessions()
    assert (report.saved, report.failed) == (1, ("telegram_1",))
    event = logs.one("Session could not be saved; it stays in memory for the next try")
    assert event["path"] == str(sessions_dir / "telegram_1.json")
    assert event["errno"] == errno.ENOSPC
    fs.clear()
    assert (await manager.save_all_sessions()).saved == 1
    assert manager.dirty_sessions() == []


async def test_save_hanging_file_holds_up_no_later_save(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """While one file hangs, chat goes on, other sessions are saved, and the hanging one is saved when it can be."""
    await manager.get_or_create_session("telegram", "hung")
    gate = fs.block("rename", path="telegram_hung.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
    await manager.add_message("telegram_hung", say("still here", clock))
    await manager.get_or_create_session("telegram", "2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await until(lambda: manager.dirty_sessions() == ["telegram_hung"])
        gate.opened.set()
    assert manager.dirty_sessions() == []
    assert "still here" in (sessions_dir / "telegram_hung.json").read_text()


async def test_save_nothing_dirty_touches_no_file(manager: SessionManager, fs: FaultyOs) -> None:
    """Without a change there is no write."""
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    before = len(fs.calls)
    assert (await manager.save_all_sessions()).saved == 0
    assert len(fs.calls) == before
