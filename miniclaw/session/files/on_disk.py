"""The state of a session's file when this process last read or wrote it, by which another program's change is noticed.

The file system's times have steps of a few milliseconds, or of 2 s on FAT. A change within one step, in place and to
the same size, is not noticed before the next change.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.types import Session

Difference: TypeAlias = Literal["same", "gone", "changed"]
"""The difference between a session's file and its state as this process knows it.

``gone``: there was a file, and there is none. ``changed``: there is another file, or a file where there was none.
"""

_ON_DISK: Final = "_on_disk"  # key in the session's __dict__, outside of its fields


class OnDisk(Struct, frozen=True, gc=False):
    """The known state of a session's file.

    Attributes:
        inode: Its inode; 0 where inodes do not last over mounts.
        mtime_ns: The time of its last write, in nanoseconds.
        size: Bytes.
        messages: Number of messages in it: the first ones of the session.
    """

    inode: int
    mtime_ns: int
    size: int
    messages: int


class Written(Struct, frozen=True):
    """The effect of a save on a session's file.

    Attributes:
        on_disk: The file; None: there is none, because all messages of the session were in a file that is gone.
        lost: Number of messages, the first ones, that are gone with the session's file.
        kept: Path in quarantine of a file that another program had put in the session's place; None: there was none.
    """

    on_disk: OnDisk | None
    lost: int = 0
    kept: Path | None = None


def on_disk_of(session: Session) -> OnDisk | None:
    """Return the known state of a session's file; None: the session has no file yet."""
    known: OnDisk | None = vars(session).get(_ON_DISK)
    return known


def remember(session: Session, on_disk: OnDisk | None) -> None:
    """Store the known state of a session's file with the session."""
    vars(session)[_ON_DISK] = on_disk


def make_on_disk(status: os.stat_result, *, messages: int, inodes_last: bool) -> OnDisk:
    """Return the known state of a session's file from its status."""
    return OnDisk(status.st_ino if inodes_last else 0, status.st_mtime_ns, status.st_size, messages)
