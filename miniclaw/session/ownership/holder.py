"""The holder of a sessions directory, as another process sees it.

The owner holds two locks with flock, one on the directory itself and one on the file `.lock` in it
(`miniclaw.session.ownership.ownership`). A directory is held if either is locked. The content of `.lock` names the
holder and decides nothing, unless the file system has no locks at all: there a directory is held while the process that
`.lock` names runs on this machine.

A reader probes with a shared lock that it releases at once. For that reason a process that wants to own the directory
tries a few times.
"""

from __future__ import annotations

import errno
import fcntl
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from miniclaw.clock import machine_boot
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, READ_FLAGS, opened, store_errors
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.ownership.process import is_alive
from miniclaw.session.types import AwareDatetime

LOCK_NAME: Final = ".lock"

NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Error numbers of flock() on file systems that lock only files open for writing (NFS), or nothing.

A lock that another process holds is EWOULDBLOCK, which is none of these.
"""

_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})
_READ_BYTES: Final = 200


class Holder(Struct, frozen=True):
    """The process that owns a directory, as it describes itself in `.lock`.

    Attributes:
        pid: Its process id; None: it could not write it.
        since: The time since which it owns the directory; None: likewise.
        stopping: True if it has begun to exit, or is a command, which exits in a moment.
        boot: The boot id of its machine; written only where neither lock can be taken.
    """

    pid: int | None = None
    since: AwareDatetime | None = None
    stopping: bool = False
    boot: str = ""

    @property
    def who(self) -> str:
        """The process, as messages name it."""
        return "another process" if self.pid is None else f"process {self.pid}"

    def __str__(self) -> str:
        since = "" if self.since is None else f", since {self.since:%Y-%m-%d %H:%M:%S %Z}"
        return f"{self.who}{since}{', stopping' if self.stopping else ''}"


def is_running(holder: Holder) -> bool:
    """Return whether the process that `.lock` names runs on this machine; used where nothing can be locked."""
    return holder.pid is not None and holder.boot == machine_boot() != "" and is_alive(holder.pid)


_decode: Final = msgspec.json.Decoder(Holder).decode


def find_holder(fs: OsCalls, dir_fd: int, path: Path) -> Holder | None:
    """Return the process that owns a directory, or None.

    The descriptor itself is not locked, because it may be the owner's.

    Raises:
        StoreIOError: The locks cannot be probed.
    """
    with store_errors(path / LOCK_NAME, "look at"):
        with opened(fs, ".", DIRECTORY_FLAGS, dir_fd=dir_fd) as fd:
            is_directory_locked = _is_locked(fs, fd)
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
    """Return the holder that `.lock` describes; its fields are empty if the file is missing or not understood."""
    try:
        with opened(fs, LOCK_NAME, READ_FLAGS, dir_fd=dir_fd) as fd:
            return _decode_holder(fs.read(fd, _READ_BYTES))
    except OSError:
        return Holder()


def _is_locked(fs: OsCalls, fd: int) -> bool | None:
    """Return whether a process has locked an open file or directory; None if it cannot be locked."""
    try:
        fs.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return True
        if error.errno in NO_LOCKS:
            return None
        raise
    # A close would not be enough: a child forked in this moment has a copy of the descriptor, which keeps the lock.
    fs.flock(fd, fcntl.LOCK_UN)
    return False


def _decode_holder(text: bytes) -> Holder:
    try:
        return _decode(text.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return Holder()
