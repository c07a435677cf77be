"""Owning a sessions directory: two locks, and an answer to whatever happens to `.lock`."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import WorkspaceHeldError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ownable import Place
from miniclaw.session.ownership.holder import LOCK_NAME, Holder
from miniclaw.session.ownership.process import OpeningProcess
from miniclaw.session.types import Session
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.tree import take_tree

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
SESSION = Session("telegram_1", "telegram", "1", NOW, NOW)
LOST = "Sessions directory is owned by another process; nothing is saved or removed any more until a restart"
NOT_OURS = "Lock file is not the owner's; remove it, and it is made again"


@contextmanager
def held_elsewhere(path: Path, text: bytes = b'{"pid":4711}') -> Iterator[None]:
    """Have a file locked by somebody else, as an earlier version does: with flock, by its name alone."""
    path.write_bytes(text)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def own_now(path: Path) -> None:
    """Own a directory, and give it up."""
    with SessionDirectory.open(path) as second:
        second.own()


# Taking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replaced", [False, True])
def test_own_after_the_lock_file_was_deleted_is_refused(
    directory: SessionDirectory, logs: LogRecorder, replaced: bool
) -> None:
    """The directory's own lock decides: a script that deletes or replaces `.lock` lets no second program in."""
    (directory.path / LOCK_NAME).unlink()
    if replaced:
        (directory.path / LOCK_NAME).write_bytes(b"")
    with pytest.raises(WorkspaceHeldError, match="another process"):
        own_now(directory.path)
    with SessionDirectory.open(directory.path) as reader:
        assert reader.holder() == Holder()


def test_own_against_an_earlier_version_is_refused_and_leaves_nothing_locked(sessions_dir: Path) -> None:
    """An earlier version locks `.lock` only: it keeps us out, by its name, and we keep nothing of what we took."""
    sessions_dir.mkdir(parents=True)
    with SessionDirectory.open(sessions_dir) as directory:
        with held_elsewhere(sessions_dir / LOCK_NAME), pytest.raises(WorkspaceHeldError, match="process 4711"):
            directory.own()
        assert not directory.is_owned
        own_now(sessions_dir)


