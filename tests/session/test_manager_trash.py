"""The manager with a trash: deleting into it, restoring out of it, and pins."""

from __future__ import annotations

import errno
import json
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.errors import (
    CorruptTrashError,
    RuntimeClosedError,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
    TrashEntryNotFoundError,
)
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread

ID = "telegram_1"
POLICY = RetentionPolicy(trash_for=timedelta(days=7))
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


@pytest.fixture
def manager(store: FileSessionStore, clock: WallClock) -> SessionManager:
    return SessionManager(store, clock=clock, policy=POLICY)


@pytest.fixture
async def trashed(manager: SessionManager, sessions_dir: Path, clock: WallClock) -> str:
    """The id of the entry of a session that is in the trash, last used two days ago."""
    write_session(sessions_dir, ID, clock.ago(days=2))
    return (await manager.delete_session(ID, by="command")).entry_id


async def say(manager: SessionManager, content: str, clock: WallClock) -> None:
    await manager.get_or_create_session("telegram", "1")
    await manager.add_message(ID, Message("user", content, clock.now))


async def said(manager: SessionManager) -> list[str]:
    session = await manager.get_session(ID)
    assert session is not None
    return [message.content for message in session.messages]


# Deleting -------------------------------------------------------------------------------------------------------


async def test_delete_goes_to_the_trash_and_says_where(
    manager: SessionManager, store: FileSessionStore, sessions_dir: Path, clock: WallClock
) -> None:
    """What a command deletes can be restored, for as long as the policy says, by the entry that it is told."""
    size = write_session(sessions_dir, ID, clock.ago(days=2)).stat().st_size
    deletion = await manager.delete_session(ID, by="command")
    (entry,) = store.trash.entries()
    assert (deletion.entry_id, deletion.size) == (entry.id, size)
    assert deletion.header is not None
    assert deletion.header.last_accessed == clock.ago(days=2)
    assert (entry.reason, entry.by, entry.removed_at) == ("deleted", "command", clock.now)
    assert entry.expires_at == clock.now + timedelta(days=7)
    assert not (sessions_dir / f"{ID}.json").exists()


async def test_delete_erase_or_without_a_trash_is_for_good(
    manager: SessionManager, store: FileSessionStore, sessions_dir: Path, clock: WallClock
) -> None:
    """Erased, or where the policy keeps no trash, a session is gone, and so are its bytes."""
    for erase, other in [(True, manager), (False, SessionManager(store, clock=clock))]:
        size = write_session(sessions_dir, ID, clock.now).stat().st_size
        deletion = await other.delete_session(ID, erase=erase)
        assert (deletion.entry_id, deletion.bytes_freed) == ("", size)
    assert store.trash.entries() == []


