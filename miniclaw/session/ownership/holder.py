"""The holder of a sessions directory, as another process sees it.

The owner holds two locks with flock, one on the directory itself and one on the file `.lock` in it
(`miniclaw.session.ownership.ownership`). A directory is held where either is locked; the content of `.lock` says by
which process, and decides nothing, unless the file system has no locks at all. There a directory is held while the
process that `.lock` names runs on this machine.

A reader asks with a shared lock that it gives up at once, so a process that wants to own the directory tries a few
times.
"""

from __future__ import annotations

import errno
import fcntl
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from miniclaw.clock import machine_boot
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, READ_FLAGS, opened, store_errors
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.types import AwareDatetime

LOCK_NAME: Final = ".lock"

NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Of flock() on a directory, on file systems that lock only files that are open for writing (NFS), or nothing.

A lock that another process has is EWOULDBLOCK, and none of these.
"""

_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})
_READ_BYTES: Final = 200


class Holder(Struct, frozen=True):
    """The process that owns a directory, as it wrote of itself into `.lock`.

    Attributes:
        pid: Its id; None where it could not write it.
        since: The time since which it owns the directory; likewise.
        stopping: Whether it has begun to end, or is a command, which ends in a moment.
        boot: The run of its machine; only written where the file cannot be locked.
    """

    pid: int | None = None
    since: AwareDatetime | None = None
    stopping: bool = False
    boot: str = ""

    @property
    def who(self) -> str:
        """The process, for a person."""
        return "another process" if self.pid is None else f"process {self.pid}"

    def __str__(self) -> str:
        state = ", stopping" if self.stopping else ""
        return f"{self.who}{state}" if self.since is None else f"{self.who}, since {_time(self.since)}{state}"


def is_running(holder: Holder) -> bool:
    """Return whether a process still runs on this machine, by what it wrote where nothing can be locked."""
    from miniclaw.session.ownership.process import is_alive  # noqa: PLC0415 - start-up time: few file systems have no locks

    return holder.pid is not None and holder.boot == machine_boot() != "" and is_alive(holder.pid)


_decode: Final = msgspec.json.Decoder(Holder).decode


def find_holder(fs: OsCalls, dir_fd: int, path: Path) -> Holder | None:
    """Return the process that owns a directory; None: there is none.

    Args:
        fs: The system calls.
        dir_fd: The directory. Its own descriptor is not locked: this may be the owner's.
        path: Its path, for messages.

    Raises:
        StoreIOError: The locks cannot be asked.
    """
    with store_errors(path / LOCK_NAME, "look at"):
        is_directory_locked = _is_directory_locked(fs, dir_fd)
        if is_directory_locked:
            return read_holder(fs, dir_fd)
        with suppress(FileNotFoundError), opened(fs, LOCK_NAME, READ_FLAGS, dir_fd=dir_fd) as fd:
            is_locked = _is_locked(fs, fd)
            goes_by_text = is_locked is is_directory_locked is None
            if is_locked or goes_by_text:
                holder = _decode_holder(fs.read(fd, _READ_BYTES))
                return holder if is_locked or is_running(holder) else None
    return None


def read_holder(fs: OsCalls, dir_fd: int) -> Holder:
    """Return what `.lock` says about the holder of a directory that is held; it may say nothing, or be missing."""
    try:
        with opened(fs, LOCK_NAME, READ_FLAGS, dir_fd=dir_fd) as fd:
            return _decode_holder(fs.read(fd, _READ_BYTES))
    except OSError:
        return Holder()


def _is_directory_locked(fs: OsCalls, dir_fd: int) -> bool | None:
    with opened(fs, ".", DIRECTORY_FLAGS, dir_fd=dir_fd) as fd:
        return _is_locked(fs, fd)


def _is_locked(fs: OsCalls, fd: int) -> bool | None:
    """Return whether a process has locked it; None where nothing can be locked."""
    try:
        fs.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return True
        if error.errno in NO_LOCKS:
            return None
        raise
    # A child that is forked in this moment has the descriptor as well: closing it would not be enough.
    fs.flock(fd, fcntl.LOCK_UN)
    return False


def _decode_holder(text: bytes) -> Holder:
    try:
        return _decode(text.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return Holder()


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"
