"""Who owns a sessions directory, for somebody who only looks."""

from __future__ import annotations

import errno
import fcntl
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from miniclaw.session.directory import LOCK_NAME, SessionDirectory
from miniclaw.session.files import READ_FLAGS, opened, store_errors
from miniclaw.session.types import AwareDatetime

_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})
_READ_BYTES: Final = 200


class Holder(Struct, frozen=True):
    """The process that owns a directory.

    Attributes:
        pid: Its id, as it wrote it; None where it could not.
        since: Since when, likewise.
    """

    pid: int | None = None
    since: AwareDatetime | None = None

    def __str__(self) -> str:
        who = "another process" if self.pid is None else f"process {self.pid}"
        return who if self.since is None else f"{who}, since {_time(self.since)}"


_decode: Final = msgspec.json.Decoder(Holder).decode


def find_holder(directory: SessionDirectory) -> Holder | None:
    """Return who owns a directory; None: nobody does.

    Whether somebody does tells the lock alone, and not what stands in its file. It is asked with a shared lock that
    waits for nobody and is given up at once; somebody who wants to own the directory in just these microseconds is
    refused, and has to try again.

    Raises:
        StoreIOError: The lock cannot be read.
    """
    fs = directory.fs
    with store_errors(directory.path / LOCK_NAME, "look at"):
        try:
            with opened(fs, LOCK_NAME, READ_FLAGS, dir_fd=directory.fd) as fd:
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
