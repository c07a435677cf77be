"""The manager moves a session: out of memory in the step in which its file is moved, and never one that is in use."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.errors import (
    InvalidSessionIdError,
    MiniclawError,
    RemovalPendingError,
    SessionExistsError,
    SessionFileError,
    SessionInUseError,
    SessionNotFoundError,
)
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.removal.relocation import Relocation
from miniclaw.session.threads import PATIENCE_SECONDS
from miniclaw.session.types import Message, Session
from tests.fakes.clock import WallClock
from tests.fakes.desk import Desk
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, Gate
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import until, wait_in_thread

ID = "telegram_1"
NEW = "web_anna"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


@pytest.fixture
def path(sessions_dir: Path, store: FileSessionStore, clock: WallClock) -> Path:
    """The file of a session that was used two days ago."""
    return write_session(sessions_dir, ID, clock.ago(days=2))


@pytest.fixture
def target(path: Path) -> Path:
    """Where it is to be moved."""
    return path.with_name(f"{NEW}.json")


def message(text: str, clock: WallClock) -> Message:
    return Message("user", text, clock.now)


@asynccontextmanager
async def moving(manager: SessionManager, fs: FaultyOs, outcomes: list[object]) -> AsyncIterator[Gate]:
    """Have a move under way that is just about to give the new file its name, for a block; it goes on at the end."""
    gate = fs.block("link")

    async def move() -> None:
        try:
            outcomes.append(await manager.move_session(ID, NEW))
        except MiniclawError as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move)
        await wait_in_thread(gate.reached)
        try:
            yield gate
        finally:
            gate.opened.set()


async def test_moved_session_is_used_under_its_new_id(
    manager: SessionManager, path: Path, target: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The new chat goes on with it; a move is no access, and one INFO tells of it."""
    used, size, before = clock.ago(days=2), path.stat().st_size, json.loads(path.read_bytes())
    moved = await manager.move_session(ID, NEW, by="test")
    assert moved == Relocation(used, size)
    event = logs.one("Session moved")
    assert (event["session_id"], event["to"], event["by"]) == (ID, NEW, "test")
    assert await manager.get_session(ID) is None
    assert not await manager.is_session_expired(NEW)
    assert manager.live_sessions() == 0
    assert json.loads(target.read_bytes()) == before | {"session_id": NEW, "channel": "web", "chat_id": "anna"}
    session = await manager.get_or_create_session("web", "anna")
    assert ([each.content for each in session.messages], session.channel, session.chat_id) == (
        ["hello from 1"], "web", "anna",
    )  # fmt: skip


async def test_object_of_the_old_session_is_no_session_any_more(
    manager: SessionManager, path: Path, target: Path, clock: WallClock
) -> None:
    """As after a deletion: who holds it is told that there is none, and the chat begins anew."""
    held = await manager.get_or_create_session("telegram", "1")
    await manager.move_session(ID, NEW)
    with pytest.raises(SessionNotFoundError):
        await manager.is_session_expired(ID)  # asks memory, and reads the disk only without it
    with pytest.raises(SessionNotFoundError):
        await manager.add_message(ID, message("late", clock))
    with pytest.raises(SessionNotFoundError):
        async with manager.using(ID):
            pytest.fail("it is gone")
    held.messages.append(message("to the object", clock))
    await manager.save_all_sessions()
    assert not path.exists()
    anew = await manager.get_or_create_session("telegram", "1")
    assert (anew is held, anew.messages) == (False, [])
    assert read_contents(target) == ["hello from 1"]


async def test_unsaved_session_is_saved_first(
    manager: SessionManager, path: Path, target: Path, clock: WallClock
) -> None:
    """What was said and not saved yet moves along, also of a session that was never on the disk; it counts as saved."""
    await manager.add_message(ID, message("unsaved", clock))
    state = manager.watch_save(ID)
    assert (await manager.move_session(ID, NEW)).last_accessed == clock.now
    assert read_contents(target) == ["hello from 1", "unsaved"]
    assert state() == "saved"
    session = await manager.get_or_create_session("web", "bernd")
    await manager.add_message(session.session_id, message("never saved", clock))
    await manager.move_session("web_bernd", "telegram_2")
    assert read_contents(path.with_name("telegram_2.json")) == ["never saved"]
    assert manager.dirty_sessions() == []


