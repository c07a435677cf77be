"""Moving a session to another chat, synchronously: it gets another id and another place, and is in both for a moment.

Order on the disk, so that a crash or a power cut at any point leaves the session under its old id, under its new one,
or whole under both: write the whole new file · link its name, which fails if the name exists · remove the old file as
every session is removed (`miniclaw.session.removal.transaction`), which syncs the directory before it unlinks. If a
crash left both, a repeated move finds the new file complete, and continues with the removal.

The old file is removed only if the new one is, to the last byte, the file that a move of the captured one would write:
an edit by another program meanwhile is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from miniclaw.errors import NotRemovedError, SessionExistsError, SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, fill, opened, store_errors
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.syscalls import Bytes
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.format.content import content_of
from miniclaw.session.removal.free_place import check_is_free, create_session
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import remove_checked
from miniclaw.session.types import Session

CALLED_OFF: Final = "the disk did not answer in time, or the program ends; nothing was moved"

_STILL_HERE: Final = "the session was moved, and is still here as well"

_GONE: Final = frozenset({"removed", "vanished"})

log: Final = get_logger("miniclaw.session.store")


class Relocation(Struct, frozen=True):
    """The result of moving a session.

    Attributes:
        last_accessed: Last use of the session; a move does not count as use.
        size: Bytes of the file that is removed; 0 if another program removed it meanwhile.
    """

    last_accessed: datetime
    size: int


def relocate(directory: SessionDirectory, session_id: str, target_id: str, may_begin: Callable[[], bool]) -> Relocation:
    """Give a session another id; only its ids and the name of its file change.

    Args:
        directory: Owned by this process. The caller holds the locks of both ids, has saved all changes of the session,
            and has no session of the new id in memory.
        session_id: The session.
        target_id: The new id.
        may_begin: Called once, before any change; may block. If it returns False, the move is called off.

    Durability: the session is on the disk under its new id, and deleted under the old one, when this returns. If a
    power cut may undo the deletion, a WARNING is logged.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionExistsError: There is a session of the new id, under any of its names; nothing was changed.
        CorruptSessionError, MismatchedSessionError: The session cannot be read; nothing was changed.
        SessionTooLargeError: The file would be too large to be loaded again.
        StoreIOError: Nothing was changed.
        NotRemovedError: The session has its new place, and the old file still exists: the message gives the reason, and
            the same move again continues.
        SessionFileError: The move was called off, or the session has a second file; nothing was changed. Or another
            program changed the old file after it was copied: it is in its place, and the copy in the new one.
    """
    directory.check_owned()
    source, target = names.file_name(session_id), names.file_name(target_id)
    session = _load(directory, session_id)
    moved = codec.snapshot_session(session, target_id)
    is_there = _is_there(directory, moved)
    if not may_begin():
        raise SessionFileError(directory.path / source, CALLED_OFF)
    if not is_there:
        with store_errors(directory.path / target, "create"):
            content = content_of(moved, directory.path, target)
        create_session(directory, target_id, content, "create")
    return Relocation(session.last_accessed, _remove(directory, session_id, target_id))


def _load(directory: SessionDirectory, session_id: str) -> Session:
    """Load a session, which then has its own file name and no second file."""
    own, *bare = names.file_names(session_id)
    with store_errors(directory.path / own, "move"):
        for name in (own, *bare):
            StagingArea(directory).settle(name)
    session = directory.load(session_id, adopt=True)
    for name in bare:
        row = directory.read_row(name)
        if isinstance(row, StoredSession) and row.header.session_id == session_id:
            reason = f"it is a second file of the session {session_id!r}; move one of them out of the way first"
            raise SessionFileError(directory.path / name, reason)
    return session


def _is_there(directory: SessionDirectory, moved: Session) -> bool:
    """Return whether the new file already exists, left by an interrupted move; another file there is an error."""
    try:
        check_is_free(directory, moved.session_id, "move")
    except SessionExistsError as error:
        if error.path.name != names.file_name(moved.session_id) or not _is_written(directory, moved):
            raise
        return True
    return False


def _is_written(directory: SessionDirectory, session: Session) -> bool:
    """Return whether a session's own file has the content that a save of the session would write."""
    fs, name = directory.fs, names.file_name(session.session_id)
    content = content_of(session, directory.path, name)
    pieces: Iterable[Bytes] = (content,) if isinstance(content, (bytes, bytearray, memoryview)) else content
    with store_errors(directory.path / name, "read"):
        status = fs.stat(name, dir_fd=directory.fd)
        if why_no_session_file(status.st_mode):
            return False
        written = 0
        with opened(fs, name, READ_FLAGS, dir_fd=directory.fd) as fd:
            for piece in pieces:
                there = bytearray(len(piece))
                try:
                    fill(fs, fd, memoryview(there))
                except ValueError:  # the file is shorter
                    return False
                if there != piece:
                    return False
                written += len(piece)
    return written == status.st_size


def _remove(directory: SessionDirectory, session_id: str, target_id: str) -> int:
    """Remove the old file, if the new one has all of it, and return its size; raises as `relocate`."""

    def is_moved(data: bytes) -> bool:
        try:
            captured = codec.decode_session(data)
        except ValueError:
            return False
        return _is_written(directory, codec.snapshot_session(captured, target_id))

    name = names.file_name(session_id)
    path = directory.path / name
    try:
        removal = remove_checked(directory, name, is_moved)
    except MemoryError as error:
        raise NotRemovedError(
            path, f"{_STILL_HERE}: the memory does not suffice to compare it; move it again"
        ) from error
    except StoreError as error:
        raise NotRemovedError(path, f"{_STILL_HERE}: {error}; move it again") from error
    if removal.outcome == "kept":
        reason = f"another program has changed it meanwhile; the session {target_id!r} is without that change"
        raise SessionFileError(path, f"{_STILL_HERE}: {reason}. Delete one of the two")
    if removal.outcome == "unsynced":
        log.warning("Moved session may come back after a power cut", path=str(path))
    elif removal.outcome not in _GONE:
        raise NotRemovedError(path, f"{_STILL_HERE}: {removal.reason}; move it again")
    return removal.size