async def test_delete_with_unsaved_messages_trashes_them_too(
    manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """What was said since the last save comes back from the trash as well, over an older file or without any."""
    for with_file in (True, False):
        if with_file:
            write_session(sessions_dir, ID, clock.ago(days=2))
        await say(manager, "unsaved", clock)
        await manager.restore_session((await manager.delete_session(ID)).entry_id)
        assert (await said(manager))[-1] == "unsaved"
        await manager.delete_session(ID, erase=True)


async def test_delete_that_cannot_save_before_deletes_nothing(
    manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Where unsaved messages would be missing in the trash, the session stays; erased, it goes all the same."""
    logs.expect_error(NOT_SAVED)
    write_session(sessions_dir, ID, clock.ago(days=2))
    await say(manager, "unsaved", clock)
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(SessionFileError, match=r"telegram_1\.json: not deleted"):
        await manager.delete_session(ID)
    assert (await said(manager))[-1] == "unsaved"
    await manager.delete_session(ID, erase=True)
    assert await manager.get_session(ID) is None


async def test_delete_that_the_trash_refuses_keeps_it_in_memory_and_on_disk(
    manager: SessionManager, store: FileSessionStore, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """A deletion that fails at the trash leaves the session as it was, and to be saved again."""
    write_session(sessions_dir, ID, clock.ago(days=2))
    held = await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    fs.fail("rename", errno.EIO, path=".gz")
    with pytest.raises(SessionFileError, match="trash"):
        await manager.delete_session(ID)
    fs.clear()
    assert await manager.get_session(ID) is held
    assert (sessions_dir / f"{ID}.json").exists()
    assert store.trash.entries() == []


# Restoring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False])
async def test_restore_is_a_use_and_is_had_by_who_asks(
    manager: SessionManager, trashed: str, store: FileSessionStore, clock: WallClock, by_id: bool
) -> None:
    """By its entry or by the session's own id it comes back, counts as used now, and leaves the trash."""
    clock.move(days=3)
    assert await manager.restore_session(trashed if by_id else ID) == ID
    assert store.directory.header(ID).last_accessed == clock.now
    assert store.trash.entries() == []
    assert await said(manager) == ["hello from 1"]


async def test_restore_twice_or_of_nothing_finds_nothing(manager: SessionManager, trashed: str) -> None:
    """An entry comes back once."""
    await manager.restore_session(trashed)
    for text in (trashed, "telegram_nobody", "..", ""):
        with pytest.raises(TrashEntryNotFoundError):
            await manager.restore_session(text)


@pytest.mark.parametrize("saved", [True, False])
async def test_restore_over_a_live_session_is_refused(
    manager: SessionManager, trashed: str, store: FileSessionStore, clock: WallClock, saved: bool
) -> None:
    """A newer session, in memory, on disk, or never saved yet, is not overwritten; the entry stays."""
    await say(manager, "newer", clock)
    if saved:
        await manager.save_all_sessions()
    with pytest.raises(SessionExistsError, match="telegram_1"):
        await manager.restore_session(trashed)
    assert await said(manager) == ["newer"]
    assert [entry.id for entry in store.trash.entries()] == [trashed]


async def test_restore_over_a_file_is_refused(
    manager: SessionManager, trashed: str, store: FileSessionStore, sessions_dir: Path, clock: WallClock
) -> None:
    """Also what only lies on the disk keeps its place, whatever it is."""
    path = sessions_dir / f"{ID}.json"
    path.write_text("damaged")
    with pytest.raises(SessionExistsError):
        await manager.restore_session(trashed)
    assert path.read_text() == "damaged"
    assert [entry.id for entry in store.trash.entries()] == [trashed]


async def test_restore_of_a_damaged_entry_is_refused(
    manager: SessionManager, trashed: str, store: FileSessionStore, sessions_dir: Path
) -> None:
    """An entry that cannot be read says so, by its own id and by the session's, and stays."""
    store.trash.path_of(trashed).write_bytes(b"no gzip")
    for text in (trashed, ID):
        with pytest.raises(CorruptTrashError):
            await manager.restore_session(text)
    assert store.trash.path_of(trashed).exists()
    assert not (sessions_dir / f"{ID}.json").exists()


async def test_restore_and_chat_at_once_have_one_session(
    manager: SessionManager, trashed: str, fs: FaultyOs, clock: WallClock
) -> None:
    """Who writes while a session is being restored waits for it and goes on with it."""
    gate = fs.block("link")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.restore_session, trashed)
        await wait_in_thread(gate.reached)
        nursery.start_soon(say, manager, "again", clock)
        await trio.testing.wait_all_tasks_blocked()
        assert manager.dirty_sessions() == []
        gate.opened.set()
    assert await said(manager) == ["hello from 1", "again"]


async def test_restore_after_the_end_is_refused(manager: SessionManager, trashed: str) -> None:
    """A runtime that has ended restores nothing and pins nothing."""
    manager.close()
    with pytest.raises(RuntimeClosedError):
        await manager.restore_session(trashed)
    with pytest.raises(RuntimeClosedError):
        await manager.set_pinned(ID, True)


# Pins -----------------------------------------------------------------------------------------------------------


async def test_pin_is_saved_and_is_no_access(
    manager: SessionManager, store: FileSessionStore, sessions_dir: Path, clock: WallClock
) -> None:
    """A pin is in the file after the next save, says whether it changed anything, and makes nothing look used."""
    path = write_session(sessions_dir, ID, clock.ago(days=20))
    assert await manager.set_pinned(ID, True)
    assert not await manager.set_pinned(ID, True)
    assert (await manager.save_all_sessions()).saved == 1
    content = json.loads(path.read_bytes())
    assert content["pinned"] is True
    assert store.directory.header(ID).last_accessed == clock.ago(days=20)
    again = SessionManager(store, clock=clock)  # as after a restart
    assert not await again.set_pinned(ID, True)
    assert await again.set_pinned(ID, False)
    await again.save_all_sessions()
    assert not store.directory.header(ID).pinned


async def test_pin_of_nobody_is_refused_and_makes_nobody(manager: SessionManager, sessions_dir: Path) -> None:
    """A pin is no reason for a session to come into being."""
    with pytest.raises(SessionNotFoundError):
        await manager.set_pinned("telegram_nobody", True)
    assert manager.live_sessions() == 0


@pytest.mark.parametrize("saved", [True, False])
async def test_cleanup_keeps_what_is_pinned_and_takes_what_was_unpinned(
    manager: SessionManager, store: FileSessionStore, sessions_dir: Path, clock: WallClock, saved: bool
) -> None:
    """At any age a pinned session stays, its pin saved or not; unpinned and saved, it goes with the next run."""
    write_session(sessions_dir, ID, clock.ago(days=400))
    cleanup = Cleanup(sessions_dir, policy=POLICY, clock=clock, manager=manager)
    await manager.set_pinned(ID, True)
    if saved:
        await manager.save_all_sessions()
    result = await cleanup.run()
    assert (result.sessions_deleted, result.pinned) == (0, 1)
    await manager.set_pinned(ID, False)
    await manager.save_all_sessions()
    assert (await cleanup.run()).sessions_deleted == 1


async def test_pinned_after_the_plan_stays(
    manager: SessionManager, store: FileSessionStore, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """A pin that another program has put into the file since the scan counts at the last moment."""
    write_session(sessions_dir, ID, clock.ago(days=400))
    cleanup = Cleanup(sessions_dir, policy=POLICY, clock=clock, manager=manager)

    def pin(name: str, args: tuple[object, ...]) -> None:
        if name == "rename" and args[0] == f"{ID}.json":
            fs.clear()
            write_session(sessions_dir, ID, clock.ago(days=400), pinned=True)

    fs.on(pin)
    result = await cleanup.run()
    assert (result.sessions_deleted, result.kept_active) == (0, 1)
    assert store.trash.entries() == []
    assert store.directory.header(ID).pinned
