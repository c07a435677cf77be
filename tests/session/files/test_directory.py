"""The sessions directory: opening, owning, reading, writing."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.errors import (
    SessionsDirectoryError,
    SessionTooLargeError,
    StoreIOError,
    WorkspaceHeldError,
)
from miniclaw.session.entries import ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.format import codec
from miniclaw.session.types import Session
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.work_folder import left_in_work

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def new_session(session_id: str = "telegram_1") -> Session:
    channel, _, chat_id = session_id.partition("_")
    return Session(session_id, channel, chat_id, NOW, NOW)


def rows(directory: SessionDirectory) -> dict[str, StoredSession | ProblemFile]:
    with DirectoryScan(directory) as scan:
        return {row.key: row for row in iter_rows(scan)}


def iter_rows(scan: object) -> list[StoredSession | ProblemFile]:
    found: list[StoredSession | ProblemFile] = []
    while batch := scan.next_batch(seconds=0):  # type: ignore[attr-defined]
        found += batch
    return found


def test_open_missing_without_create_names_the_path(sessions_dir: Path) -> None:
    """A directory that is not there is an error that says so, and is not made by looking."""
    with pytest.raises(SessionsDirectoryError, match="no such directory") as caught:
        SessionDirectory.open(sessions_dir)
    assert str(sessions_dir) in str(caught.value)
    assert not sessions_dir.exists()


def test_open_create_makes_private_directories(sessions_dir: Path) -> None:
    """What is made is readable by its owner only, the parents too."""
    SessionDirectory.open(sessions_dir, create=True).close()
    assert stat.S_IMODE(sessions_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(sessions_dir.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("other", ["", "home", "home/workspace", "home/workspace/sessions"])
def test_directory_that_another_process_creates_as_well_is_opened(tmp_path: Path, fs: FaultyOs, other: str) -> None:
    """Of two processes that create a missing home at once, neither fails, however far the other one is."""
    path = tmp_path / "home" / "workspace" / "sessions"
    made: list[str] = []

    def create(called: str, _: tuple[object, ...]) -> None:
        if called == "mkdir" and other and not made:
            made.append(other)
            (tmp_path / other).mkdir(parents=True)

    fs.on(create)
    SessionDirectory.open(path, create=True, fs=fs).close()
    assert path.is_dir()


def test_directory_whose_name_a_file_takes_meanwhile_is_an_error(tmp_path: Path, fs: FaultyOs) -> None:
    """A file that appears in the place of the directory is not taken for one."""
    path = tmp_path / "sessions"

    def create(called: str, _: tuple[object, ...]) -> None:
        if called == "mkdir":
            path.write_text("")

    fs.on(create)
    with pytest.raises(SessionsDirectoryError, match="could not create it: Not a directory"):
        SessionDirectory.open(path, create=True, fs=fs)


def test_own_tightens_an_open_directory_and_says_so(sessions_dir: Path, logs: LogRecorder) -> None:
    """A directory that others could read is made private by the owner."""
    sessions_dir.mkdir(parents=True)
    sessions_dir.chmod(0o755)
    with SessionDirectory.open(sessions_dir) as directory:
        directory.own()
    assert stat.S_IMODE(sessions_dir.stat().st_mode) == 0o700
    assert logs.one("Directory made private")["was"] == "0755"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("x"), "not a directory"),
        (lambda path: path.symlink_to(path.parent), "symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "symbolic link"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_open_something_else_is_refused(sessions_dir: Path, make: object, why: str, create: bool) -> None:
    """A file or a link in place of the directory is refused with the reason, and left alone."""
    sessions_dir.parent.mkdir(parents=True)
    make(sessions_dir)  # type: ignore[operator]
    with pytest.raises(SessionsDirectoryError, match=why):
        SessionDirectory.open(sessions_dir, create=create)


def test_open_unreadable_says_why(sessions_dir: Path) -> None:
    """A directory that may not be opened is an error with the system's reason."""
    sessions_dir.mkdir(parents=True)
    fs = FaultyOs()
    fs.fail("open", errno.EACCES, path=str(sessions_dir))
    with pytest.raises(SessionsDirectoryError, match="Permission denied"):
        SessionDirectory.open(sessions_dir, fs=fs)


