"""What another program does to a session's file: the disk wins over a clean copy in memory, and nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.live.loader import LOOK_SECONDS
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message, Session
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session
from tests.fakes.threads import wait_in_thread

WEB_1 = "web_1"


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    return sessions_dir / "web_1.json"


@pytest.fixture
async def saved(manager: SessionManager, clock: WallClock) -> Session:
    """A session with one message, saved and in memory."""
    session = await manager.get_or_create_session("web", "1")
    await say(manager, clock, "secret")
    await manager.save_all_sessions()
    return session


async def say(manager: SessionManager, clock: WallClock, text: str) -> None:
    await manager.add_message(WEB_1, Message("user", text, clock.now))


def texts(path: Path) -> list[str]:
    return [message["content"] for message in json.loads(path.read_bytes())["messages"]]


def quarantined(path: Path) -> list[Path]:
    return sorted((path.parent / ".quarantine").glob("*"))


def edit(path: Path, text: str = "edited") -> None:
    """Change a message in place, as an editor does that keeps the file."""
    path.write_bytes(path.read_bytes().replace(b"secret", text.encode()))


def replace(path: Path, text: str = "restored") -> None:
    """Put another file in the place, as `cp`, an editor or a backup does that renames."""
    other = path.with_name("other.tmp")
    other.write_bytes(path.read_bytes().replace(b"secret", text.encode()))
    shutil.copystat(path, other)
    os.replace(other, path)


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


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def misname(path: Path) -> None:
    path.write_text(json.dumps(session_dict("web_2", datetime.now(UTC))))


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere.json")


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
    assert quarantined(path) == []


async def test_held_session_that_left_memory_is_compared_as_well(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """An object that an embedder holds is no reason to write an old version back."""
    manager._memory._leave(WEB_1)
    replace(path)
    assert await manager.get_session(WEB_1) is not saved
    await manager.save_all_sessions()
    assert texts(path) == ["restored"]


async def test_deletion_by_hand_of_unsaved_session_keeps_only_what_is_new(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, logs: LogRecorder
) -> None:
    """A message that was accepted is kept; what the file had is gone with it, from memory as well."""
    await say(manager, clock, "accepted")
    watch = manager.watch_save(WEB_1)
    path.unlink()
    await manager.save_all_sessions()
    assert texts(path) == ["accepted"]
    assert watch() == "saved"
    assert [message.content for message in saved.messages] == ["accepted"]
    assert await manager.get_session(WEB_1) is saved
    assert [event["messages_lost"] for event in logs.events if "deleted while" in event["event"]] == [1]


async def test_deletion_by_hand_of_session_without_new_messages_stays_deleted(
    manager: SessionManager, saved: Session, path: Path
) -> None:
    """A use alone, or a pin, does not make a file again."""
    await manager.get_session(WEB_1)
    await manager.set_pinned(WEB_1, True)
    watch = manager.watch_save(WEB_1)
    path.unlink()
    assert not (await manager.save_all_sessions()).failed
    assert not path.exists()
    assert watch() == "removed"
    assert manager.live_sessions() == 0


async def test_message_during_the_save_that_finds_the_file_gone_is_kept(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """The session lives on with what came while the disk was looked at."""
    await manager.get_session(WEB_1)
    path.unlink()
    gate = fs.block("stat", path="web_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        await say(manager, clock, "meanwhile")
        gate.opened.set()
    assert [message.content for message in saved.messages] == ["meanwhile"]
    await manager.save_all_sessions()
    assert texts(path) == ["meanwhile"]


@pytest.mark.parametrize("change", [edit, replace])
async def test_change_by_hand_of_unsaved_session_is_kept_in_quarantine(
    manager: SessionManager,
    clock: WallClock,
    saved: Session,
    path: Path,
    change: Callable[[Path], None],
    logs: LogRecorder,
) -> None:
    """Memory has what was accepted and is saved; the other version is not overwritten."""
    await say(manager, clock, "accepted")
    change(path)
    other = texts(path)
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    (kept,) = quarantined(path)
    assert texts(kept) == other
    assert [event["level"] for event in logs.events if "was changed" in event["event"]] == ["warning"]


def change_fields(**fields: object) -> Callable[[Path], object]:
    """Return a change by hand of some fields of a session."""
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def rate(path: Path) -> None:
    """Add a field to the first message."""
    session = json.loads(path.read_bytes())
    session["messages"][0]["rating"] = 5
    path.write_text(json.dumps(session))


@pytest.mark.parametrize(
    "change",
    [
        change_fields(pinned=True),
        change_fields(title="Holiday plans"),
        change_fields(created_at="2020-01-01T00:00:00Z"),
        change_fields(messages=[]),
        rate,
    ],
    ids=["pin", "unknown field", "creation", "fewer messages", "field of a message"],
)
async def test_change_by_hand_of_anything_but_texts_is_kept_in_quarantine(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, change: Callable[[Path], object]
) -> None:
    """Nothing in a file is overwritten that the session in memory does not have as well."""
    await say(manager, clock, "accepted")
    change(path)
    other = path.read_bytes()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert [kept.read_bytes() for kept in quarantined(path)] == [other]


async def test_loss_of_an_unknown_field_is_a_change_by_hand(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, path: Path
) -> None:
    """A version of the file without a field that memory keeps is another version."""
    write_session(sessions_dir, WEB_1, clock.now, note="Holiday plans")
    await say(manager, clock, "accepted")
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_bytes()).items() if key != "note"}))
    await manager.save_all_sessions()
    assert json.loads(path.read_bytes())["note"] == "Holiday plans"
    assert len(quarantined(path)) == 1


@pytest.mark.parametrize("form", ["ours", "of another program"])
@pytest.mark.parametrize("pinned", [True, False])
async def test_file_that_is_only_touched_is_no_change_whatever_is_unsaved(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, path: Path, form: str, pinned: bool
) -> None:
    """A message, a use and a pin that are unsaved are no difference made by another program, in no form of the file."""
    session = session_dict(WEB_1, clock.now, note="kept", pinned=not pinned)
    session["messages"][0]["mood"] = "unknown"
    session["created_at"] = "2026-01-01 00:00:00"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(session, indent=2).encode())
    if form == "ours":
        await say(manager, clock, "saved")
        await manager.save_all_sessions()
    await say(manager, clock, "accepted")
    assert await manager.set_pinned(WEB_1, pinned)
    os.utime(path, (1, 1))
    await manager.save_all_sessions()
    assert texts(path)[-1] == "accepted"
    assert json.loads(path.read_bytes())["pinned"] is pinned
    assert quarantined(path) == []


async def test_file_that_appears_in_the_place_of_a_new_session_is_kept_in_quarantine(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, path: Path
) -> None:
    """A backup that is restored while its person begins anew loses nothing."""
    await manager.get_or_create_session("web", "1")
    await say(manager, clock, "anew")
    write_session(sessions_dir, WEB_1, clock.ago(days=3))
    await manager.save_all_sessions()
    assert texts(path) == ["anew"]
    assert [json.loads(file.read_bytes())["session_id"] for file in quarantined(path)] == [WEB_1]


@pytest.mark.parametrize("touch", [lambda path: os.utime(path, (1, 1)), lambda path: replace(path, "secret")])
async def test_file_with_the_same_content_is_no_change(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, touch: Callable[[Path], None]
) -> None:
    """A program that only touches files, or copies them back, fills no quarantine."""
    await say(manager, clock, "accepted")
    touch(path)
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert quarantined(path) == []


async def test_own_save_that_could_not_be_synced_is_no_change(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs, logs: LogRecorder
) -> None:
    """After an error the file in place may be our own newer one; it is no other program's."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await say(manager, clock, "accepted")
    directory = os.stat(path.parent).st_ino

    def refuse(name: str, args: tuple[object, ...]) -> None:
        if name == "fsync" and isinstance(args[0], int) and os.fstat(args[0]).st_ino == directory:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(refuse)
    assert (await manager.save_all_sessions()).failed == (WEB_1,)
    fs.clear()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert quarantined(path) == []


