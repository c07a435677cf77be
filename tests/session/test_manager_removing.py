"""The manager: removing expired sessions with its consent, deleting on request."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from miniclaw.errors import CorruptSessionError, InvalidSessionIdError, SessionFileError, SessionNotFoundError
from miniclaw.session.entries import StoredSession
from miniclaw.session.manager import SessionManager
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message, Session, SessionHeader
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import ages_at
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread
from tests.fakes.work_folder import left_in_work

Expired = Callable[[SessionHeader | Session], bool]


@pytest.fixture
def expired(clock: WallClock) -> Expired:
    return lambda session: RetentionPolicy().is_expired(session, ages_at(clock.now))


def stored(path: Path, clock: WallClock) -> StoredSession:
    chat_id = path.stem.removeprefix("telegram_")
    header = SessionHeader(path.stem, "telegram", chat_id, clock.ago(days=31))
    return StoredSession(path.name, path.stat().st_size, header)


@pytest.fixture
def old(sessions_dir: Path, clock: WallClock, manager: SessionManager) -> StoredSession:
    """A session on disk that is expired."""
    return stored(write_session(sessions_dir, "telegram_1", clock.ago(days=31)), clock)


def never_late(removals: list[Removal]) -> None:
    pytest.fail(f"nobody waited for {removals}")


async def outcome(manager: SessionManager, session: StoredSession, expired: Expired) -> str:
    (removal,) = await manager.remover.remove([session], expired, late=never_late)
    return removal.outcome


async def test_remove_expired_is_gone_and_the_next_message_begins_anew(
    manager: SessionManager, old: StoredSession, expired: Expired
) -> None:
    """A removed session is gone; nothing of it comes back with the next message."""
    assert await outcome(manager, old, expired) == "removed"
    assert await manager.get_session("telegram_1") is None
    assert (await manager.get_or_create_session("telegram", "1")).messages == []


async def test_remove_expired_in_memory_is_forgotten_in_the_same_step(
    manager: SessionManager, old: StoredSession, expired: Expired, clock: WallClock, sessions_dir: Path
) -> None:
    """A clean expired session in memory goes with its file, and no later save writes it back."""
    clock.move(days=-31)
    held = await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    clock.move(days=31, seconds=1)
    assert await outcome(manager, old, expired) == "removed"
    with pytest.raises(SessionNotFoundError):
        await manager.is_session_expired("telegram_1")  # asks memory, and reads the disk only without it
    await manager.save_all_sessions()
    assert list(sessions_dir.glob("*.json")) == []
    assert await manager.get_or_create_session("telegram", "1") is not held


async def test_remove_accessed_but_not_saved_is_kept(
    manager: SessionManager, old: StoredSession, expired: Expired, fs: FaultyOs
) -> None:
    """A session that was used in memory and is not saved yet is live, however old its file looks; it is not moved."""
    await manager.get_session("telegram_1")
    before = [name for name, _ in fs.calls].count("rename")
    assert await outcome(manager, old, expired) == "active"
    assert [name for name, _ in fs.calls].count("rename") == before


async def test_remove_in_use_is_kept(
    manager: SessionManager, old: StoredSession, expired: Expired, clock: WallClock
) -> None:
    """A session that somebody is using is kept, also when the use takes longer than the TTL."""
    async with manager.using("telegram_1"):
        await manager.save_all_sessions()
        clock.move(days=31)
        assert await outcome(manager, old, expired) == "active"


async def test_remove_saved_after_the_listing_is_kept(
    manager: SessionManager, old: StoredSession, expired: Expired, sessions_dir: Path, clock: WallClock
) -> None:
    """A listing that is out of date removes nothing: what is captured decides."""
    write_session(sessions_dir, "telegram_1", clock.now)
    assert await outcome(manager, old, expired) == "kept"
    assert await manager.get_session("telegram_1") is not None


async def test_remove_accessed_while_captured_is_put_back(
    manager: SessionManager, old: StoredSession, expired: Expired, fs: FaultyOs, clock: WallClock, sessions_dir: Path
) -> None:
    """Somebody who comes back between the capture and the removal finds their session, and it stays."""
    clock.move(days=-31)
    held = await manager.get_session("telegram_1")
    await manager.save_all_sessions()
    clock.move(days=31, seconds=1)
    results: list[str] = []
    gate = fs.block("fstat", after=fs.notice("rename", path="telegram_1.json"))  # reads the captured file
    async with trio.open_nursery() as nursery:

        async def remove() -> None:
            results.append(await outcome(manager, old, expired))

        nursery.start_soon(remove)
        await wait_in_thread(gate.reached)
        assert not (sessions_dir / "telegram_1.json").exists()
        assert await manager.get_session("telegram_1") is held
        gate.opened.set()
    assert results == ["kept"]
    assert (sessions_dir / "telegram_1.json").exists()
    assert len((await manager.get_or_create_session("telegram", "1")).messages) == 1


async def test_remove_being_loaded_is_kept(
    manager: SessionManager, old: StoredSession, expired: Expired, fs: FaultyOs
) -> None:
    """A session whose file somebody is just loading is left alone."""
    gate = fs.block("open", path="telegram_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.get_session, "telegram_1")
        await wait_in_thread(gate.reached)
        assert await outcome(manager, old, expired) == "active"
        gate.opened.set()


async def test_remove_access_from_disk_while_captured_waits_and_begins_anew(
    manager: SessionManager, old: StoredSession, expired: Expired, fs: FaultyOs
) -> None:
    """Who asks for a session that is just being removed, and is not in memory, waits and gets a new one."""
    found: list[Session] = []
    gate = fs.block("unlink")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, manager, old, expired)
        await wait_in_thread(gate.reached)

        async def come_back() -> None:
            found.append(await manager.get_or_create_session("telegram", "1"))

        nursery.start_soon(come_back)
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        gate.opened.set()
    assert found[0].messages == []


async def test_remove_cancelled_completes_the_batch(
    manager: SessionManager, old: StoredSession, expired: Expired, fs: FaultyOs, sessions_dir: Path
) -> None:
    """A removal that has begun is completed, whoever cancels."""
    gate = fs.block("fsync")
    results: list[str] = []
    async with trio.open_nursery() as nursery:

        async def remove() -> None:
            results.append(await outcome(manager, old, expired))

        nursery.start_soon(remove)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert results == ["removed"]
    assert left_in_work(sessions_dir) == []


async def test_remove_two_in_one_batch_and_duplicates(
    manager: SessionManager, old: StoredSession, expired: Expired, sessions_dir: Path, clock: WallClock
) -> None:
    """Of two files of one session in a batch only the first is worked on; the order of the results is that of the call."""
    other = stored(write_session(sessions_dir, "telegram_2", clock.ago(days=40)), clock)
    removals = await manager.remover.remove([other, old, old], expired, late=never_late)
    assert [removal.key for removal in removals] == ["telegram_2.json", "telegram_1.json", "telegram_1.json"]
    assert removals[0].outcome == "removed"
    assert not list(sessions_dir.glob("*.json"))


async def test_delete_on_disk_and_in_memory(
    manager: SessionManager, old: StoredSession, sessions_dir: Path, logs: LogRecorder
) -> None:
    """A deletion on request removes whatever the age, from disk and memory, and a held object does not bring it back."""
    held = await manager.get_session("telegram_1")
    assert (await manager.delete_session("telegram_1")).bytes_freed == old.size
    await manager.save_all_sessions()
    assert list(sessions_dir.glob("*.json")) == []
    assert await manager.get_or_create_session("telegram", "1") is not held
    assert logs.one("Session deleted")["session_id"] == "telegram_1"


async def test_delete_never_saved_is_forgotten(manager: SessionManager, sessions_dir: Path) -> None:
    """A session that is in memory only is deleted there, and nothing of it is saved later."""
    await manager.get_or_create_session("telegram", "1")
    assert (await manager.delete_session("telegram_1")).bytes_freed == 0
    await manager.save_all_sessions()
    assert list(sessions_dir.glob("*.json")) == []


async def test_delete_bare_name_too(manager: SessionManager, sessions_dir: Path, clock: WallClock) -> None:
    """A deletion takes every file of the session, also the one under an earlier implementation's name."""
    write_session(sessions_dir, "slack_U1", clock.now)
    write_session(sessions_dir, "slack_U1", clock.now).rename(sessions_dir / "slack_U1.json")
    await manager.delete_session("slack_U1")
    assert list(sessions_dir.glob("*.json")) == []


