"""Ownership of a sessions directory: two locks, and the owner's response when `.lock` is no longer its own.

A process becomes the owner by two exclusive flocks, in this order:

1. the directory itself. No script, backup or synchronisation takes that lock away, whatever it does to the files;
2. the file `.lock` in it, which names the holder and the time since which it is held. Earlier versions lock only this
   file, and it is the only lock where a directory cannot be locked (some network file systems).

Both locks belong to descriptors without any other use. They are unlocked, in the reverse order, and not just closed: a
forked child may have copies of the descriptors, which would keep the locks. The child itself closes its copies as soon
as it is forked, without unlocking, since a lock belongs to all copies.

`check` compares `.lock` with the owner's descriptor, at each autosave:

=============================================  =======================================================================
`.lock` is the owner's                         no action
it is missing                                  it is created again and locked; a WARNING
it is another file, which is not locked        that file is locked; a WARNING
it is another file, locked by a process        ownership is lost, until a restart; an ERROR
it is a link, a directory, unreadable, …       it is left alone; a WARNING. The directory's lock is still held
=============================================  =======================================================================

If a file system can lock only one of the two, that lock decides. If it can lock neither, the text in `.lock` decides: a
process of this machine that it names and that runs is the owner, and an owner that finds another process named there
has lost its ownership. That keeps out a second program unless both start in the same moment; a WARNING names this
limit.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from miniclaw.clock import machine_boot
from miniclaw.errors import OwnershipLostError, StoreIOError, WorkspaceHeldError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, close_quietly, open_or_create, store_errors
from miniclaw.session.disk.directories import is_our_own, why_no_session_file
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.ownership.holder import LOCK_NAME, NO_LOCKS, is_running, read_holder
from miniclaw.session.ownership.process import OpeningProcess

# O_NONBLOCK: a FIFO in its place must not make the owner wait.
_LOCK_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.02

_NOT_LOCKED: Final = -1

NO_DIRECTORY_LOCK: Final = (
    "Sessions directory cannot be locked itself, only .lock in it; if that file is deleted, a second program can "
    "start; the next autosave notices it"
)
NO_FILE_LOCK: Final = (
    "Lock file cannot be locked, only the sessions directory itself; earlier versions are not kept out"
)
NO_LOCK: Final = (
    "File system has no locks; a program that is started in the same moment, or on another machine, is not kept out: "
    "never use this directory twice"
)

log: Final = get_logger("miniclaw.session.store")


class Ownership:
    """The locks of one directory that this process owns. Any thread may call its methods.

    Args:
        dir_fd: The directory, open for as long as this object is used.
        briefly: True if the process exits in a moment; it then writes from the beginning on that it is stopping.
    """

    def __init__(self, fs: OsCalls, dir_fd: int, path: Path, *, briefly: bool = False) -> None:
        self._fs = fs
        self._dir_fd = dir_fd
        self._path = path
        self._process = OpeningProcess()
        self._since = datetime.now(UTC)
        self._stopping = briefly
        self._one_at_a_time = threading.Lock()  # held by calls that change the attributes below
        self._directory_lock = self._file_lock = _NOT_LOCKED  # descriptors
        self._goes_by_text = False  # nothing can be locked
        self._lost_to: str | None = None  # set once
        self._told = ""  # the problem with `.lock` that was logged last

    def take(self) -> None:
        """Become the owner.

        Raises:
            WorkspaceHeldError: Another process is the owner; nothing was changed.
            StoreIOError: The locks cannot be taken.
        """
        with self._one_at_a_time:
            _taken.add(self)
            try:
                self._directory_lock = self._lock_directory()
                with store_errors(self._path / LOCK_NAME, "lock"):
                    self._file_lock, is_locked = self._lock_file()
                if not is_locked or self._directory_lock == _NOT_LOCKED:
                    event = NO_LOCK if self._goes_by_text else NO_DIRECTORY_LOCK if is_locked else NO_FILE_LOCK
                    log.warning(event, path=str(self._path))
            except BaseException:
                self._release()
                raise

    def release(self) -> None:
        """Release the locks; a second call has no effect."""
        with self._one_at_a_time:
            self._release()

    def check_owned(self) -> None:
        """Raise if the directory is no longer owned; called before each change of it.

        Raises:
            OwnershipLostError: Another process has locked a new `.lock`.
            ForkedRuntimeError: This is a forked child of the owner.
        """
        self._process.check()
        if self._lost_to is not None:
            raise OwnershipLostError(self._path, self._lost_to)

    def check(self) -> str | None:
        """Compare `.lock` with the owner's descriptor, and act by the table in this module's docstring.

        Return the process to which ownership is lost; None: it is not lost.
        """
        with self._one_at_a_time:
            if self._lost_to is None and self._file_lock != _NOT_LOCKED:
                self._check()
            return self._lost_to

    def say_stopping(self) -> None:
        """Write into `.lock` that this process is about to exit; a process that wants the directory waits for that.

        After a failure that process does not wait; there is no other consequence.
        """
        with self._one_at_a_time:
            self._stopping = True
            if self._lost_to is None and self._file_lock != _NOT_LOCKED:
                self._introduce(self._file_lock)

    def drop_in_child(self) -> None:
        """Close the descriptors in a forked child, without unlocking: the locks are the parent's."""
        for fd in (self._file_lock, self._directory_lock):
            if fd != _NOT_LOCKED:
                with suppress(OSError):
                    os.close(fd)
        self._file_lock = self._directory_lock = _NOT_LOCKED
        self._one_at_a_time = threading.Lock()  # the old one may be held by a thread that the child lacks

    def _lock_directory(self) -> int:
        with store_errors(self._path, "lock"):
            fd = self._fs.open(".", DIRECTORY_FLAGS, dir_fd=self._dir_fd)
            try:
                if _lock(self._fs, fd):
                    return fd
            except BlockingIOError:
                close_quietly(self._fs, fd)
                raise self._held() from None
            except BaseException:
                close_quietly(self._fs, fd)
                raise
            close_quietly(self._fs, fd)
            return _NOT_LOCKED

    def _lock_file(self) -> tuple[int, bool]:
        """Return a descriptor of `.lock`, with this process's name in it, and whether it could be locked."""
        for _ in range(_TRIES):
            fd = open_or_create(self._fs, LOCK_NAME, _LOCK_FLAGS, dir_fd=self._dir_fd)
            try:
                is_locked = _lock(self._fs, fd)
                self._goes_by_text = not is_locked and self._directory_lock == _NOT_LOCKED
                if self._goes_by_text:
                    self._refuse_if_anothers()
                self._introduce(fd)
                if self._is_in_place(fd):
                    return fd, is_locked
            except BlockingIOError:
                close_quietly(self._fs, fd)
                raise self._held() from None
            except BaseException:
                close_quietly(self._fs, fd)
                raise
            self._unlock(fd)  # deleted or replaced between its opening and its lock
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _refuse_if_anothers(self) -> None:
        """Raise `WorkspaceHeldError` if `.lock` names a process that runs, or another `Ownership` of this process."""
        holder = read_holder(self._fs, self._dir_fd)
        if holder.pid != os.getpid():
            is_held = is_running(holder)
        else:  # another owner in this process, or, in a container, an earlier process of the same id
            is_held = any(other is not self and other._since == holder.since for other in list(_taken))
        if is_held:
            raise self._held()

    def _is_in_place(self, fd: int) -> bool:
        try:
            there = self._fs.stat(LOCK_NAME, dir_fd=self._dir_fd)
        except FileNotFoundError:
            return False
        # Some file systems return another inode for a file at each stat().
        return os.path.samestat(there, self._fs.fstat(fd)) or self._is_named()

    def _is_named(self) -> bool:
        """Return whether `.lock` holds the id and the time that this process writes into it."""
        holder = read_holder(self._fs, self._dir_fd)
        return (holder.pid, holder.since) == (self._process.pid, self._since)

    def _introduce(self, fd: int) -> None:
        """Write the id and state of this process into `.lock`, unless the file has a second hard link.

        A failure is ignored, because the lock holds without the text: on a full disk, where a cleanup is needed most.
        """
        told: dict[str, object] = {"pid": os.getpid(), "since": self._since}
        if self._stopping:
            told["stopping"] = True
        if self._goes_by_text:
            told["boot"] = machine_boot()
        # A reader takes only the first line, and thus never the rest of an earlier, longer text.
        text = msgspec.json.encode(told) + b"\n"
        with suppress(OSError):
            if not is_our_own(self._fs.fstat(fd)):
                return
            try:
                # In this order, and in one write: a reader sees the old text or the new one.
                written = self._fs.pwrite(fd, text, 0)
            except OSError:
                written = 0
            self._fs.ftruncate(fd, len(text) if written == len(text) else 0)

    def _held(self) -> WorkspaceHeldError:
        holder = read_holder(self._fs, self._dir_fd)
        return WorkspaceHeldError(self._path, holder.who, stopping=holder.stopping)

    def _check(self) -> None:
        mode = None
        try:
            there = self._fs.stat(LOCK_NAME, dir_fd=self._dir_fd)
            is_ours = os.path.samestat(there, self._fs.fstat(self._file_lock))
            if self._goes_by_text:
                is_ours = self._check_text(self._file_lock if is_ours else _NOT_LOCKED)
            if is_ours:
                self._told = ""
                return
            mode = there.st_mode
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell(f"it cannot be looked at: {error.strerror}")
            return
        try:
            fd, _ = self._lock_file()
        except WorkspaceHeldError as error:
            if not self._is_named():  # else this process's own lock is in the way: the inode has changed
                self._lose(error.holder)
        except (OSError, StoreIOError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.reason
            self._tell((mode and why_no_session_file(mode)) or f"it cannot be locked: {reason}")
        else:
            self._unlock(self._file_lock)
            self._file_lock = fd
            self._told = ""
            log.warning(
                "Lock file was deleted; it is made again" if mode is None else "Lock file was replaced; it is locked",
                path=str(self._path / LOCK_NAME),
            )

    def _check_text(self, fd: int) -> bool:
        """Return whether a `.lock` that cannot be locked needs no more action; `fd` is open if it is the owner's."""
        holder = read_holder(self._fs, self._dir_fd)
        if self._is_named():
            return True
        if holder.pid is not None:
            self._lose(holder.who)
            return True
        if fd == _NOT_LOCKED:
            return False
        self._introduce(fd)  # another program has emptied it at its exit, or the disk was full
        return True

    def _lose(self, holder: str) -> None:
        self._lost_to = holder
        log.error(
            "Sessions directory is owned by another process; nothing is saved or removed any more until a restart",
            path=str(self._path), holder=holder,
        )  # fmt: skip

    def _tell(self, problem: str) -> None:
        """Log a problem with `.lock`, unless it is the one logged last."""
        if problem != self._told:
            self._told = problem
            log.warning(
                "Lock file is not the owner's; remove it, and it is made again",
                path=str(self._path / LOCK_NAME), problem=problem,
            )  # fmt: skip

    def _release(self) -> None:
        if self._goes_by_text and self._file_lock != _NOT_LOCKED and self._process.is_this_one and self._is_named():
            with suppress(OSError):
                self._fs.ftruncate(self._file_lock, 0)
        for fd in (self._file_lock, self._directory_lock):
            if fd != _NOT_LOCKED:
                self._unlock(fd)
        self._file_lock = self._directory_lock = _NOT_LOCKED
        _taken.discard(self)

    def _unlock(self, fd: int) -> None:
        if self._process.is_this_one:
            with suppress(OSError):
                self._fs.flock(fd, fcntl.LOCK_UN)
        close_quietly(self._fs, fd)


def _lock(fs: OsCalls, fd: int) -> bool:
    """Lock an open file or directory; return False if the file system cannot.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    for tried in range(1, _TRIES + 1):
        try:
            fs.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tried == _TRIES:
                raise
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return False
        else:
            return True
    raise AssertionError  # for mypy: the last try has returned or raised


# Changed by any thread, in atomic steps; by this a forked child finds the descriptors to close.
_taken: Final[weakref.WeakSet[Ownership]] = weakref.WeakSet()


def _drop_all_in_child() -> None:
    for ownership in list(_taken):
        ownership.drop_in_child()


os.register_at_fork(after_in_child=_drop_all_in_child)