def test_own_keeps_an_earlier_version_out(directory: SessionDirectory) -> None:
    """`.lock` is locked as well, which is all that an earlier version asks."""
    with (directory.path / LOCK_NAME).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class NoDirectoryLocks(OsCalls):
    """A file system that locks files only."""

    def __init__(self, number: int) -> None:
        self._number = number

    def flock(self, fd: int, operation: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(self._number, os.strerror(self._number))
        super().flock(fd, operation)


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_own_where_directories_cannot_be_locked_says_so_and_locks_the_file(
    sessions_dir: Path, logs: LogRecorder, number: int
) -> None:
    """On such a file system `.lock` is all there is; one WARNING says what that does not promise."""
    fs = NoDirectoryLocks(number)
    with (
        SessionDirectory.open(sessions_dir, create=True, fs=fs) as first,
        SessionDirectory.open(sessions_dir, fs=fs) as second,
    ):
        first.own()
        (event,) = [event for event in logs.events if event["level"] == "warning"]
        assert "cannot be locked itself" in event["event"]
        assert "the next autosave notices it" in event["event"]
        with pytest.raises(WorkspaceHeldError, match=f"process {os.getpid()}"):
            second.own()
        holder = second.holder()
        assert holder is not None
        assert holder.pid == os.getpid()


def test_own_lock_that_is_replaced_in_that_moment_is_taken_again(sessions_dir: Path) -> None:
    """A lock on a file that has lost its name is worth nothing: the file that has it is locked."""
    fs = FaultyOs()
    done: list[bool] = []

    def hook(called: str, args: tuple[Any, ...]) -> None:
        if called == "flock" and not done and (sessions_dir / LOCK_NAME).exists():
            done.append(True)
            (sessions_dir / LOCK_NAME).unlink()

    fs.on(hook)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        assert done
        with (sessions_dir / LOCK_NAME).open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Giving up ----------------------------------------------------------------------------------------------------


class Copying(OsCalls):
    """Keeps a copy of each descriptor that gets a lock, as a child has that was forked by other means than Python's."""

    def __init__(self) -> None:
        self.copies: list[int] = []

    def flock(self, fd: int, operation: int) -> None:
        super().flock(fd, operation)
        if operation & fcntl.LOCK_EX:
            self.copies.append(os.dup(fd))


@pytest.fixture
def copying() -> Iterator[Copying]:
    """Such system calls; the copies are closed at the end."""
    fs = Copying()
    yield fs
    for fd in fs.copies:
        os.close(fd)


def test_close_unlocks_also_where_somebody_has_the_descriptors(sessions_dir: Path, copying: Copying) -> None:
    """The locks are given up, and not left to the last copy of their descriptors."""
    with SessionDirectory.open(sessions_dir, create=True, fs=copying) as directory:
        directory.own()
    assert len(copying.copies) == 2
    own_now(sessions_dir)


def test_close_in_a_forked_child_leaves_the_locks_to_its_parent(
    sessions_dir: Path, copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock belongs to all copies of a descriptor: a child that unlocked its own would unlock its parent's."""
    with SessionDirectory.open(sessions_dir, create=True, fs=copying) as directory:
        directory.own()
        monkeypatch.setattr(OpeningProcess, "is_this_one", False)
    with pytest.raises(WorkspaceHeldError):
        own_now(sessions_dir)


FORKING = """
import os, sys
from pathlib import Path
from miniclaw.session.files.directory import SessionDirectory

directory = SessionDirectory.open(Path(sys.argv[1]))
directory.own()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, b"x")
    sys.stdin.readline()  # lives on when its parent is gone
    os._exit(0)
os.read(reading, 1)
os.write(1, b"owned\\n")
os.waitpid(child, 0)
"""


def test_child_that_was_forked_holds_nothing_when_its_parent_is_killed(sessions_dir: Path) -> None:
    """Workers that a killed program leaves behind keep nobody from owning the directory."""
    sessions_dir.mkdir(parents=True)
    command = [sys.executable, "-c", FORKING, str(sessions_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"owned\n"
        with pytest.raises(WorkspaceHeldError, match=f"process {parent.pid}"):
            own_now(sessions_dir)
        parent.kill()
        parent.wait()
        own_now(sessions_dir)  # the child reads on until its standard input is closed, below


# Looking after it ---------------------------------------------------------------------------------------------


def test_check_of_the_owners_own_file_does_nothing(directory: SessionDirectory, fs: FaultyOs) -> None:
    """As long as nothing has happened, a look costs two calls and changes nothing."""
    before = take_tree(directory.path)
    fs.calls.clear()
    assert directory.check_place() == Place()
    assert [name for name, args in fs.calls if LOCK_NAME in str(args)] == ["stat"]
    assert [name for name, _ in fs.calls if name not in {"stat", "fstat"}] == []
    assert take_tree(directory.path) == before


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_check_takes_the_file_again_with_a_warning(directory: SessionDirectory, logs: LogRecorder, what: str) -> None:
    """Where `.lock` is missing, or another file that nobody has locked, it is locked again, and says by whom."""
    path = directory.path / LOCK_NAME
    path.unlink()
    if what == "replaced":
        path.write_text('{"pid":1}')
    assert directory.check_place() == Place()
    (event,) = [event for event in logs.events if event["level"] == "warning"]
    assert what in event["event"]
    assert json.loads(path.read_bytes())["pid"] == os.getpid()
    with path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    directory.check_place()
    assert len([event for event in logs.events if event["level"] == "warning"]) == 1
    directory.write(SESSION)
    directory.close()
    own_now(directory.path)


def make_link(path: Path) -> None:
    path.with_name("victim").write_text("precious")
    path.symlink_to("victim")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        fd = os.open(path.parent, os.O_RDONLY)
        try:
            other.bind(f"/proc/self/fd/{fd}/{path.name}")
        finally:
            os.close(fd)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_link, "a symbolic link"),
        (make_dangling_link, "a symbolic link"),
        (Path.mkdir, "a directory"),
        (make_socket, "a socket"),
    ],
)
def test_check_of_what_cannot_be_locked_leaves_it_and_goes_on(
    directory: SessionDirectory, logs: LogRecorder, make: Callable[[Path], None], why: str
) -> None:
    """It is not followed and not waited for; one WARNING names it, the directory stays owned, and removing it helps."""
    path = directory.path / LOCK_NAME
    path.unlink()
    make(path)
    before = path.lstat()
    for _ in range(3):
        assert directory.check_place() == Place()
    assert why in logs.one(NOT_OURS)["problem"]
    assert path.lstat() == before
    assert not (directory.path / "nowhere").exists()
    directory.write(SESSION)
    with pytest.raises(WorkspaceHeldError):
        own_now(directory.path)
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert directory.check_place() == Place()
    assert json.loads(path.read_bytes())["pid"] == os.getpid()


def test_check_of_a_fifo_does_not_wait_and_locks_it(directory: SessionDirectory, logs: LogRecorder) -> None:
    """A FIFO can be locked like a file, and is; nobody waits for its other end."""
    path = directory.path / LOCK_NAME
    path.unlink()
    os.mkfifo(path)
    assert directory.check_place() == Place()
    assert logs.one("Lock file was replaced; it is locked")
    with pytest.raises(WorkspaceHeldError):
        own_now(directory.path)


def test_check_that_is_refused_says_so_once_and_goes_on(
    directory: SessionDirectory, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A lock file that cannot be opened, or not even looked at, is a WARNING; the directory's lock is still held."""
    (directory.path / LOCK_NAME).unlink()
    fs.fail("open", errno.EACCES, path=LOCK_NAME)
    for _ in range(2):
        assert directory.check_place() == Place()
    assert "cannot be locked: Permission denied" in logs.one(NOT_OURS)["problem"]
    fs.clear()
    assert directory.check_place() == Place()
    logs.events.clear()
    fs.fail("stat", errno.EIO, path=LOCK_NAME)
    assert directory.check_place() == Place()
    assert "cannot be looked at: Input/output error" in logs.one(NOT_OURS)["problem"]
    directory.write(SESSION)


def test_directory_that_was_moved_stays_owned_where_it_is(directory: SessionDirectory, logs: LogRecorder) -> None:
    """Moving the directory moves its locks along; a directory in its old place is another one."""
    moved = directory.path.with_name("moved")
    directory.path.rename(moved)
    directory.path.mkdir()
    assert directory.check_place().problem == "another directory is there"
    assert directory.check_place().lost_to is None
    own_now(directory.path)
    with pytest.raises(WorkspaceHeldError):
        own_now(moved)


def test_directory_that_was_deleted_is_no_reason_to_make_a_lock(directory: SessionDirectory, logs: LogRecorder) -> None:
    """In a directory that is gone nothing can be made: the look ends, with a WARNING, and the program goes on."""
    shutil.rmtree(directory.path)
    place = directory.check_place()
    assert place.problem is not None
    assert place.lost_to is None
    assert len(logs.named(NOT_OURS)) == 1


# Stopping -----------------------------------------------------------------------------------------------------


def test_say_stopping_is_seen_by_whoever_looks(directory: SessionDirectory) -> None:
    """The owner's id and time stay, and that it is stopping is added; both are gone with it."""
    with SessionDirectory.open(directory.path) as reader:
        before = reader.holder()
        directory.say_stopping()
        after = reader.holder()
        assert before is not None
        assert after == Holder(before.pid, before.since, stopping=True)
        assert not before.stopping
        assert str(after).endswith(" UTC, stopping")
        with pytest.raises(WorkspaceHeldError, match="it is stopping; try again") as caught:
            own_now(directory.path)
        assert caught.value.stopping
        directory.close()
        assert reader.holder() is None
        own_now(directory.path)


def test_say_stopping_is_never_half_there(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A reader sees the old text or the new one, and an earlier version, which knows no such field, reads both."""
    seen: list[bytes] = []
    path = directory.path / LOCK_NAME
    fs.on(lambda called, args: seen.append(path.read_bytes()))
    directory.say_stopping()
    seen.append(path.read_bytes())
    texts = [json.loads(text) for text in seen]
    assert len({text["pid"] for text in texts}) == 1
    assert (texts[0].get("stopping"), texts[-1].get("stopping")) == (None, True)


def test_own_briefly_says_so_from_the_beginning(sessions_dir: Path) -> None:
    """There is no moment at which another process takes a command for an owner that stays."""
    fs = FaultyOs()
    seen: list[bytes] = []
    fs.on(lambda called, args: seen.append((sessions_dir / LOCK_NAME).read_bytes()) if called == "ftruncate" else None)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as owner:
        owner.own(briefly=True)
        assert [json.loads(text)["stopping"] for text in seen] == [True]
        with pytest.raises(WorkspaceHeldError, match="it is stopping; try again"):
            own_now(sessions_dir)
