"""The manager: access, messages, identity, saving."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import trio

from miniclaw.errors import (
    CorruptSessionError,
    InvalidMessageError,
    InvalidSessionIdError,
    MismatchedSessionError,
    SessionNotFoundError,
    StoreIOError,
)
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message, Session, ToolCall
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import make_socket, session_dict, write_session
from tests.fakes.threads import until, wait_in_thread


def say(text: str, clock: WallClock) -> Message:
    return Message("user", text, clock.now)


async def test_get_or_create_new_is_made_now_and_unsaved(manager: SessionManager, clock: WallClock) -> None:
    """A first message makes a session of this moment, which is not on disk yet."""
    session = await manager.get_or_create_session("telegram", "1")
    assert session == Session("telegram_1", "telegram", "1", clock.now, clock.now, [])
    assert manager.dirty_sessions() == ["telegram_1"]


@pytest.mark.parametrize(
    ("channel", "chat_id"), [("Telegram", "1"), ("a_b", "1"), ("", "1"), ("a", ""), ("a", "\ud800")]
)
async def test_get_or_create_bad_names_are_refused(manager: SessionManager, channel: str, chat_id: str) -> None:
    """What can name no session is refused where it enters."""
    with pytest.raises(InvalidSessionIdError):
        await manager.get_or_create_session(channel, chat_id)
    assert manager.live_sessions() == 0


async def test_every_access_and_message_touches(manager: SessionManager, sessions_dir: Path, clock: WallClock) -> None:
    """Loading, finding and writing to a session each set last_accessed to now, and each is a change to save."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=29))
    accesses: list[Callable[[], Awaitable[Session | None]]] = [
        lambda: manager.get_or_create_session("telegram", "1"),
        lambda: manager.get_session("telegram_1"),
        lambda: manager.add_message("telegram_1", say("hi", clock)),
    ]
    for access in accesses:
        session = await access()
        assert session is not None
        assert session.last_accessed == clock.now
        assert manager.dirty_sessions() == ["telegram_1"]
        await manager.save_all_sessions()
        saved = json.loads((sessions_dir / "telegram_1.json").read_text())
        assert datetime.fromisoformat(saved["last_accessed"]) == clock.now
        clock.move(minutes=1)


async def test_touch_stamps_the_present_also_backwards(manager: SessionManager, clock: WallClock) -> None:
    """A stamp from a clock that was ahead does not stay: after the next use the time is right again."""
    session = await manager.get_or_create_session("telegram", "1")
    clock.jump(days=-200)
    await manager.get_session("telegram_1")
    assert session.last_accessed == clock.now


async def test_get_session_missing_is_none(manager: SessionManager) -> None:
    """A session that is not there is None and is not made."""
    assert await manager.get_session("telegram_1") is None
    assert manager.live_sessions() == 0


async def test_add_message_to_missing_is_an_error(manager: SessionManager, clock: WallClock) -> None:
    """A message needs a session; none is made behind somebody's back."""
    with pytest.raises(SessionNotFoundError):
        await manager.add_message("telegram_1", say("hi", clock))


