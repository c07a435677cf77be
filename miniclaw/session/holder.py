"""Who owns a sessions directory: a lock that is held with flock, and a file that says by whom.

Somebody who only looks asks with a shared lock that is given up at once; so somebody who wants to own the directory
tries a few times.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from miniclaw.errors import WorkspaceHeldError
from miniclaw.session.files import READ_FLAGS, close_quietly, is_our_own, opened, store_errors, write_all
from miniclaw.session.fs import OsCalls
from miniclaw.session.types import AwareDatetime

LOCK_NAME: Final = ".lock"

_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})
_READ_BYTES: Final = 200

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.02


class Holder(Struct, frozen=True):
    """The process that owns a directory.

    Attributes:
        pid: Its id, as it wrote it; None where it could not.
        since: Since when, likewise.
    """

    pid: int | None = None
    since: AwareDatetime | None = None

    @property
    def who(self) -> str:
        """The process, for a person."""
        return "another process" if self.pid is None else f"process {self.pid}"

    def __str__(self) -> str:
        return self.who if self.since is None else f"{self.who}, since {_time(self.since)}"


_decode: Final = msgspec.json.Decoder(Holder).decode


def take_lock(fs: OsCalls, dir_fd: int, path: Path) -> int:
    """Become the owner of a directory for as long as the returned descriptor is open.

    Args:
        fs: The system calls.
        dir_fd: The directory.
        path: Its path, for messages.

    Raises:
        WorkspaceHeldError: Somebody else owns it.
        StoreIOError: The lock cannot be taken.
    """
    # O_NONBLOCK: a FIFO in its place must not make anybody wait.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with store_errors(path / LOCK_NAME, "lock"):
        fd = fs.open(LOCK_NAME, flags, dir_fd=dir_fd)
        try:
            _lock(fs, fd)
            holder = msgspec.json.encode({"pid": os.getpid(), "since": datetime.now(UTC)})
            # Without a name the lock holds as well: on a full disk, where cleaning up is needed most, and where the
            # file is somebody else's too, through a hard link.
            with suppress(OSError):
                if is_our_own(fs.fstat(fd)):
                    fs.ftruncate(fd, 0)
                    write_all(fs, fd, holder)
        except BlockingIOError:
            holder = b""
            with suppress(OSError):
                holder = fs.read(fd, _READ_BYTES)
            close_quietly(fs, fd)
            raise WorkspaceHeldError(path, _decode_holder(holder).who) from None
        except BaseException:
            close_quietly(fs, fd)
            raise
        return fd


def _lock(fs: OsCalls, fd: int) -> None:
    for tried in range(1, _TRIES + 1):
        try:
            fs.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tried == _TRIES:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def find_holder(fs: OsCalls, dir_fd: int, path: Path) -> Holder | None:
    """Return who owns a directory; None: nobody does. Takes what `take_lock` takes.

    Whether somebody does tells the lock alone, and not what stands in its file.

    Raises:
        StoreIOError: The lock cannot be read.
    """
    with store_errors(path / LOCK_NAME, "look at"):
        try:
            with opened(fs, LOCK_NAME, READ_FLAGS, dir_fd=dir_fd) as fd:
                try:
                    fs.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in _HELD:
                        raise
                    return _decode_holder(fs.read(fd, _READ_BYTES))
        except FileNotFoundError:
            pass
    return None


def _decode_holder(text: bytes) -> Holder:
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return Holder()


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"
