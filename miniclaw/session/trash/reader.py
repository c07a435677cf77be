"""Reading entries of the trash: the lines of all for a listing, or one whole entry. All content is checked."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

from miniclaw.errors import CorruptTrashError, StoreIOError, TrashEntryNotFoundError
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, opened
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.names import split_stamped
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.trash.folder import (
    SUFFIX,
    entry_id_of,
    is_from_quarantine,
    names_in,
    split_entry_id,
    stem_of,
    trash_errors,
)
from miniclaw.session.trash.format import EntryLine, unpack, unpack_line


def newest_ids(folder: Folder) -> list[str]:
    """Return the ids of all entries, the newest removal first, by the times in their names."""
    ids = [entry_id for name, is_file in names_in(folder) if is_file and (entry_id := entry_id_of(name))]
    return sorted(ids, key=lambda entry_id: (entry_id.rpartition(".")[2], entry_id), reverse=True)


def read_some(folder: Folder, entry_ids: Sequence[str]) -> list[TrashEntry]:
    """Return entries as `Trash.entries`, in this order; one that is gone is left out."""
    try:
        with trash_errors(folder.path, "list the trash"), folder.opened() as fd:
            return [entry for entry_id in entry_ids if (entry := _read_entry(folder.fs, fd, entry_id))]
    except StoreIOError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def read_entries(folder: Folder, stem: str | None = None) -> list[TrashEntry]:
    """Return the entries as `Trash.entries`; with a stem, only those whose name has it."""
    ids = [entry_id for name, is_file in names_in(folder) if is_file and (entry_id := entry_id_of(name))]
    if stem is not None:
        ids = [entry_id for entry_id in ids if split_entry_id(entry_id) == stem]
    if not ids:
        return []
    with trash_errors(folder.path, "list the trash"), folder.opened() as fd:
        found = [entry for entry_id in ids if (entry := _read_entry(folder.fs, fd, entry_id))]
    return sorted(found, key=lambda entry: (entry.removed_at, entry.id))


def _read_entry(fs: OsCalls, folder_fd: int, entry_id: str) -> TrashEntry | None:
    stored_size = 0
    try:
        with opened(fs, entry_id + SUFFIX, READ_FLAGS, dir_fd=folder_fd) as fd:
            stored_size = _size_of_file(fs, fd)
            line = unpack_line(partial(fs.read, fd))
        _check_ids(entry_id, line)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problem = f"could not read it: {error.strerror}" if isinstance(error, OSError) else str(error)
        return _damaged(entry_id, stored_size, problem)
    is_from_there = is_from_quarantine(entry_id)
    return TrashEntry(
        id=entry_id,
        session_id=line.session_id or None,
        key=_key_of(entry_id) if is_from_there else line.key,
        removed_at=line.removed_at,
        expires_at=line.expires_at,
        reason=line.reason,
        last_accessed=line.last_accessed,
        size=line.size,
        stored_size=stored_size,
        by=line.by,
        from_quarantine=is_from_there,
    )


def _damaged(entry_id: str, stored_size: int, problem: str) -> TrashEntry | None:
    split = split_stamped(entry_id)
    return split and TrashEntry(
        id=entry_id, key=_key_of(entry_id), removed_at=split[1], stored_size=stored_size, problem=problem,
        from_quarantine=is_from_quarantine(entry_id),
    )  # fmt: skip


def _key_of(entry_id: str) -> str:
    """Return the name of a session's file, or of a file from quarantine, derived from the entry's own name."""
    stem = split_entry_id(entry_id) or entry_id
    split = split_stamped(stem)
    return split[0] if split else stem + names.SUFFIX


def read_session(folder: Folder, entry_id: str) -> bytes:
    """Return the unchanged bytes of an entry's session, or of its file from quarantine; raises as `Trash.read`."""
    path = folder.path / (entry_id + SUFFIX)
    if split_entry_id(entry_id) is None:
        raise TrashEntryNotFoundError(folder.path, entry_id)
    try:
        with (
            trash_errors(path, "read"),
            folder.opened() as folder_fd,
            opened(folder.fs, path.name, READ_FLAGS, dir_fd=folder_fd) as fd,
        ):
            try:
                _size_of_file(folder.fs, fd)
                line, session = unpack(partial(folder.fs.read, fd))
                _check_ids(entry_id, line)
            except ValueError as error:
                raise CorruptTrashError(path, f"it is no sound entry of the trash: {error}") from error
    except StoreIOError as error:
        if error.errno == errno.ENOENT:
            raise TrashEntryNotFoundError(folder.path, entry_id) from error
        if error.errno == errno.ELOOP:
            raise CorruptTrashError(path, "it is a symbolic link, not an entry of the trash") from error
        raise
    return session


def _size_of_file(fs: OsCalls, fd: int) -> int:
    status = fs.fstat(fd)
    if problem := why_no_session_file(status.st_mode):
        raise ValueError(problem)
    return status.st_size


def _check_ids(entry_id: str, line: EntryLine) -> None:
    if is_from_quarantine(entry_id):
        return  # its name may be another session's, perhaps the reason for the quarantine
    if line.last_accessed is None or stem_of(line.session_id) != split_entry_id(entry_id):
        raise ValueError(f"its line names the session {line.session_id[:80]!r}, which has another name")