async def test_delete_missing_or_nonsense_is_an_error(manager: SessionManager) -> None:
    """What is not there cannot be deleted, and what is no id is told from that."""
    with pytest.raises(SessionNotFoundError):
        await manager.delete_session("telegram_1")
    with pytest.raises(InvalidSessionIdError):
        await manager.delete_session("nonsense")
    assert len(manager._locks) == 0


async def test_delete_corrupt_is_refused(manager: SessionManager, sessions_dir: Path) -> None:
    """What cannot be read is never deleted."""
    path = sessions_dir / "telegram_1.json"
    path.write_text("{")
    with pytest.raises(CorruptSessionError):
        await manager.delete_session("telegram_1")
    assert path.exists()


@pytest.mark.parametrize("call", ["rename", "unlink"])
async def test_delete_refused_leaves_everything(
    manager: SessionManager, old: StoredSession, fs: FaultyOs, sessions_dir: Path, clock: WallClock, call: str
) -> None:
    """A deletion that the system refuses is an error, and the session is there as before, its unsaved part too."""
    await manager.get_session("telegram_1")
    await manager.add_message("telegram_1", Message("user", "unsaved", clock.now))
    fs.fail(call, errno.EACCES)
    with pytest.raises(SessionFileError, match="Permission denied"):
        await manager.delete_session("telegram_1")
    fs.clear()
    session = await manager.get_or_create_session("telegram", "1")
    assert [message.content for message in session.messages][-1] == "unsaved"
    await manager.save_all_sessions()
    assert "unsaved" in (sessions_dir / "telegram_1.json").read_text()


