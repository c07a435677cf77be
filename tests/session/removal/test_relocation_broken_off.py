"""A move that was broken off is completed by the next one, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from miniclaw.errors import (
    SessionExistsError,
    SessionFileError,
    StoreIOError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.relocation import relocate
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session
from tests.session.removal.test_relocation import ID, NEW, USED, left, place, yes

# A move that was broken off ---------------------------------------------------------------------------------------


def test_second_move_goes_on_where_the_first_was_broken_off(directory: SessionDirectory) -> None:
    """Where a crash has left both, the same move removes the old one, and does not write the new one again."""
    path = write_session(directory.path, ID, USED)
    before = path.read_bytes()
    relocate(directory, ID, NEW, yes)
    target = directory.path / f"{NEW}.json"
    inode = target.stat().st_ino
    path.write_bytes(before)
    relocate(directory, ID, NEW, yes)
    assert list(place(directory)) == [target.name]
    assert target.stat().st_ino == inode


@pytest.mark.parametrize("change", [lambda text: text + b" ", lambda text: text[:-1], lambda text: text[:-3] + b"!}]"])
def test_second_move_over_what_has_changed_is_refused(
    directory: SessionDirectory, change: Callable[[bytes], bytes]
) -> None:
    """A new session that somebody has used since is not the one that the move has left."""
    path = write_session(directory.path, ID, USED)
    before = path.read_bytes()
    relocate(directory, ID, NEW, yes)
    target = directory.path / f"{NEW}.json"
    target.write_bytes(change(target.read_bytes()))
    path.write_bytes(before)
    both = place(directory)
    with pytest.raises(SessionExistsError):
        relocate(directory, ID, NEW, yes)
    assert place(directory) == both


def test_old_file_that_cannot_be_removed_is_told_and_the_next_move_removes_it(
    directory: SessionDirectory, fs: FaultyOs
) -> None:
    """The error says that the session is in both places, and what to do; that works."""
    path = write_session(directory.path, ID, USED)
    fs.fail("rename", errno.EACCES, path=path.name)
    with pytest.raises(SessionFileError, match=r"was moved, and is still here as well: .*Permission denied.*again"):
        relocate(directory, ID, NEW, yes)
    assert set(place(directory)) == {path.name, f"{NEW}.json"}
    fs.clear()
    relocate(directory, ID, NEW, yes)
    assert list(place(directory)) == [f"{NEW}.json"]


def test_old_file_that_another_program_has_changed_stays(directory: SessionDirectory, fs: FaultyOs) -> None:
    """What was not copied is not removed."""
    path = write_session(directory.path, ID, USED)
    later = json.dumps(session_dict(ID, datetime(2026, 11, 23, tzinfo=UTC))).encode()

    def change(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and args[0] == path.name and path.exists():
            path.write_bytes(later)

    fs.on(change)
    with pytest.raises(SessionFileError, match="another program has changed it meanwhile"):
        relocate(directory, ID, NEW, yes)
    assert place(directory)[path.name] == later
    assert left(directory) == []


def test_old_file_that_vanishes_meanwhile_is_gone(directory: SessionDirectory, fs: FaultyOs) -> None:
    """The session is moved, whoever has removed the rest."""
    path = write_session(directory.path, ID, USED)

    def vanish(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and args[0] == path.name:
            path.unlink()

    fs.on(vanish)
    relocate(directory, ID, NEW, yes)
    assert list(place(directory)) == [f"{NEW}.json"]


def test_removal_that_could_not_be_synced_is_a_warning(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The session is moved; that a power cut may bring the old file back is told."""
    path = write_session(directory.path, ID, USED)
    unlinked: list[object] = []

    def fail(called: str, args: tuple[object, ...]) -> None:
        if called == "unlink" and args[0] == path.name:
            unlinked.append(args)
        if called == "fsync" and unlinked:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(fail)
    relocate(directory, ID, NEW, yes)
    assert list(place(directory)) == [f"{NEW}.json"]
    event = logs.one("Moved session may come back after a power cut")
    assert (event["level"], event["path"]) == ("warning", str(path))


@pytest.mark.parametrize("call", ["write", "open"])
def test_move_on_a_full_disk_changes_nothing(directory: SessionDirectory, fs: FaultyOs, call: str) -> None:
    """What cannot be written is not begun, and the error names the new file."""
    path = write_session(directory.path, ID, USED)
    before = place(directory)
    fs.fail(call, errno.ENOSPC, path="" if call == "write" else "tmp-")
    with pytest.raises(StoreIOError, match="No space left") as caught:
        relocate(directory, ID, NEW, yes)
    assert caught.value.path == directory.path / f"{NEW}.json"
    fs.clear()
    assert place(directory) == before == {path.name: path.read_bytes()}
    assert left(directory) == []