async def test_session_that_cannot_be_saved_is_not_moved(
    manager: SessionManager, path: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """It stays in memory as it was, goes on, and moves when the disk is well again."""
    logs.expect_error(NOT_SAVED)
    await manager.add_message(ID, message("unsaved", clock))
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(SessionFileError, match="not moved: it could not be saved before"):
        await manager.move_session(ID, NEW)
    fs.clear()
    assert manager.dirty_sessions() == [ID]
    await manager.add_message(ID, message("more", clock))
    await manager.move_session(ID, NEW)
    assert read_contents(path.with_name(f"{NEW}.json")) == ["hello from 1", "unsaved", "more"]


async def test_session_in_use_is_not_moved(manager: SessionManager, path: Path, clock: WallClock) -> None:
    """A turn goes on with its session; the sentence says what to do, and that works."""
    async with manager.using(ID):
        with pytest.raises(SessionInUseError, match=r"in use, .* try again"):
            await manager.move_session(ID, NEW)
        await manager.add_message(ID, message("answer", clock))
    await manager.move_session(ID, NEW)
    assert read_contents(path.with_name(f"{NEW}.json")) == ["hello from 1", "answer"]


@pytest.mark.parametrize("saved", [True, False])
async def test_session_in_memory_is_in_the_way(manager: SessionManager, path: Path, saved: bool) -> None:
    """A session of the new id that is only in memory is one."""
    await manager.get_or_create_session("web", "anna")
    if saved:
        await manager.save_all_sessions()
    with pytest.raises(SessionExistsError) as caught:
        await manager.move_session(ID, NEW)
    assert caught.value.session_id == NEW
    assert await manager.get_session(ID) is not None


@pytest.mark.parametrize("session_id", ["telegram", "Telegram_1", "telegram_", "", "../etc", ID])
async def test_what_is_no_other_id_is_refused(manager: SessionManager, path: Path, session_id: str) -> None:
    """An id that names no session, or the session itself, is an error before anything happens."""
    before = path.read_bytes()
    with pytest.raises(InvalidSessionIdError):
        await manager.move_session(ID, session_id)
    if session_id != ID:
        with pytest.raises(InvalidSessionIdError):
            await manager.move_session(session_id, ID)
    assert path.read_bytes() == before


async def test_session_that_is_not_there_is_not_moved(manager: SessionManager, path: Path) -> None:
    """No session is made by a move."""
    with pytest.raises(SessionNotFoundError):
        await manager.move_session("telegram_9", NEW)
    assert [each.name for each in path.parent.glob("*.json")] == [path.name]


async def test_moved_session_is_announced_anew(manager: SessionManager, store: FileSessionStore, path: Path) -> None:
    """It is not the file that an earlier run has announced, so it has one notice period of its own."""
    before = store.directory.find(ID)
    await manager.move_session(ID, NEW)
    after = store.directory.find(NEW)
    assert after.header.last_accessed == before.header.last_accessed
    assert after.identity != before.identity


# At once --------------------------------------------------------------------------------------------------------


async def test_message_during_a_move_waits_and_finds_no_session(
    manager: SessionManager, path: Path, target: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """A message to the old id is refused or begins a new session; one to the new id goes on with the moved one."""
    await manager.get_or_create_session("telegram", "1")
    outcomes: list[object] = []
    found: dict[str, object] = {}

    async def keep(name: str, session_id: str, *, create: bool) -> None:
        try:
            if create:
                await manager.get_or_create_session(*session_id.split("_"))
            found[name] = await manager.add_message(session_id, message(name, clock))
        except SessionNotFoundError:
            found[name] = None

    async with trio.open_nursery() as nursery, moving(manager, fs, outcomes):
        nursery.start_soon(lambda: keep("old", ID, create=False))
        await until(lambda: manager._locks._semaphores[ID].statistics().tasks_waiting == 1)
        nursery.start_soon(lambda: keep("anew", ID, create=True))
        nursery.start_soon(lambda: keep("new", NEW, create=True))
        await until(lambda: manager._locks._semaphores[ID].statistics().tasks_waiting == 2)
        await until(lambda: manager._locks._semaphores[NEW].statistics().tasks_waiting == 1)
        assert manager.live(ID) is not None
    assert isinstance(outcomes[0], Relocation)
    assert found["old"] is None
    assert isinstance(found["anew"], Session)
    assert (await manager.save_all_sessions()).saved == 2
    assert read_contents(path) == ["anew"]
    assert read_contents(target) == ["hello from 1", "new"]


async def test_autosave_during_a_move_waits(
    manager: SessionManager, path: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """It does not write the old file again."""
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    outcomes: list[object] = []
    async with trio.open_nursery() as nursery, moving(manager, fs, outcomes):
        nursery.start_soon(manager.save_sessions, [ID])
        await until(lambda: manager._locks._semaphores[ID].statistics().tasks_waiting == 1)
    assert isinstance(outcomes[0], Relocation)
    assert not path.exists()


async def test_moves_that_cross_do_not_wait_for_one_another(
    manager: SessionManager, path: Path, target: Path, clock: WallClock
) -> None:
    """Of many moves between a few ids each ends, and every conversation is somewhere."""
    write_session(path.parent, NEW, clock.ago(days=1), note="other")
    ids = [ID, NEW, "web_bernd"]
    refused = 0

    async def move(source: str, to: str) -> None:
        nonlocal refused
        try:
            await manager.move_session(source, to)
        except (SessionExistsError, SessionNotFoundError):
            refused += 1

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for source in ids:
                for to in ids:
                    if source != to:
                        nursery.start_soon(move, source, to)
    assert refused < 6
    assert len(list(path.parent.glob("*.json"))) == 2
    assert not len(manager._locks)


# With a receipt -------------------------------------------------------------------------------------------------


async def test_move_has_a_receipt(desk: Desk) -> None:
    """The history says which session, whereto, when it was last used, and how large it is."""
    await desk.do.move(ID, NEW)
    event = desk.only()
    assert (event.event, event.because, event.bytes_freed, event.reasons) == ("moved", f"moved to {NEW}", 0, {})
    assert [(row.session_id, row.last_accessed, row.size, row.reason) for row in event.sessions] == [
        (ID, desk.clock.ago(days=2), desk.sizes[ID], "moved")
    ]
    assert desk.left() == ["telegram_2", NEW]
    assert desk.store.trash.entries() == []


async def test_move_that_is_refused_has_none(desk: Desk) -> None:
    """What did not happen is not told."""
    for session_id, target_id in ((ID, "telegram_2"), ("telegram_9", NEW), (ID, "nonsense")):
        with pytest.raises(MiniclawError):
            await desk.do.move(session_id, target_id)
    assert desk.told() == []


async def test_move_that_outlasts_its_caller_has_both_receipts(desk: Desk, mock_clock: MockClock) -> None:
    """It is pending when its caller leaves, and late when it has happened."""
    gate = desk.fs.block("link", path=NEW)

    async def move() -> None:
        with pytest.raises(RemovalPendingError):
            await desk.do.move(ID, NEW)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move)
        await wait_in_thread(gate.reached)
        mock_clock.jump(PATIENCE_SECONDS)
    gate.opened.set()
    await until(lambda: not len(desk.manager._locks))
    pending, late = desk.told()
    assert (pending.event, late.event) == ("pending", "late")
    for event in (pending, late):
        assert (event.sessions[0].session_id, event.because) == (ID, f"moved to {NEW}")
    assert late.sessions[0].last_accessed == desk.clock.ago(days=2)