async def test_delete_refused_of_a_saved_session_saves_it_again(
    manager: SessionManager, old: StoredSession, fs: FaultyOs, sessions_dir: Path
) -> None:
    """After a refused deletion it is not certain where the file is: what memory has is to be saved, and is."""
    await manager.get_session("telegram_1")
    await manager.save_all_sessions()
    fs.fail("unlink", errno.EACCES)
    fs.fail("link", errno.EIO)
    with pytest.raises(SessionFileError, match="could not put it back"):
        await manager.delete_session("telegram_1")
    fs.clear()
    assert not (sessions_dir / "telegram_1.json").exists()
    assert (await manager.save_all_sessions()).saved == 1
    assert (sessions_dir / "telegram_1.json").exists()


async def test_delete_that_a_power_cut_may_undo_forgets_and_says_so(
    manager: SessionManager, old: StoredSession, fs: FaultyOs, sessions_dir: Path
) -> None:
    """A deletion whose last sync fails is an error that says so, and the session is gone, from memory too."""
    await manager.get_session("telegram_1")
    await manager.save_all_sessions()
    syncs = 0

    def last_sync(name: str, args: tuple[object, ...]) -> None:
        nonlocal syncs
        syncs += name == "fsync"
        if name == "fsync" and syncs == 2:
            raise OSError(errno.EIO, "Input/output error")

    fs.on(last_sync)
    with pytest.raises(SessionFileError, match="power cut may bring it back"):
        await manager.delete_session("telegram_1")
    assert not (sessions_dir / "telegram_1.json").exists()
    assert (await manager.save_all_sessions()).saved == 0
    assert await manager.get_session("telegram_1") is None


async def test_delete_waits_for_a_save_and_wins(manager: SessionManager, fs: FaultyOs, sessions_dir: Path) -> None:
    """A deletion that meets a save comes after it; the file does not come back."""
    await manager.get_or_create_session("telegram", "1")
    gate = fs.block("rename", path="telegram_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        nursery.start_soon(manager.delete_session, "telegram_1")
        await trio.testing.wait_all_tasks_blocked()
        gate.opened.set()
    assert list(sessions_dir.glob("*.json")) == []
    assert manager.live_sessions() == 0
    assert len(manager._locks) == 0
