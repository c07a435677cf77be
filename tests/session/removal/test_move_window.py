"""An edit of a session while it is moved: the old file is removed only if the new one has all of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.errors import NotRemovedError, SessionExistsError, SessionFileError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.manager import SessionManager
from miniclaw.session.removal.relocation import relocate
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import read_contents, session_dict, write_session
from tests.fakes.work_folder import left_in_work

USED = datetime(2026, 11, 20, 8, 30, 15, 123456, tzinfo=UTC)
USED_NS = int(USED.timestamp()) * 1_000_000_000
ID = "telegram_1"
NEW = "web_anna"
MESSAGE = {"role": "user", "content": "from the administrator", "timestamp": "2026-11-20T09:00:00Z"}


def yes() -> bool:
    return True


def in_the_window(fs: FaultyOs, change: Callable[[], object]) -> None:
    """Make a change once, while the new file is written."""
    left = [change]

    def hook(called: str, _: tuple[object, ...]) -> None:
        if called == "link" and left:
            left.pop()()

    fs.on(hook)


def replaced(path: Path, text: str) -> None:
    other = path.with_name(".edited")
    other.write_text(text)
    other.replace(path)


def add(path: Path, **fields: object) -> None:
    replaced(path, json.dumps(json.loads(path.read_text()) | fields))


def add_message(path: Path) -> None:
    add(path, messages=[*json.loads(path.read_text())["messages"], MESSAGE])


def write_in_place(path: Path) -> None:
    path.write_text(path.read_text().replace("hello", "HELLO"))
    os.utime(path, ns=(USED_NS, USED_NS))


EDITS: dict[str, Callable[[Path], object]] = {
    "message": add_message,
    "pin": lambda path: add(path, pinned=True),
    "unknown field": lambda path: add(path, mood=1),
    "in place, of the same size and time": write_in_place,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_old_file_that_was_edited_while_it_was_copied_is_kept(
    directory: SessionDirectory, fs: FaultyOs, edit: Callable[[Path], object]
) -> None:
    """Also an edit that leaves the last use as it was survives in its place, and the error names both files."""
    path = write_session(directory.path, ID, USED)
    os.utime(path, ns=(USED_NS, USED_NS))
    edited: list[bytes] = []

    def edit_it() -> None:
        edit(path)
        edited.append(path.read_bytes())

    in_the_window(fs, edit_it)
    with pytest.raises(SessionFileError, match=rf"still here as well: another program has .* '{NEW}' .*Delete one"):
        relocate(directory, ID, NEW, yes)
    assert path.read_bytes() == edited[0]
    assert read_contents(path.with_name(f"{NEW}.json")) == ["hello from 1"]
    assert left_in_work(directory.path) == []
    with pytest.raises(SessionExistsError):
        relocate(directory, ID, NEW, yes)
    path.with_name(f"{NEW}.json").unlink()
    relocate(directory, ID, NEW, yes)
    assert not path.exists()
    moved = json.loads(path.with_name(f"{NEW}.json").read_bytes())
    assert moved == json.loads(edited[0]) | {"session_id": NEW, "channel": "web", "chat_id": "anna"}


def test_old_file_that_was_written_again_as_it_was_is_removed(directory: SessionDirectory, fs: FaultyOs) -> None:
    """The content decides, not the times: a session that a sync program has written again is moved."""
    path = write_session(directory.path, ID, USED)
    in_the_window(fs, lambda: replaced(path, path.read_text()))
    relocate(directory, ID, NEW, yes)
    assert [each.name for each in directory.path.glob("*.json")] == [f"{NEW}.json"]


def test_new_file_that_is_gone_keeps_the_old_one(directory: SessionDirectory, fs: FaultyOs) -> None:
    """If another program has taken the new file away, the old one is not removed."""
    path = write_session(directory.path, ID, USED)
    before = path.read_bytes()

    def take_away(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and args[0] == path.name:
            path.with_name(f"{NEW}.json").unlink()

    fs.on(take_away)
    with pytest.raises(NotRemovedError, match=r"still here as well: .*No such file.*move it again"):
        relocate(directory, ID, NEW, yes)
    assert path.read_bytes() == before
    assert left_in_work(directory.path) == []


def test_removal_that_cannot_begin_says_that_the_session_has_moved(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Without a folder for the removal the session is in both places; the error says so, and the next move goes on."""
    path = write_session(directory.path, ID, USED)
    in_the_window(fs, lambda: fs.fail("mkdir", errno.EACCES))
    with pytest.raises(
        NotRemovedError, match=r"was moved, and is still here as well: .*Permission denied.*move it again"
    ):
        relocate(directory, ID, NEW, yes)
    assert {each.name for each in directory.path.glob("*.json")} == {path.name, f"{NEW}.json"}
    fs.clear()
    relocate(directory, ID, NEW, yes)
    assert not path.exists()


async def test_edit_while_a_live_session_is_moved_is_used_next(
    manager: SessionManager, sessions_dir: Path, fs: FaultyOs, clock: WallClock
) -> None:
    """Memory is not written over the edit: the disk wins, and nothing is put into quarantine."""
    path = write_session(sessions_dir, ID, clock.ago(days=2))
    await manager.get_or_create_session("telegram", "1")
    await manager.save_all_sessions()
    edited = session_dict(ID, clock.ago(days=2), pinned=True)
    in_the_window(fs, lambda: replaced(path, json.dumps(edited)))
    with pytest.raises(SessionFileError, match="still here as well"):
        await manager.move_session(ID, NEW)
    await manager.save_all_sessions()
    assert json.loads(path.read_bytes()) == edited
    assert (await manager.get_or_create_session("telegram", "1")).pinned
    assert not (sessions_dir / ".quarantine").exists()