async def test_place_that_cannot_be_cleared_fails_the_save_and_loses_nothing(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Where the other file cannot be kept, it is not overwritten; the session stays unsaved."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await say(manager, clock, "accepted")
    edit(path)
    fs.fail("mkdir", errno.EACCES)
    assert (await manager.save_all_sessions()).failed == (WEB_1,)
    assert texts(path) == ["edited"]
    fs.clear()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert [texts(kept) for kept in quarantined(path)] == [["edited"]]


def during_the_save(fs: FaultyOs, name: str, act: Callable[[], object], *, times: int = 1) -> None:
    """Have another program act at such a system call of the next saves, before each so many times."""
    left = iter(range(times))

    def hook(called: str, args: tuple[object, ...]) -> None:
        if called == name and (name != "rename" or args[1] == "web_1.json") and next(left, None) is not None:
            act()

    fs.on(hook)


async def test_change_by_hand_while_the_new_file_is_written_is_kept_in_quarantine(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """A save looks again just before it replaces the file, however long the writing took."""
    await say(manager, clock, "accepted")
    during_the_save(fs, "fsync", lambda: edit(path, "edited meanwhile"))
    assert not (await manager.save_all_sessions()).failed
    assert texts(path) == ["secret", "accepted"]
    assert [texts(kept) for kept in quarantined(path)] == [["edited meanwhile"]]
    assert list((path.parent / ".work").glob("tmp-*")) == []


async def test_deletion_by_hand_while_the_new_file_is_written_keeps_only_what_is_new(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """A history that is deleted during a save is not written again by it."""
    await say(manager, clock, "accepted")
    during_the_save(fs, "fsync", path.unlink)
    assert not (await manager.save_all_sessions()).failed
    assert texts(path) == ["accepted"]
    assert [message.content for message in saved.messages] == ["accepted"]


async def test_file_that_appears_while_the_place_is_cleared_is_kept_as_well(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """An editor that writes twice, before and after the first version went to quarantine, loses neither."""
    await say(manager, clock, "accepted")
    edit(path, "edited once")
    copy = path.read_bytes().replace(b"once", b"twice")
    copies = iter([copy])

    def hook(called: str, args: tuple[object, ...]) -> None:
        if called == "fsync" and not path.exists() and (again := next(copies, None)):
            path.write_bytes(again)

    fs.on(hook)
    assert not (await manager.save_all_sessions()).failed
    assert texts(path) == ["secret", "accepted"]
    assert sorted(texts(kept) for kept in quarantined(path)) == [["edited once"], ["edited twice"]]


async def test_file_that_changes_all_the_time_fails_the_save_and_loses_nothing(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A program that never stops writing holds no thread for ever; the session stays unsaved until it has stopped."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await say(manager, clock, "accepted")
    texts_in_turn = (path.read_bytes().replace(b"secret", b"x" * number) for number in range(1000))
    during_the_save(fs, "fsync", lambda: path.write_bytes(next(texts_in_turn)), times=1000)
    assert (await manager.save_all_sessions()).failed == (WEB_1,)
    assert quarantined(path) == []
    fs.clear()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert len(quarantined(path)) == 1


@pytest.mark.parametrize("call", ["rename", "fsync"])
async def test_save_that_fails_after_the_place_was_cleared_is_no_deletion(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs, logs: LogRecorder, call: str
) -> None:
    """The file that this process has moved to quarantine takes no message of memory with it."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await say(manager, clock, "accepted")
    edit(path)

    def hook(called: str, args: tuple[object, ...]) -> None:
        if called == call and not path.exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(hook)
    assert (await manager.save_all_sessions()).failed == (WEB_1,)
    assert not path.exists()
    fs.clear()
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert [texts(kept) for kept in quarantined(path)] == [["edited"]]


async def test_another_chats_file_in_the_place_of_an_unsaved_session_is_kept(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """A file that somebody copied to the wrong name is quarantined, whatever it holds."""
    await say(manager, clock, "accepted")
    path.write_text(json.dumps(session_dict("web_2", clock.now)))
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert [json.loads(kept.read_bytes())["session_id"] for kept in quarantined(path)] == ["web_2"]


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
