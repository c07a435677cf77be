"""A save that finds the file changed by another program: the disk wins over a use, and nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import trio

from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Session
from tests.fakes.by_hand import WEB_1, change_fields, edit, quarantined, rate, replace, say, texts
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session
from tests.fakes.threads import wait_in_thread


@pytest.mark.parametrize("change", [edit, replace])
async def test_change_by_hand_beside_an_unsaved_use_wins_and_the_use_is_kept(
    manager: SessionManager,
    clock: WallClock,
    saved: Session,
    path: Path,
    change: Callable[[Path], None],
    logs: LogRecorder,
) -> None:
    """A session of which only the last use is unsaved has nothing that the edited file lacks."""
    clock.move(hours=1)
    await manager.get_session(WEB_1)
    change(path)
    change_fields(title="Holiday plans", pinned=True)(path)
    edited = texts(path)
    await manager.save_all_sessions()
    assert texts(path) == edited
    fields = json.loads(path.read_bytes())
    assert (fields["title"], fields["pinned"]) == ("Holiday plans", True)
    assert datetime.fromisoformat(fields["last_accessed"]) == clock.now
    assert quarantined(path) == []
    assert [event for event in logs.events if event["level"] == "warning"] == []
    assert ([message.content for message in saved.messages], saved.pinned) == (edited, True)
    await say(manager, clock, "more")
    await manager.save_all_sessions()
    assert texts(path) == [*edited, "more"]


async def test_change_by_hand_beside_an_unsaved_pin_is_kept_in_quarantine(
    manager: SessionManager, saved: Session, path: Path
) -> None:
    """A pin is more than a use: the file lacks it."""
    await manager.set_pinned(WEB_1, True)
    edit(path)
    await manager.save_all_sessions()
    assert (texts(path), json.loads(path.read_bytes())["pinned"]) == (["secret"], True)
    assert [texts(kept) for kept in quarantined(path)] == [["edited"]]


async def test_message_and_pin_during_the_save_that_finds_an_edit_follow_it(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs
) -> None:
    """What comes while an edited file is taken over is unsaved afterwards, behind the edit."""
    await manager.get_session(WEB_1)
    edit(path)
    gate = fs.block("stat", path="web_1.json")
    async with manager.using(WEB_1), trio.open_nursery() as nursery:
        nursery.start_soon(manager.save_all_sessions)
        await wait_in_thread(gate.reached)
        clock.move(hours=1)
        await say(manager, clock, "meanwhile")
        await manager.set_pinned(WEB_1, True)
        gate.opened.set()
    assert [message.content for message in saved.messages] == ["edited", "meanwhile"]
    assert saved.last_accessed == clock.now
    assert texts(path) == ["edited"]
    await manager.save_all_sessions()
    assert (texts(path), json.loads(path.read_bytes())["pinned"]) == (["edited", "meanwhile"], True)
    assert quarantined(path) == []


async def test_restored_file_in_the_place_of_an_empty_session_wins(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, path: Path
) -> None:
    """A session that was only opened takes the place of no backup."""
    session = await manager.get_or_create_session("web", "1")
    write_session(sessions_dir, WEB_1, clock.ago(days=3))
    await manager.save_all_sessions()
    assert [message.content for message in session.messages] == texts(path) == ["hello from 1"]
    assert quarantined(path) == []


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


@pytest.mark.parametrize("change", ["deletion", "edit"])
async def test_state_that_a_save_has_found_holds_also_if_it_could_not_be_synced(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path, fs: FaultyOs, logs: LogRecorder, change: str
) -> None:
    """Memory follows the file that is in place, whatever the save reports; the next one finds its own."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await manager.get_session(WEB_1)
    if change == "deletion":
        await say(manager, clock, "accepted")
        path.unlink()
    else:
        edit(path)
    directory = os.stat(path.parent).st_ino

    def refuse(name: str, args: tuple[object, ...]) -> None:
        if name == "fsync" and isinstance(args[0], int) and os.fstat(args[0]).st_ino == directory:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(refuse)
    assert (await manager.save_all_sessions()).failed == (WEB_1,)
    fs.clear()
    await say(manager, clock, "more")
    await manager.save_all_sessions()
    assert texts(path) == (["accepted", "more"] if change == "deletion" else ["edited", "more"])
    assert quarantined(path) == []


async def test_another_chats_file_in_the_place_of_an_unsaved_session_is_kept(
    manager: SessionManager, clock: WallClock, saved: Session, path: Path
) -> None:
    """A file that somebody copied to the wrong name is quarantined, whatever it holds."""
    await say(manager, clock, "accepted")
    path.write_text(json.dumps(session_dict("web_2", clock.now)))
    await manager.save_all_sessions()
    assert texts(path) == ["secret", "accepted"]
    assert [json.loads(kept.read_bytes())["session_id"] for kept in quarantined(path)] == ["web_2"]
