"""What root makes gets the owner of its directory; with system calls that say who is root, so that anyone can run it."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.errors import SessionsDirectoryError
from miniclaw.session.disk.atomic import NOT_GIVEN
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.files.subdirectory import TRASH_NAME, Folder
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.state import RetentionState, StateDirectory
from miniclaw.session.removal.restore import restore
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import TrashOrder, remove_batch
from miniclaw.session.retention.noted import Noted
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import Session
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PERSON = (12345, 23456)


class RootsOs(FaultyOs):
    """System calls of a root whose directories belong to a person; what was given away is noted, not done.

    Attributes:
        made: Inodes of all files and directories that were made.
        given: Those that were given to the owner of their directory.
    """

    is_root = True

    def __init__(self, owner: tuple[int, int] = PERSON) -> None:
        super().__init__()
        self._owner = owner
        self.made: dict[int, str] = {}
        self.given: dict[int, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        fd = super().open(path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_EXCL:
            self.made[os.fstat(fd).st_ino] = path
        else:
            assert not flags & os.O_CREAT, "whether it was made cannot be told"
        return fd

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        super().mkdir(path, mode, dir_fd=dir_fd)
        self.made[os.stat(path, dir_fd=dir_fd).st_ino] = path

    def fstat(self, fd: int) -> os.stat_result:
        status = super().fstat(fd)
        if not stat.S_ISDIR(status.st_mode):
            return status
        return os.stat_result([*status[:4], *self._owner, *status[6:]])

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        assert (uid, gid) == self._owner
        self.given[os.fstat(fd).st_ino] = os.readlink(f"/proc/self/fd/{fd}")


def work_as(fs: FaultyOs, sessions_dir: Path) -> None:
    """Do all that makes something."""
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        StagingArea(directory).recover()
        trash, state = Trash(Folder.within(directory, TRASH_NAME)), StateDirectory.within(directory)
        state.write_last_seen(b"x")
        state.write(RetentionState())
        state.write_due("", Noted(), Noted())
        state.inodes_last(RetentionState())
        state.history().append(HistoryEvent(event="cleanup", at=NOW, by="program"))
        directory.write(Session("web_1", "web", "1", NOW, NOW))
        directory.write(Session("web_2", "web", "2", NOW, NOW))
        order = TrashOrder({"web_1.json": "ttl"}, "test", NOW, timedelta(days=7))
        (removal,) = remove_batch(directory, ["web_1.json"], lambda rows: [True] * len(rows), trash=trash, order=order)
        restore(directory, trash, removal.entry_id, NOW)
        quarantine(directory, "web_2.json")


def test_all_that_root_makes_is_given_to_the_owner_of_its_directory(tmp_path: Path) -> None:
    """Sessions, temporary files, lock, folders, state, history, trash, and the directories above them: all of it."""
    fs = RootsOs()
    work_as(fs, tmp_path / "home" / "workspace" / "sessions")
    left = {name for inode, name in fs.made.items() if inode not in fs.given}
    assert left == set()
    assert {".lock", ".work", ".state", ".trash", ".quarantine", "last-seen", "landmark"} <= set(fs.made.values())


def test_root_gives_nothing_away_before_it_has_a_name_that_matters(tmp_path: Path) -> None:
    """A session has its owner before it gets its name: at no moment is there one that its person cannot read."""
    fs = RootsOs()
    work_as(fs, tmp_path / "home" / "workspace" / "sessions")
    order = [name for name, _ in fs.calls if name in {"fchown", "rename", "link"}]
    assert order.index("fchown") < order.index("rename")
    sessions = [path for path in fs.given.values() if path.endswith(".json")]
    assert sessions == []  # under the names of temporary files


def test_what_was_there_is_never_given_away(tmp_path: Path) -> None:
    """A file that root only opens may be a link that the directory's owner has made to one of root's."""
    sessions_dir = tmp_path / "sessions"
    victim = tmp_path / "shadow"
    victim.write_text("root's")
    sessions_dir.mkdir(mode=0o700)
    (sessions_dir / ".lock").hardlink_to(victim)
    (sessions_dir / ".work").mkdir()
    (sessions_dir / ".state").mkdir()
    for name in ("last-seen", "landmark"):
        (sessions_dir / ".state" / name).hardlink_to(victim)
    fs = RootsOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory:
        directory.own()
        StateDirectory.within(directory).write_last_seen(b"x")
        StateDirectory.within(directory).inodes_last(RetentionState())
    assert victim.stat().st_ino not in fs.given
    assert (sessions_dir / ".work").stat().st_ino not in fs.given


def test_root_in_its_own_directory_gives_nothing_away(tmp_path: Path) -> None:
    """Where root owns the directory there is nobody to be locked out."""
    fs = RootsOs((0, 0))
    work_as(fs, tmp_path / "home" / "workspace" / "sessions")
    assert fs.given == {}
    assert "fchown" not in {name for name, _ in fs.calls}


def test_others_than_root_make_no_call_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For everybody else a save has not one call more."""
    fs = RootsOs()
    monkeypatch.setattr(RootsOs, "is_root", False)
    with SessionDirectory.open(tmp_path / "sessions", create=True, fs=fs) as directory:
        directory.own()
        fs.calls.clear()
        directory.write(Session("web_1", "web", "1", NOW, NOW))
    expected = ["open", "open", "write", "fsync", "fstat", "close", "rename", "close"]
    assert [name for name, _ in fs.calls][: len(expected)] == expected


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOTSUP])
def test_root_that_may_not_give_away_says_so_once_and_saves(tmp_path: Path, logs: LogRecorder, number: int) -> None:
    """In a container, or on a disk without owners, all is saved; one WARNING says who may be locked out."""
    fs = RootsOs()
    fs.fail("fchown", number)
    work_as(fs, tmp_path / "home" / "workspace" / "sessions")
    assert logs.one(NOT_GIVEN)["level"] == "warning"
    assert (tmp_path / "home" / "workspace" / "sessions" / "web_1.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of other users")
@pytest.mark.parametrize("create", [False, True])
def test_open_through_a_link_of_another_user_is_refused(tmp_path: Path, create: bool) -> None:
    """A user's link in the place of the workspace leads root nowhere; one of root's own is followed."""
    victim, link = tmp_path / "victim", tmp_path / "workspace"
    victim.mkdir()
    link.symlink_to(victim)
    os.chown(link, *PERSON, follow_symlinks=False)
    with pytest.raises(SessionsDirectoryError, match=r"workspace: it is a symbolic link of another user \(uid 12345\)"):
        SessionDirectory.open(link / "sessions", create=create)
    assert list(victim.iterdir()) == []
    os.chown(link, 0, 0, follow_symlinks=False)
    SessionDirectory.open(link / "sessions", create=True).close()
    assert [path.name for path in victim.iterdir()] == ["sessions"]
