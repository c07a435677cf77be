"""Taking a session out of the trash, synchronously: it gets its place again, and can overwrite nothing there.

Order on the disk, so that a crash or a power cut at any point leaves the entry or the session, or both: the session's
new file, whole · its name, by a link that fails where something stands · sync the directory · remove the entry.
"""

from __future__ import annotations

import errno
from datetime import UTC, datetime

from miniclaw.errors import CorruptTrashError, SessionExistsError, SessionTooLargeError, StoreIOError
from miniclaw.session import codec, names
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.durability import sync_directory
from miniclaw.session.files import NO_LINKS, create_exclusively, store_errors, temporary_name, unlink_quietly
from miniclaw.session.fs import Bytes
from miniclaw.session.logs import get_logger
from miniclaw.session.putting_back import settle_captured
from miniclaw.session.trash import Trash
from miniclaw.session.trash_folder import SUFFIX, split_entry_id, stem_of
from miniclaw.session.types import Session

log = get_logger("miniclaw.session.trash")


def restore(directory: SessionDirectory, trash: Trash, entry_id: str, now: datetime) -> str:
    """Put a session from the trash back into its place, as used just now, and remove the entry.

    Args:
        directory: Owned by this process. The caller holds the lock of the session's file, and has made sure that there
            is no session of that id in memory.
        trash: Where the entry lies.
        entry_id: The entry; see `Trash.find`.
        now: What becomes `last_accessed`, aware.

    Returns:
        The session's id.

    Durability: the session is on the disk, in its place, when this returns. An entry that could not be removed after
    that is logged, and stays until it expires.

    Raises:
        SessionExistsError: There is a session of that id, under any of its names; nothing was changed.
        TrashEntryNotFoundError: There is no such entry.
        CorruptTrashError: It is damaged, or holds no session.
        SessionTooLargeError: It would be a file that could not be loaded again.
        StoreIOError: The entry is still there; and so may be the session, where its name could not be synced.
    """
    directory.check_owned()
    session = _decode(trash, entry_id)
    session.last_accessed = now.astimezone(UTC)
    data = codec.encode_session(session)
    name = names.file_name(session.session_id)
    if len(data) > codec.MAX_SESSION_BYTES:
        raise SessionTooLargeError(directory.path / name, f"it would have {len(data)} bytes, which are too many")
    _check_is_free(directory, session.session_id)
    try:
        with store_errors(directory.path / name, "restore"):
            _create(directory, name, data)
    except StoreIOError as error:
        if error.errno == errno.EEXIST:
            raise SessionExistsError(directory.path / name, session.session_id) from error
        raise
    with store_errors(directory.path, "sync; the session is in its place and in the trash as well"):
        sync_directory(directory.fs, directory.fd)
    for removal in trash.remove([entry_id]):
        if removal.outcome == "failed":
            path = str(trash.path_of(entry_id))
            log.warning("Restored session is still in the trash as well", path=path, reason=removal.reason)
    return session.session_id


def _decode(trash: Trash, entry_id: str) -> Session:
    try:
        session = codec.decode_session(trash.read(entry_id))
        _check_ids(session, entry_id.removesuffix(SUFFIX))
    except ValueError as error:
        raise CorruptTrashError(trash.path_of(entry_id), f"it holds no session that can be used: {error}") from error
    return session


def _check_ids(session: Session, entry_id: str) -> None:
    session_id = session.session_id
    if stem_of(session_id) != split_entry_id(entry_id):
        raise ValueError(f"its content names the session {session_id[:80]!r}, which has another name")
    if not names.belongs(names.file_name(session_id), session_id, session.channel, session.chat_id):
        raise ValueError("its ids do not agree with one another")


def _check_is_free(directory: SessionDirectory, session_id: str) -> None:
    for name in names.file_names(session_id):
        path = directory.path / name
        with store_errors(path, "restore"):
            settle_captured(directory, name)  # an earlier removal that the system refused may have left it aside
            try:
                directory.fs.stat(name, dir_fd=directory.fd)
            except FileNotFoundError:
                continue
        raise SessionExistsError(path, session_id)


def _create(directory: SessionDirectory, name: str, data: Bytes) -> None:
    """Create the session's file, synced, where there is none.

    Raises:
        FileExistsError: There is one.
        OSError: It was not created.
    """
    fs = directory.fs
    with directory.work() as work, temporary_name(directory.under_way) as temporary:
        create_exclusively(fs, temporary, data, dir_fd=work)
        try:
            fs.link(temporary, name, src_dir_fd=work, dst_dir_fd=directory.fd)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            create_exclusively(fs, name, data, dir_fd=directory.fd)
        finally:
            unlink_quietly(fs, temporary, dir_fd=work)