@pytest.mark.parametrize(
    "message",
    [
        Message("user", "\ud800", datetime(2026, 1, 1, tzinfo=UTC)),
        Message("user", "naive", datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the point
        Message("user", 5, datetime(2026, 1, 1, tzinfo=UTC)),  # type: ignore[arg-type]
        Message("robot", "x", datetime(2026, 1, 1, tzinfo=UTC)),  # type: ignore[arg-type]
        Message("tool_result", "no id", datetime(2026, 1, 1, tzinfo=UTC)),
        Message("user", "x", "yesterday"),  # type: ignore[arg-type]
        Message("assistant", "", datetime(2026, 1, 1, tzinfo=UTC), (ToolCall("1", "x", 5),)),  # type: ignore[arg-type]
    ],
    ids=lambda message: repr(message)[:40],
)
async def test_add_message_that_could_not_be_saved_is_refused(manager: SessionManager, message: Message) -> None:
    """What could not be saved and loaded again never enters a session."""
    session = await manager.get_or_create_session("telegram", "1")
    with pytest.raises(InvalidMessageError):
        await manager.add_message("telegram_1", message)
    assert session.messages == []


async def test_add_message_is_kept_in_utc(manager: SessionManager) -> None:
    """Times are UTC, whatever zone they were given in."""
    await manager.get_or_create_session("telegram", "1")
    given = datetime(2026, 1, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    session = await manager.add_message("telegram_1", Message("user", "hi", given))
    assert session.messages[0].timestamp == given
    assert session.messages[0].timestamp.utcoffset() == timedelta(0)


async def test_add_message_during_a_save_is_not_lost(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """What is said while a save is under way is not in that save, and stays dirty until the next one."""
    await manager.get_or_create_session("telegram", "1")
    gate = fs.block("fsync")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        await manager.add_message("telegram_1", say("meanwhile", clock))
        gate.opened.set()
    assert "meanwhile" not in (sessions_dir / "telegram_1.json").read_text()
    assert manager.dirty_sessions() == ["telegram_1"]
    await manager.save_all_sessions()
    assert "meanwhile" in (sessions_dir / "telegram_1.json").read_text()
    assert manager.dirty_sessions() == []


async def test_concurrent_first_messages_make_one_session(
    manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """However many messages come first at once, there is one session, with all of them."""
    found: list[Session] = []

    async def first(number: int) -> None:
        session = await manager.get_or_create_session("telegram", "1")
        found.append(session)
        await manager.add_message(session.session_id, say(str(number), clock))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(first, number)
    assert all(session is found[0] for session in found)
    assert sorted(int(message.content) for message in found[0].messages) == list(range(20))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
async def test_get_or_create_unreadable_reaches_the_caller(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, clock: WallClock, number: int
) -> None:
    """An error of the system is no licence to begin anew: nothing is made and nothing overwritten."""
    path = write_session(sessions_dir, "telegram_1", clock.now)
    before = path.read_bytes()
    fs.fail("open", number, path="telegram_1.json")
    with pytest.raises(StoreIOError):
        await manager.get_or_create_session("telegram", "1")
    fs.clear()
    await manager.save_all_sessions()
    assert path.read_bytes() == before
    session = await manager.get_or_create_session("telegram", "1")
    assert len(session.messages) == 1


async def test_get_or_create_corrupt_is_quarantined_and_begun_anew(
    manager: SessionManager, sessions_dir: Path, logs: LogRecorder
) -> None:
    """A damaged file is kept in quarantine, an ERROR says where, and the person is not locked out."""
    logs.expect_error("Session could not be read; begun anew")
    sessions_dir.mkdir(exist_ok=True, parents=True)
    (sessions_dir / "telegram_1.json").write_text("{damaged")
    session = await manager.get_or_create_session("telegram", "1")
    assert session.messages == []
    event = logs.one("Session could not be read; begun anew")
    assert Path(event["kept"]).read_text() == "{damaged"
    assert event["path"] == str(sessions_dir / "telegram_1.json")


async def test_get_session_corrupt_is_an_error_and_left_alone(manager: SessionManager, sessions_dir: Path) -> None:
    """Only a message may begin anew; a look at a damaged file changes nothing."""
    path = sessions_dir / "telegram_1.json"
    path.write_text("{damaged")
    with pytest.raises(CorruptSessionError):
        await manager.get_session("telegram_1")
    assert path.read_text() == "{damaged"


async def test_get_session_mismatched_is_an_error_and_left_alone(
    manager: SessionManager, sessions_dir: Path, clock: WallClock
) -> None:
    """Another person's chat under this name is not shown."""
    path = sessions_dir / "telegram_1.json"
    path.write_text(json.dumps(session_dict("telegram_2", clock.now)))
    with pytest.raises(MismatchedSessionError):
        await manager.get_session("telegram_1")
    assert "telegram_2" in path.read_text()


def _another_chat(path: Path) -> None:
    path.write_text(json.dumps(session_dict("telegram_2", datetime.now(UTC))))


def _too_large(path: Path) -> None:
    path.write_text("{")
    os.truncate(path, 1 << 30)


@pytest.mark.parametrize(
    "put",
    [_another_chat, _too_large, Path.mkdir, os.mkfifo, make_socket, lambda path: path.symlink_to("telegram_2.json")],
)
async def test_get_or_create_of_a_place_that_is_taken_keeps_what_is_there_and_begins_anew(
    manager: SessionManager, sessions_dir: Path, put: Callable[[Path], object], logs: LogRecorder
) -> None:
    """Whatever stands in a chat's place, its person can write; it is in quarantine, as it was."""
    logs.expect_error("Session could not be read; begun anew")
    path = sessions_dir / "telegram_1.json"
    put(path)
    before = path.lstat()
    session = await manager.get_or_create_session("telegram", "1")
    assert session.messages == []
    await manager.save_all_sessions()
    assert json.loads(path.read_bytes())["session_id"] == "telegram_1"
    (kept,) = (sessions_dir / ".quarantine").iterdir()
    after = kept.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)


async def test_is_session_expired_does_not_touch(manager: SessionManager, sessions_dir: Path, clock: WallClock) -> None:
    """Asking whether a session is expired is no access, for sessions on disk and in memory."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    write_session(sessions_dir, "telegram_2", clock.ago(days=30))
    assert await manager.is_session_expired("telegram_1")
    assert not await manager.is_session_expired("telegram_2")
    assert manager.dirty_sessions() == []
    await manager.get_session("telegram_1")
    assert not await manager.is_session_expired("telegram_1")
    with pytest.raises(SessionNotFoundError):
        await manager.is_session_expired("telegram_3")


async def test_get_or_create_cancelled_while_loading_leaves_no_lock(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """A cancelled access holds up nobody afterwards and has not counted."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=1))
    gate = fs.block("open", path="telegram_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.get_or_create_session, "telegram", "1")
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
    assert manager.live_sessions() == 0
    gate.opened.set()
    await until(lambda: not len(manager._locks))  # the thread that was left behind still held it
    assert (await manager.get_or_create_session("telegram", "1")).last_accessed == clock.now


@pytest.mark.parametrize("value", [0, -5, 1.5, float("nan"), True, "32MB", None])
@pytest.mark.parametrize("bound", ["max_live_sessions", "max_live_bytes"])
def test_manager_without_room_is_refused(bound: str, value: object) -> None:
    """A bound of nothing, or one that is no number of anything, is refused by name."""
    with pytest.raises(ValueError, match=f"{bound} is a whole number from 1"):
        SessionManager(None, **{bound: value})  # type: ignore[arg-type]


async def test_save_of_a_session_that_a_program_has_broken_fails_alone(
    manager: SessionManager, clock: WallClock, logs: LogRecorder
) -> None:
    """A wrong value in one session holds no lock, and keeps no other session from its file."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    for chat_id in ("1", "2", "3"):
        await manager.get_or_create_session("web", chat_id)
    broken = await manager.get_session("web_2")
    assert broken is not None
    messages, broken.messages = broken.messages, None  # type: ignore[assignment]  # the mistake
    assert (await manager.save_all_sessions()).failed == ("web_2",)
    assert len(manager._locks) == 0
    broken.messages = messages
    assert (await manager.save_all_sessions()).saved == 1
    assert manager.dirty_sessions() == []
