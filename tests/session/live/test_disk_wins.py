"""What another program does to a session's file: the disk wins over a clean copy in memory, and nothing is overwritten."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.errors import SessionNotFoundError, StoreIOError
from miniclaw.session.live.loader import LOOK_SECONDS
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message, Session
from tests.fakes.by_hand import WEB_1, damage, edit, link, misname, quarantined, replace, say, texts
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread


async def test_message_after_deletion_by_hand_begins_a_new_session(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """The history that somebody has deleted does not come back with the next message."""
    path.unlink()
    session = await manager.get_or_create_session("web", "1")
    assert session is not saved
    assert session.messages == []
    await say(manager, clock, "anew")
    await manager.save_all_sessions()
    assert texts(path) == ["anew"]


@pytest.mark.parametrize(
    "use",
    [
        lambda manager: manager.add_message(WEB_1, Message("user", "more", datetime.now(UTC))),
        lambda manager: manager.set_pinned(WEB_1, True),
        lambda manager: manager.using(WEB_1).__aenter__(),
    ],
)
async def test_use_after_deletion_by_hand_finds_no_session(
    manager: SessionManager, saved: Session, path: Path, use: Callable[[SessionManager], Awaitable[object]]
) -> None:
    """An operation on a session that exists says that it does not, and nothing is saved."""
    path.unlink()
    with pytest.raises(SessionNotFoundError):
        await use(manager)
    assert await manager.get_session(WEB_1) is None
    assert manager.dirty_sessions() == []
    assert not path.exists()


@pytest.mark.parametrize("change", [edit, replace])
async def test_use_after_a_change_by_hand_reads_it(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, change: Callable[[Path], None]
) -> None:
    """What another program has written is what counts, and the next message follows it."""
    change(path)
    text = texts(path)[0]
    await say(manager, clock, "more")
    await manager.save_all_sessions()
    assert texts(path) == [text, "more"]
    assert quarantined(path) == []


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), damage, misname, link, os.unlink])
async def test_use_after_a_file_was_spoiled_keeps_the_whole_copy_in_memory(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, spoil: Callable[[Path], None]
) -> None:
    """A file that cannot be read as the session goes to quarantine; only a deletion takes the history."""
    spoil(path)
    session = await manager.get_or_create_session("web", "1")
    await say(manager, clock, "more")
    await manager.save_all_sessions()
    is_gone = spoil is os.unlink
    assert texts(path) == (["more"] if is_gone else ["secret", "more"])
    assert (session is saved, len(quarantined(path))) == ((False, 0) if is_gone else (True, 1))


async def test_spoiled_file_is_in_quarantine_after_a_look_alone(
    manager: SessionManager, saved: Session, path: Path
) -> None:
    """The copy in memory is written by the next save, also if nothing is said any more."""
    damage(path)
    assert not await manager.set_pinned(WEB_1, False)
    assert manager.dirty_sessions() == [WEB_1]
    await manager.save_all_sessions()
    assert texts(path) == ["secret"]
    assert len(quarantined(path)) == 1


async def test_changed_file_that_cannot_be_read_for_a_moment_is_read_by_the_save(
    manager: SessionManager, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """A fault of the disk during a look takes no edit: that goes to quarantine only if the save cannot read it either."""
    edit(path)
    fs.fail("open", errno.EIO, path="web_1.json")
    assert await manager.get_session(WEB_1) is saved
    fs.clear()
    await manager.save_all_sessions()
    assert texts(path) == ["edited"]
    assert [message.content for message in saved.messages] == ["edited"]
    assert quarantined(path) == []


async def test_session_that_is_evicted_during_the_look_is_saved_with_its_next_message(
    store: FileSessionStore, clock: WallClock, path: Path, fs: FaultyOs
) -> None:
    """An operation that waits for the disk works on the session that memory has, and on no other object."""
    manager = SessionManager(store, clock=clock, max_live_sessions=1)
    await manager.get_or_create_session("web", "1")
    await say(manager, clock, "secret")
    await manager.save_all_sessions()
    await manager.get_or_create_session("web", "2")
    gate = fs.block("stat", path="web_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, manager, clock, "more")
        await wait_in_thread(gate.reached)
        await manager.save_sessions(["web_2"])
        assert manager._memory.peek(WEB_1) is None
        gate.opened.set()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "more"]


async def test_file_that_appears_during_an_adoption_is_not_overwritten(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, fs: FaultyOs
) -> None:
    """A file under an earlier name takes our own name only while that is free."""
    ours = write_session(sessions_dir, "slack_U2", clock.now, messages=[])
    new, earlier = ours.read_bytes(), ours.rename(sessions_dir / "slack_U2.json")
    appearing = iter([new])

    def hook(called: str, args: tuple[object, ...]) -> None:
        if called == "open" and args[0] == earlier.name and (content := next(appearing, None)):
            ours.write_bytes(content)

    fs.on(hook)
    with pytest.raises(StoreIOError):
        await manager.get_session("slack_U2")
    assert (ours.read_bytes(), earlier.exists()) == (new, True)
    assert await manager.get_session("slack_U2") is not None


async def test_held_session_that_left_memory_is_compared_as_well(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """An object that an embedder holds is no reason to write an old version back; it follows the file."""
    manager._memory._leave(WEB_1)
    replace(path)
    assert await manager.get_session(WEB_1) is saved
    assert [message.content for message in saved.messages] == ["restored"]
    await manager.save_all_sessions()
    assert texts(path) == ["restored"]


async def test_restore_from_the_trash_after_deletion_by_hand_is_not_refused(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """A copy in memory of a file that is gone does not stand in the way."""
    manager.policy = RetentionPolicy(trash_for=timedelta(days=7))
    await manager.delete_session(WEB_1)
    await manager.get_or_create_session("web", "1")
    await manager.save_all_sessions()
    path.unlink()
    await manager.restore_session(WEB_1)
    assert texts(path) == ["secret"]


async def test_copy_for_a_reader_is_only_of_what_is_unsaved(
    manager: SessionManager, clock: WallClock, saved: Session
) -> None:
    """What is saved is read from the disk, which may have another version."""
    assert manager.peek(WEB_1) is None
    await say(manager, clock, "more")
    copy = manager.peek(WEB_1)
    assert copy is not None
    assert len(copy.messages) == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
async def test_place_that_cannot_be_looked_at_counts_as_unchanged(
    manager: SessionManager, saved: Session, fs: FaultyOs, number: int
) -> None:
    """An error is not taken for a deletion."""
    fs.fail("stat", number, path="web_1.json")
    assert await manager.get_session(WEB_1) is saved


async def test_disk_that_hangs_holds_up_the_use_of_a_session_in_memory_for_a_second(
    manager: SessionManager, saved: Session, fs: FaultyOs, mock_clock: trio.testing.MockClock
) -> None:
    """Then the copy in memory serves; and while the look is under way, without waiting."""
    gate = fs.block("stat", path="web_1.json")
    used: list[Session | None] = []

    async def use() -> None:
        used.append(await manager.get_session(WEB_1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await wait_in_thread(gate.reached)
        assert await manager.get_session(WEB_1) is saved
        assert used == []
        mock_clock.jump(LOOK_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert used == [saved]
        gate.opened.set()


async def test_use_while_a_save_is_under_way_does_not_wait_for_it(
    manager: SessionManager, clock: WallClock, saved: Session, fs: FaultyOs
) -> None:
    """The save looks at the file itself."""
    await say(manager, clock, "more")
    gate = fs.block("fsync", path="")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        assert await manager.get_session(WEB_1) is saved
        gate.opened.set()
