"""Owning a sessions directory where a file system cannot lock it, or its `.lock`, or neither."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miniclaw.clock import machine_boot
from miniclaw.errors import OwnershipLostError, StoreIOError, WorkspaceHeldError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ownable import Place
from miniclaw.session.ownership.holder import LOCK_NAME
from miniclaw.session.ownership.ownership import NO_FILE_LOCK, NO_LOCK
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, NewInodes
from tests.fakes.poor_os import PoorOs

LOST = "Sessions directory is owned by another process; nothing is saved or removed any more until a restart"
NOBODYS = 2**22 + 1  # no process has an id so high
NO_LOCKS = ("EINVAL", "ENOLCK", "ENOTSUP", "ENOSYS", "EBADF")


@pytest.fixture
def fs() -> FaultyOs:
    return PoorOs(links=True, syncs_directories=True, modes=True)


@pytest.fixture
def directory(sessions_dir: Path, fs: FaultyOs) -> SessionDirectory:
    """A directory that is not owned yet."""
    return SessionDirectory.open(sessions_dir, create=True, fs=fs)


def write_lock(directory: SessionDirectory, **fields: object) -> Path:
    path = directory.path / LOCK_NAME
    text = {"since": "2026-11-23T12:00:00Z", "boot": machine_boot()} | fields
    path.write_bytes(json.dumps(text).encode() + b"\n")
    return path


def own_once_more(directory: SessionDirectory) -> None:
    with SessionDirectory.open(directory.path, fs=directory.fs) as second:
        second.own()


# Nothing can be locked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_LOCKS)
def test_own_where_nothing_can_be_locked_goes_on_and_says_so_once(
    sessions_dir: Path, logs: LogRecorder, name: str
) -> None:
    """The runtime works all the same; one WARNING says against whom nothing helps."""
    fs = FaultyOs()
    fs.fail("flock", getattr(errno, name))
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        for _ in range(3):
            assert directory.check_place() == Place()
            directory.check_owned()
        assert [event["event"] for event in logs.events if event["level"] == "warning"] == [NO_LOCK]


def test_own_without_locks_keeps_a_second_one_out_until_the_first_is_closed(directory: SessionDirectory) -> None:
    """What stands in `.lock` tells who it is, also to who only looks; it is emptied at the end."""
    with SessionDirectory.open(directory.path, fs=directory.fs) as reader:
        directory.own()
        holder = reader.holder()
        assert holder is not None
        assert holder.pid == os.getpid()
        with pytest.raises(WorkspaceHeldError, match=f"process {os.getpid()}"):
            own_once_more(directory)
        directory.close()
        assert (reader.path / LOCK_NAME).read_bytes() == b""
        assert reader.holder() is None
        own_once_more(reader)


def test_own_without_locks_against_a_process_that_runs_is_refused(directory: SessionDirectory) -> None:
    """A command beside a gateway changes nothing, also where nothing can be locked."""
    path = write_lock(directory, pid=os.getppid())
    before = path.read_bytes()
    with pytest.raises(WorkspaceHeldError, match=f"process {os.getppid()}"):
        directory.own()
    assert path.read_bytes() == before
    holder = directory.holder()
    assert holder is not None
    assert holder.pid == os.getppid()


@pytest.mark.parametrize(
    "fields",
    [{"pid": NOBODYS}, {"pid": 2**80}, {"pid": -1}, {"pid": os.getppid(), "boot": "another"}, {"pid": os.getpid()}, {}],
    ids=["ended", "huge", "negative", "of an earlier boot", "of this id", "nameless"],
)
def test_own_without_locks_after_a_crash_is_not_refused(directory: SessionDirectory, fields: dict[str, object]) -> None:
    """A program that was killed leaves its name: that of no process, of one of an earlier boot, or, in a container, ours."""
    write_lock(directory, **fields)
    directory.own()
    assert json.loads((directory.path / LOCK_NAME).read_bytes())["pid"] == os.getpid()
    directory.close()


def test_check_without_locks_of_another_process_name_ends_the_ownership(
    directory: SessionDirectory, logs: LogRecorder
) -> None:
    """A program on another machine that has taken the directory is noticed at the next autosave; nothing is written then."""
    logs.expect_error(LOST)
    directory.own()
    path = write_lock(directory, pid=4711, boot="another machine's")
    before = path.read_bytes()
    for _ in range(2):
        assert directory.check_place() == Place(lost_to="process 4711")
    assert logs.one(LOST)["holder"] == "process 4711"
    with pytest.raises(OwnershipLostError):
        directory.check_owned()
    directory.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["emptied", "deleted"])
def test_check_without_locks_writes_its_name_again(directory: SessionDirectory, what: str) -> None:
    """Where `.lock` is empty, as a program leaves it that came and went, or missing, it names the owner again."""
    directory.own()
    path = directory.path / LOCK_NAME
    path.write_bytes(b"") if what == "emptied" else path.unlink()
    assert directory.check_place() == Place()
    assert json.loads(path.read_bytes())["pid"] == os.getpid()
    directory.close()


def test_own_where_a_lock_is_refused_for_another_reason_is_an_error(sessions_dir: Path) -> None:
    """Only a file system that has none is done without; a broken disk is not."""
    fs = FaultyOs()
    fs.fail("flock", errno.EIO)
    with (
        SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory,
        pytest.raises(StoreIOError, match="could not lock"),
    ):
        directory.own()


# Only one of the two can be locked ----------------------------------------------------------------------------


def fail_locks(fs: FaultyOs, number: int, *, of_directories: bool) -> None:
    def hook(called: str, args: tuple[Any, ...]) -> None:
        if called == "flock" and stat.S_ISDIR(os.fstat(args[0]).st_mode) == of_directories:
            raise OSError(number, os.strerror(number))

    fs.on(hook)


def test_own_where_only_directories_can_be_locked_goes_by_the_directory(sessions_dir: Path, logs: LogRecorder) -> None:
    """The directory's lock keeps everybody out but earlier versions; a name in `.lock` decides nothing then."""
    fs = FaultyOs()
    fail_locks(fs, errno.ENOLCK, of_directories=False)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        write_lock(directory, pid=os.getppid())
        assert directory.holder() is None
        directory.own()
        assert logs.one(NO_FILE_LOCK)["level"] == "warning"
        with pytest.raises(WorkspaceHeldError):
            own_once_more(directory)
        assert directory.holder() is not None
        assert directory.check_place() == Place()


