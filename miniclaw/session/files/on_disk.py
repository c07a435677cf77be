"""The state of a session's file when this process last read or wrote it, and the save that notices another program.

The file system's times have steps of a few milliseconds, or of 2 s on FAT. A change within one step, in place and to
the same size, is not noticed before the next change.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.files import adoption
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.format.footprint import forget_first
from miniclaw.session.types import Session

if TYPE_CHECKING:
    from miniclaw.session.files.directory import SessionDirectory

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


def compare(directory: SessionDirectory, session: Session) -> Difference:
    """Return how a session's file differs from its known state.

    Raises:
        StoreIOError: The status of the file cannot be read.
    """
    name = names.file_name_of_live(session.session_id)
    known = on_disk_of(session)
    with store_errors(directory.path, "look at", name):
        try:
            status = directory.fs.stat(name, dir_fd=directory.fd)
        except FileNotFoundError:
            # A session that a removal captured and could not put back is not gone.
            return "same" if known is None or name in directory.captured else "gone"
    if known is not None and _on_disk(directory, status, known.messages) == known:
        return "same"
    return "changed"


def save(directory: SessionDirectory, session: Session) -> Written:
    """Write a session, after a comparison with its file; `SessionDirectory.sync` makes the new name durable.

    If the known file is gone, only the messages that were not in it are written, as a session of their own; without
    such messages no file is written. A file with other messages, which another program has put in its place, is
    moved to quarantine.

    Args:
        directory: The owned directory.
        session: A snapshot; messages that are gone with the file are removed from it.

    Raises:
        SessionTooLargeError, StoreIOError, OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.write`; another
            program's file is still in its place, or in quarantine.
    """
    adoption.make_way(directory, names.file_name_of_live(session.session_id))
    known, difference = on_disk_of(session), compare(directory, session)
    lost = 0
    kept: list[Path] = []
    if difference == "gone" and known is not None:
        lost = known.messages
        forget_first(session, lost)
        if not session.messages:
            return Written(None, lost)
    is_other = difference == "changed" and not _is_contained(directory, session, known)
    status = directory.write(
        session, make_room=lambda name: kept.append(quarantine(directory, name)) if is_other else None
    )
    return Written(_on_disk(directory, status, len(session.messages)), lost, kept[0] if kept else None)


def _on_disk(directory: SessionDirectory, status: os.stat_result, messages: int) -> OnDisk:
    return make_on_disk(status, messages=messages, inodes_last=directory.inodes_last)


def _is_contained(directory: SessionDirectory, session: Session, known: OnDisk | None) -> bool:
    """Return whether a session has all messages of its present file, and that file at least as many as are known.

    Then the file was touched or copied back, or its file system has given it another inode or time, or it is from a
    save of this process whose rename was reported as failed.
    """
    try:
        found = directory.load(session.session_id).messages
    except StoreError:
        return False
    is_shorter = known is not None and len(found) < known.messages
    return not is_shorter and found == session.messages[: len(found)]
