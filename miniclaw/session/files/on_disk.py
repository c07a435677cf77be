"""The state of a session's file when this process last read or wrote it, and the save that notices another program.

The file system's times have steps of a few milliseconds, or of 2 s on FAT. A change within one step, in place and to
the same size, is not noticed before the next change.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from miniclaw.errors import SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.files import adoption
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.format import codec
from miniclaw.session.format.content import is_same_content
from miniclaw.session.format.footprint import forget_first
from miniclaw.session.types import JSON, Session

if TYPE_CHECKING:
    from miniclaw.session.files.directory import SessionDirectory

Difference: TypeAlias = Literal["same", "gone", "changed"]
"""The difference between a session's file and its state as this process knows it.

``gone``: there was a file, and there is none. ``changed``: there is another file, or a file where there was none.
"""

_ON_DISK: Final = "_on_disk"  # key in the session's __dict__, outside of its fields

_ATTEMPTS: Final = 10  # of one save, while another program changes the file each time

log: Final = get_logger("miniclaw.session.manager")


class OnDisk(Struct, frozen=True, gc=False):
    """The known state of a session's file.

    Attributes:
        inode: Its inode; 0 where inodes do not last over mounts.
        mtime_ns: The time of its last write, in nanoseconds.
        size: Bytes.
        messages: Number of messages in it.
        kept: Number of them that the session has not lost since: its first ones.
        pinned: True if the session is pinned in it.
        metadata: The session's metadata in it.
    """

    inode: int
    mtime_ns: int
    size: int
    messages: int
    kept: int
    pinned: bool
    metadata: dict[str, JSON]

    def is_of(self, status: os.stat_result, *, inodes_last: bool) -> bool:
        """Return whether a status is that of the known file."""
        file = (status.st_ino if inodes_last else 0, status.st_mtime_ns, status.st_size)
        return (self.inode, self.mtime_ns, self.size) == file


_NO_FILE: Final = OnDisk(0, 0, 0, 0, 0, pinned=False, metadata={})


class Written(Struct, frozen=True):
    """The effect of a save on a session's file.

    Attributes:
        session: The content of the file, with its known state: the snapshot itself, or another session that memory has
            to follow. Without a known state there is no file, because all messages were in a file that is gone.
        lost: Number of messages, the first ones, that are gone with the session's file; None: it was not gone.
    """

    session: Session
    lost: int | None = None


class _ChangedMeanwhileError(Exception):
    """A session's file is no longer the one by which its save was decided."""


def on_disk_of(session: Session) -> OnDisk | None:
    """Return the known state of a session's file; None: the session has no file yet."""
    known: OnDisk | None = vars(session).get(_ON_DISK)
    return known


def remember(session: Session, on_disk: OnDisk | None) -> None:
    """Store the known state of a session's file with the session."""
    vars(session)[_ON_DISK] = on_disk


def remember_cut(session: Session, kept: int) -> None:
    """Store with the session that it has lost all but so many of the first messages of its known file."""
    if (known := on_disk_of(session)) is not None:
        remember(session, replace(known, kept=min(known.kept, kept)))


def make_on_disk(status: os.stat_result, session: Session, *, inodes_last: bool) -> OnDisk:
    """Return the known state of a session's file from its status and its content."""
    inode = status.st_ino if inodes_last else 0
    count = len(session.messages)
    return OnDisk(inode, status.st_mtime_ns, status.st_size, count, count, bool(session.pinned), session.metadata)


def compare(directory: SessionDirectory, session: Session) -> Difference:
    """Return how a session's file differs from its known state.

    Raises:
        StoreIOError: The status of the file cannot be read.
    """
    name = names.file_name_of_live(session.session_id)
    return _difference(directory, name, on_disk_of(session), _look(directory, name))


def _difference(
    directory: SessionDirectory, name: str, known: OnDisk | None, status: os.stat_result | None
) -> Difference:
    if status is None:
        # A session that a removal captured and could not put back is not gone.
        return "same" if known is None or name in directory.captured else "gone"
    if known is not None and known.is_of(status, inodes_last=directory.inodes_last):
        return "same"
    return "changed"