def test_open_create_on_read_only_disk_says_why(sessions_dir: Path) -> None:
    """A directory that cannot be made is an error with the system's reason."""
    fs = FaultyOs()
    fs.fail("mkdir", errno.EROFS)
    with pytest.raises(SessionsDirectoryError, match="Read-only file system"):
        SessionDirectory.open(sessions_dir, create=True, fs=fs)


def test_own_twice_names_the_holder(sessions_dir: Path) -> None:
    """One process owns a directory; a second one learns which, and may own it afterwards."""
    with SessionDirectory.open(sessions_dir, create=True) as first, SessionDirectory.open(sessions_dir) as second:
        first.own()
        with pytest.raises(WorkspaceHeldError, match=f"process {os.getpid()}"):
            second.own()
        first.close()
        second.own()


def test_own_held_by_unknown_says_another_process(sessions_dir: Path) -> None:
    """A lock file without a readable holder still tells that the directory is held."""
    with SessionDirectory.open(sessions_dir, create=True) as first, SessionDirectory.open(sessions_dir) as second:
        first.own()
        (sessions_dir / ".lock").write_text("")
        with pytest.raises(WorkspaceHeldError, match="another process"):
            second.own()


def test_own_lock_is_a_link_is_refused(sessions_dir: Path, tmp_path: Path) -> None:
    """A link in place of the lock file is not followed: nothing outside is written."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / ".lock").symlink_to(victim)
    with SessionDirectory.open(sessions_dir) as directory, pytest.raises(StoreIOError, match="lock"):
        directory.own()
    assert victim.read_text() == "precious"


def test_write_then_load_is_the_same_and_private(sessions_dir: Path) -> None:
    """A saved session is loaded as it was, from a file of mode 0600, and no temporary file stays."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        directory.write(new_session())
        directory.sync()
        assert directory.load("telegram_1") == new_session()
    assert stat.S_IMODE((sessions_dir / "telegram_1.json").stat().st_mode) == 0o600
    assert left_in_work(sessions_dir) == []


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_write_failing_leaves_the_old_file_whole(sessions_dir: Path, call: str) -> None:
    """Whatever fails in a save, the old file is there and no temporary one stays."""
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        directory.write(new_session())
        before = (sessions_dir / "telegram_1.json").read_bytes()
        changed = new_session()
        changed.last_accessed = datetime(2027, 1, 1, tzinfo=UTC)
        fs.fail(call, errno.ENOSPC)
        with pytest.raises(
            StoreIOError, match=r"(telegram_1\.json: could not save|\.work: could not open): No sp"
        ) as caught:
            directory.write(changed)
        assert caught.value.errno == errno.ENOSPC
    assert (sessions_dir / "telegram_1.json").read_bytes() == before
    assert left_in_work(sessions_dir) == []


def test_write_short_writes_are_completed(sessions_dir: Path) -> None:
    """A write that the system cuts short is continued until all is written."""

    class ShortWrites(FaultyOs):
        def write(self, fd: int, data: object) -> int:
            return os.write(fd, memoryview(data)[:7])  # type: ignore[arg-type]

    with SessionDirectory.open(sessions_dir, create=True, fs=ShortWrites()) as directory:
        directory.own()
        directory.write(new_session())
        assert directory.load("telegram_1") == new_session()


