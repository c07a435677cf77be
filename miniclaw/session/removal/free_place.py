"""Creating a session's file in a free place of the sessions directory: nothing is ever overwritten."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from miniclaw.errors import SessionExistsError, StoreIOError
from miniclaw.session import names
from miniclaw.session.disk.atomic import (
    Content,
    create_exclusively,
    name_exclusively,
    store_errors,
    temporary_name,
    unlink_quietly,
)
from miniclaw.session.disk.spelling import is_spelled
from miniclaw.session.files.adoption import make_way
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.places import Voided
from miniclaw.session.removal.staging import StagingArea


def check_is_free(directory: SessionDirectory, session_id: str, operation: str) -> None:
    """Check that no file has any of a session's names.

    Args:
        directory: Owned by this process. The caller holds the lock of the session's file.
        session_id: The session that would get the place.
        operation: An infinitive, for errors.

    Raises:
        SessionExistsError: A file has one of the names, be it a session or not. A file that an earlier removal left
            captured counts as well.
        StoreIOError: The names cannot be checked.
    """
    for name in names.file_names(session_id):
        path = directory.path / name
        with store_errors(path, operation):
            StagingArea(directory).settle(name)
            is_spelled_so = is_spelled(directory.fs, directory.fd, name)
        if is_spelled_so:
            raise SessionExistsError(path, session_id)
    make_way(directory, names.file_name(session_id))


def create_session(directory: SessionDirectory, session_id: str, content: Content, operation: str) -> None:
    """Create a session's own file, as `create_beside`; the operation is an infinitive, for errors.

    The caller has made sure that the session is not in memory.

    Raises:
        SessionExistsError: The name is taken; the file there is unchanged.
        StoreIOError: The file was not created, as after a failure to make earlier records in the journal count no more.
    """
    name = names.file_name(session_id)
    try:
        with store_errors(directory.path / name, operation):
            # The journal may have records of an earlier life, which must not join this one.
            voided = Voided(directory, [name])
            with _written(directory, content) as (temporary, work):
                voided.put(temporary, name, src_dir_fd=work)
    except StoreIOError as error:
        if error.errno == errno.EEXIST:
            raise SessionExistsError(directory.path / name, session_id) from error
        raise


def create_beside(directory: SessionDirectory, name: str, content: Content, *, dir_fd: int) -> None:
    """Create a file, synced, under a free name in a folder of ours: at any moment it is absent or whole.

    Args:
        directory: Owned by this process.
        name: The file.
        content: Its content.
        dir_fd: The folder, which is not the sessions directory itself.

    Durability: the content is on the disk when this returns; the name is once the caller has synced the directory.

    Raises:
        FileExistsError: The name is taken; the file there is unchanged.
        OSError: The file was not created. The same holds for any exception from making the pieces of `content`.
    """
    with _written(directory, content) as (temporary, work):
        name_exclusively(directory.fs, temporary, name, src_dir_fd=work, dst_dir_fd=dir_fd)


@contextmanager
def _written(directory: SessionDirectory, content: Content) -> Iterator[tuple[str, int]]:
    """Write content into a temporary file, synced; yield its name and the work folder, and unlink it at the end."""
    fs = directory.fs
    with directory.work() as work, temporary_name(directory.under_way) as temporary:
        create_exclusively(fs, temporary, content, dir_fd=work)
        try:
            yield temporary, work
        finally:
            unlink_quietly(fs, temporary, dir_fd=work)