def save(directory: SessionDirectory, session: Session) -> Written:
    """Write a session, after a comparison with its file; `SessionDirectory.sync` makes the new name durable.

    If the known file is gone, only the messages that were not in it are written, as a session of their own; without
    such messages no file is written. A file that another program has changed wins, with the session's time of use, if
    nothing else of the session is unsaved. Otherwise a file with anything that the session lacks goes to quarantine,
    and so does a file that cannot be read as the session. A file that changes during the save is compared anew.

    Args:
        directory: The owned directory.
        session: A snapshot. Its known state follows its file, also if the save fails.

    Raises:
        SessionTooLargeError, StoreIOError, OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.write`; another
            program's file is still in its place, or in quarantine.
        SessionFileError: Another program changes the file again and again; likewise.
    """
    name = names.file_name_of_live(session.session_id)
    adoption.make_way(directory, name)
    for _ in range(_ATTEMPTS):
        with suppress(_ChangedMeanwhileError):
            return _save(directory, session, name)
    raise SessionFileError(directory.path / name, f"another program has changed it {_ATTEMPTS} times during the save")


def _save(directory: SessionDirectory, session: Session, name: str) -> Written:
    status = _look(directory, name)
    difference = _difference(directory, name, on_disk_of(session), status)
    written, reason = _decide(directory, session, difference)
    content = written.session
    if difference == "gone" and not content.messages:
        return written

    def make_room() -> None:
        if _state(directory, _look(directory, name)) != _state(directory, status):
            raise _ChangedMeanwhileError
        if reason:
            remember(session, None)  # from now on a missing file is no deletion by another program
            # The session is in memory, and maybe in the journal alone: no `void` before its new file is synced.
            kept = quarantine(directory, name, session_remains=True)
            log.warning(
                "Session file was changed by another program; it is in quarantine, and the session in memory is saved",
                session_id=session.session_id, kept=str(kept), reason=reason,
            )  # fmt: skip
            if _look(directory, name) is not None:
                raise _ChangedMeanwhileError

    new = directory.write(content, make_room=make_room)
    remember(content, make_on_disk(new, content, inodes_last=directory.inodes_last))
    return written


def _decide(directory: SessionDirectory, session: Session, difference: Difference) -> tuple[Written, str]:
    """Return the content to write, and the reason to move the present file to quarantine; empty: it is replaced."""
    known = on_disk_of(session)
    if difference == "same":
        return Written(session), ""
    if difference == "gone" and known is not None:
        rest = codec.snapshot_session(session, session.session_id)
        forget_first(rest, known.kept)
        remember(rest, None)
        return Written(rest, known.kept), ""
    try:
        found = directory.load(session.session_id)
    except StoreError as error:
        return Written(session), str(error)
    if _is_contained(found, session, known):
        return Written(session), ""
    if _has_unsaved(session, known):
        return Written(session), "the session in memory has unsaved changes"
    found.last_accessed = session.last_accessed
    return Written(found), ""


def _look(directory: SessionDirectory, name: str) -> os.stat_result | None:
    """Return the status of a session's file; None: there is no file."""
    with store_errors(directory.path, "look at", name):
        try:
            return directory.fs.stat(name, dir_fd=directory.fd)
        except FileNotFoundError:
            return None


def _state(directory: SessionDirectory, status: os.stat_result | None) -> tuple[int, ...] | None:
    """Return the parts of a status that change with any change of the file or of its name."""
    if status is None:
        return None
    return directory.file_of(status), directory.mark_of(status), status.st_mtime_ns, status.st_size


def _has_unsaved(session: Session, known: OnDisk | None) -> bool:
    """Return whether a session has more than a later use that its known file lacks."""
    if known is None:
        known = _NO_FILE
    saved = (known.messages, known.pinned, known.metadata)
    return known.kept < known.messages or (len(session.messages), bool(session.pinned), session.metadata) != saved


def _is_contained(found: Session, session: Session, known: OnDisk | None) -> bool:
    """Return whether a session has all that its present file has, and that file at least the messages that are known.

    Then the file was touched or copied back, or its file system has given it another inode or time, or it is from a
    save of this process whose rename was reported as failed. The session itself may have more messages, a later use,
    another pin and other metadata than the known file.
    """
    if known is not None and len(found.messages) < known.messages:
        return False
    part = codec.snapshot_session(session, session.session_id)
    del part.messages[len(found.messages) :]
    part.last_accessed = found.last_accessed
    if known is not None and found.pinned == known.pinned:
        part.pinned = found.pinned
    if known is not None and found.metadata == known.metadata:
        part.metadata = found.metadata
    return is_same_content(part, found)
