"""What another program does to a file while it is saved wins, and nothing is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Session
from tests.fakes.by_hand import WEB_1, edit, quarantined, say, texts
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs


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
