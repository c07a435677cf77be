"""Restoring a session from trash or quarantine into its place, synchronously; nothing there is overwritten.

Order on the disk, so that a crash or a power cut at any point leaves the old file or the new one, or both: write the
whole new file · link its name, which fails if the name exists · sync the directory · delete the old file.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from miniclaw.errors import (
    CorruptTrashError,
    SessionFileError,
    SessionTooLargeError,
    StoreError,
    TrashEntryNotFoundError,
)
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantine_folder, quarantined_stem
from miniclaw.session.files.subdirectory import EarlierFolders, Folder
from miniclaw.session.format import codec
from miniclaw.session.names import split_stamped, stamped
from miniclaw.session.removal.free_place import check_is_free, create_beside, create_session
from miniclaw.session.removal.quarantine_files import DISAGREE, is_same_file, read_quarantined
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.trash.folder import SUFFIX, split_entry_id, stem_of
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import Session

log: Final = get_logger("miniclaw.session.trash")


def find_entry(directory: SessionDirectory, trash: Trash, earlier: EarlierFolders | None, text: str) -> TrashEntry:
    """Return the trash entry that a text means, as `Trash.find`; the error names an earlier folder that has it."""
    try:
        return trash.find(text)
    except TrashEntryNotFoundError as error:
        # An entry in a folder that may be shared might belong to another sessions directory.
        if earlier is None or earlier.trash is None or earlier.may_be_shared:
            raise
        outside = Trash(Folder(earlier.trash, fs=directory.fs))
        try:
            outside.find(text)
        except TrashEntryNotFoundError:
            raise error from None
        raise TrashEntryNotFoundError(trash.path, text, outside.path) from None


def session_of(trash: Trash, entry: TrashEntry) -> str:
    """Return the id of the session in an entry.

    Raises:
        CorruptTrashError: The entry is damaged, or is a file from quarantine.
    """
    if entry.from_quarantine:
        raise CorruptTrashError(trash.path_of(entry.id), "it is a file from quarantine and returns only there")
    if entry.session_id is None:
        raise CorruptTrashError(trash.path_of(entry.id), entry.problem)
    return entry.session_id


def restore(directory: SessionDirectory, trash: Trash, entry_id: str, now: datetime) -> str:
    """Put a session from the trash back into its place, as used just now, and delete the entry.

    Args:
        directory: Owned by this process. The caller holds the lock of the session's file, and has made sure that no
            session of that id is in memory.
        trash: The trash that contains the entry.
        entry_id: The entry; see `Trash.find`.
        now: The new `last_accessed`, aware.

    Returns:
        The session's id.

    Durability: the session is on the disk, in its place, when this returns. An entry that cannot be deleted after that
    is logged, and remains until it expires.

    Raises:
        SessionExistsError: There is a session of that id, under any of its names; nothing was changed.
        TrashEntryNotFoundError: There is no such entry.
        CorruptTrashError: The entry is damaged, or holds no session.
        SessionTooLargeError: The file would be too large to be loaded again.
        StoreIOError: The entry still exists. The session may exist as well, if its name could not be synced.
    """
    directory.check_owned()
    session = _decode(trash, entry_id, now)
    _put_in_place(directory, session, now, still_in="the trash")
    _remove_entry(trash, entry_id, "Restored session is still in the trash as well")
    return session.session_id


def restore_quarantined(directory: SessionDirectory, file_id: str, session_id: str, now: datetime) -> None:
    """Put the session of a file in quarantine back into its place, as used just now, and delete the file.

    Args:
        directory: As for `restore`.
        file_id: The file.
        session_id: The session that the file held when the caller examined it.
        now: The new `last_accessed`, aware.

    Durability: as for `restore`. A file that cannot be deleted, or was changed meanwhile, is logged and remains.

    Raises:
        SessionExistsError: There is a session of that id, under any of its names; nothing was changed.
        QuarantinedFileNotFoundError: There is no such file.
        CorruptSessionError: The file holds no session that can be used.
        SessionTooLargeError: The file would be too large to be loaded again.
        StoreIOError: The file is still in quarantine. The session may be in its place as well.
        SessionFileError: The file holds another session by now; nothing was changed.
    """
    directory.check_owned()
    session, status = read_quarantined(directory, file_id)
    path = directory.path / QUARANTINE_NAME / file_id
    if session.session_id != session_id:
        raise SessionFileError(path, "it was changed in this moment; try again")
    _put_in_place(directory, session, now, still_in="quarantine")
    try:
        _remove_quarantined(directory, file_id, status)
    except (OSError, StoreError) as error:
        log.warning("Restored session is still in quarantine as well", path=str(path), reason=str(error))


def _remove_quarantined(directory: SessionDirectory, file_id: str, status: os.stat_result) -> None:
    fs = directory.fs
    with quarantine_folder(directory).opened(to_change=True) as folder:
        if not is_same_file(fs.stat(file_id, dir_fd=folder), status):
            raise OSError("it was changed while it was restored")
        fs.unlink(file_id, dir_fd=folder)
        sync_directory(fs, folder)


def return_to_quarantine(directory: SessionDirectory, trash: Trash, entry_id: str) -> str:
    """Return a file from the trash to quarantine, as moved there just now, and delete its entry.

    Args:
        directory: Owned by this process.
        trash: The trash that contains the entry.
        entry_id: The entry, of a file from quarantine.

    Returns:
        The new id of the file in quarantine.

    Durability: as for `restore`.

    Raises:
        TrashEntryNotFoundError: There is no such entry.
        CorruptTrashError: The entry is damaged.
        StoreIOError: The entry still exists. The file may be in quarantine as well.
    """
    directory.check_owned()
    data = trash.read(entry_id)
    stem = split_entry_id(entry_id.removesuffix(SUFFIX)) or entry_id
    file, _ = split_stamped(stem) or (stem, None)
    file_id = stamped(quarantined_stem(file), directory.now())
    folder = quarantine_folder(directory)
    with store_errors(folder.path, "put back", file_id), folder.made() as folder_fd:
        create_beside(directory, file_id, data, dir_fd=folder_fd)
        sync_directory(directory.fs, folder_fd)
    _remove_entry(trash, entry_id, "File that was put back into quarantine is still in the trash as well")
    return file_id


def _put_in_place(directory: SessionDirectory, session: Session, now: datetime, *, still_in: str) -> None:
    session.last_accessed = now.astimezone(UTC)
    name = names.file_name(session.session_id)
    with store_errors(directory.path / name, "restore"):
        data = codec.encode_session(session)
    if len(data) > codec.MAX_SESSION_BYTES:
        raise SessionTooLargeError(directory.path / name, f"it would have {len(data)} bytes, which are too many")
    check_is_free(directory, session.session_id, "restore")
    create_session(directory, session.session_id, data, "restore")
    with store_errors(directory.path, f"sync; the session is in its place and in {still_in} as well"):
        sync_directory(directory.fs, directory.fd)


def _remove_entry(trash: Trash, entry_id: str, failure: str) -> None:
    for removal in trash.remove([entry_id]):
        if removal.outcome == "failed":
            log.warning(failure, path=str(trash.path_of(entry_id)), reason=removal.reason)


def _decode(trash: Trash, entry_id: str, now: datetime) -> Session:
    try:
        with store_errors(trash.path_of(entry_id), "read"):
            session = codec.decode_session(trash.read(entry_id), now)
        _check_ids(session, entry_id.removesuffix(SUFFIX))
    except ValueError as error:
        raise CorruptTrashError(trash.path_of(entry_id), f"it holds no session that can be used: {error}") from error
    return session


def _check_ids(session: Session, entry_id: str) -> None:
    session_id = session.session_id
    if stem_of(session_id) != split_entry_id(entry_id):
        raise ValueError(f"its content names the session {session_id[:80]!r}, which has another name")
    if not names.agree(session_id, session.channel, session.chat_id):
        raise ValueError(DISAGREE)