def test_write_too_large_is_refused(sessions_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be loaded again is not written."""
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 50)
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        with pytest.raises(SessionTooLargeError, match="more than the 50"):
            directory.write(new_session())
    assert not (sessions_dir / "telegram_1.json").exists()


def test_quarantine_twice_keeps_both(sessions_dir: Path) -> None:
    """A second corruption does not overwrite the evidence of the first."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        kept = []
        for text in ("first", "second"):
            (sessions_dir / "telegram_1.json").write_text(text)
            kept.append(quarantine(directory, "telegram_1.json"))
    assert [path.read_text() for path in kept] == ["first", "second"]
    assert stat.S_IMODE((sessions_dir / ".quarantine").stat().st_mode) == 0o700


def test_quarantine_refused_leaves_the_file(sessions_dir: Path) -> None:
    """Where the system refuses, the file stays in its place."""
    path = write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    fs.fail("rename", errno.EACCES)
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, pytest.raises(StoreIOError, match="quarantine"):
        quarantine(directory, path.name)
    assert path.exists()


def test_scan_reads_only_the_beginning_of_a_large_session(sessions_dir: Path, clock: WallClock) -> None:
    """The cost of a scan does not grow with the conversation: one read of one page."""
    message = {"role": "user", "content": "x" * 1000, "timestamp": "2026-01-01T00:00:00Z"}
    write_session(sessions_dir, "telegram_1", clock.now, messages=[message] * 1000)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory:
        row = rows(directory)["telegram_1.json"]
    assert isinstance(row, StoredSession)
    assert row.header.last_accessed == clock.now
    assert row.size > 1_000_000
    assert [len(args[1][0]) for name, args in fs.calls if name == "readv"] == [codec.HEADER_PREFIX_BYTES]
    assert not {"read", "pread"} & {name for name, _ in fs.calls}


def test_scan_lists_the_directory_once(sessions_dir: Path) -> None:
    """However many batches there are, the directory is listed once."""
    for number in range(20):
        write_session(sessions_dir, f"telegram_{number}", NOW)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory:
        assert len(rows(directory)) == 20
    assert [name for name, _ in fs.calls].count("scandir") == 1


def test_scan_two_at_once_see_everything(sessions_dir: Path) -> None:
    """Two listings at the same time do not share their position."""
    for number in range(50):
        write_session(sessions_dir, f"telegram_{number}", NOW)
    with (
        SessionDirectory.open(sessions_dir) as directory,
        DirectoryScan(directory) as one,
        DirectoryScan(directory) as two,
    ):
        found: tuple[set[str], set[str]] = (set(), set())
        for _ in range(51):
            for scan, keys in zip((one, two), found, strict=True):
                keys.update(row.key for row in scan.next_batch(seconds=0))
    assert len(found[0]) == len(found[1]) == 50


def test_scan_listing_fails_is_an_error(sessions_dir: Path) -> None:
    """A directory that cannot be listed is an error, not an empty directory."""
    write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory:
        fs.fail("scandir")
        with pytest.raises(StoreIOError, match="list"):
            rows(directory)


def test_own_lock_that_is_hard_linked_is_not_written_to(sessions_dir: Path, tmp_path: Path) -> None:
    """A hard link makes the lock file another's too: it is locked, and left as it is."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / ".lock").hardlink_to(victim)
    with SessionDirectory.open(sessions_dir) as first, SessionDirectory.open(sessions_dir) as second:
        first.own()
        with pytest.raises(WorkspaceHeldError, match="another process"):
            second.own()
    assert victim.read_text() == "precious"


def test_own_lock_that_is_a_fifo_makes_nobody_wait(sessions_dir: Path) -> None:
    """A FIFO in place of the lock is locked like a file, and a second owner is refused at once."""
    sessions_dir.mkdir(parents=True, mode=0o700)
    os.mkfifo(sessions_dir / ".lock")
    with SessionDirectory.open(sessions_dir) as first, SessionDirectory.open(sessions_dir) as second:
        first.own()
        with pytest.raises(WorkspaceHeldError, match="another process"):
            second.own()


def test_quarantine_of_a_name_that_is_no_unicode_keeps_it(sessions_dir: Path) -> None:
    """A file whose name is not UTF-8 can be put away as every other."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        name = os.fsdecode(b"\xff.json")
        (sessions_dir / name).write_text("x")
        assert quarantine(directory, name).read_text() == "x"