@pytest.mark.parametrize("of_directories", [True, False])
def test_own_of_what_another_process_has_locked_is_refused_whatever_else_cannot_be_locked(
    sessions_dir: Path, of_directories: bool
) -> None:
    """EWOULDBLOCK says that there is another owner, and never that there are no locks."""
    fs = FaultyOs()
    fail_locks(fs, errno.ENOLCK, of_directories=of_directories)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        path = directory.path if not of_directories else write_lock(directory, pid=NOBODYS)
        fd = os.open(path, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            with pytest.raises(WorkspaceHeldError):
                directory.own()
            assert directory.holder() is not None
        finally:
            os.close(fd)


# Inodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locks", [True, False])
def test_own_and_check_where_inodes_change_at_each_look(sessions_dir: Path, logs: LogRecorder, locks: bool) -> None:
    """A file that seems to be another one, and names this process, is its own: nothing is lost, and nothing is said."""
    fs = NewInodes()
    if not locks:
        fs.fail("flock", errno.ENOLCK)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        logs.events.clear()
        for _ in range(3):
            assert directory.check_place().lost_to is None
        directory.check_owned()
        assert logs.events == []
        with pytest.raises(WorkspaceHeldError):
            own_once_more(directory)


def test_own_without_locks_names_a_process_of_another_program(sessions_dir: Path) -> None:
    """Two real processes: the second is kept out while the first runs, and not when it was killed."""
    program = (
        "import errno, sys\nfrom pathlib import Path\nfrom tests.fakes.os_calls import FaultyOs\n"
        "from miniclaw.session.files.directory import SessionDirectory\nfs = FaultyOs()\nfs.fail('flock', errno.ENOLCK)\n"
        "directory = SessionDirectory.open(Path(sys.argv[1]), create=True, fs=fs)\ndirectory.own()\n"
        "print('owned', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(sessions_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"owned\n"
        fs = FaultyOs()
        fs.fail("flock", errno.ENOLCK)
        with SessionDirectory.open(sessions_dir, fs=fs) as second:
            with pytest.raises(WorkspaceHeldError, match=f"process {first.pid}"):
                second.own()
            first.kill()
            first.wait()
            second.own()
