"""A session's file as this process has read or written it last: how another program's change is noticed.

The file system's times have steps of a few milliseconds, or of 2 s on FAT: a change within one step, in place and to
the same size, is not noticed before the next one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.types import Session

Difference: TypeAlias = Literal["same", "gone", "changed"]
"""How a session's file differs from the one that this process knows.

``gone``: there was one, and there is none. ``changed``: there is another one, or one where there was none.
"""

_ON_DISK: Final = "_on_disk"  # key in the session's __dict__, outside of its fields


class OnDisk(Struct, frozen=True, gc=False):
    """A session's file.

    Attributes:
        inode: Its number; 0 where numbers do not last.
        mtime_ns: When it was written last, in nanoseconds.
        size: Bytes.
        messages: How many messages it holds: the first ones of the session.
    """

    inode: int
    mtime_ns: int
    size: int
    messages: int


class Written(Struct, frozen=True):
    """What a save did to a session's file.

    Attributes:
        on_disk: The file; None: there is none, because all that the session had was in one that is gone.
        lost: How many messages, the first ones, were in a file that is gone: they are gone with it.
        kept: Where the file is now that another program had put in the session's place; None: there was none.
    """

    on_disk: OnDisk | None
    lost: int = 0
    kept: Path | None = None


def on_disk_of(session: Session) -> OnDisk | None:
    """Return the file that is known of a session; None: it has none yet."""
    known: OnDisk | None = vars(session).get(_ON_DISK)
    return known


def remember(session: Session, on_disk: OnDisk | None) -> None:
    """Note what is known of a session's file."""
    vars(session)[_ON_DISK] = on_disk


def make_on_disk(status: os.stat_result, *, messages: int, inodes_last: bool) -> OnDisk:
    """Return what is known of a file by its state."""
    return OnDisk(status.st_ino if inodes_last else 0, status.st_mtime_ns, status.st_size, messages)
