"""Syncs of contents and names to the disk, on every file system that can rename.

A refused sync means one of two things:

* The file system *cannot* sync this: EINVAL, ENOTSUP, ENOSYS, and for a directory also EBADF (CIFS, some kinds of FUSE,
  9p and virtiofs). That is one WARNING for each file system, and the work continues: no retry would help, and an error
  would prevent every save.
* The sync has *failed*: EIO, ENOSPC, EDQUOT, EROFS and any other error. It is raised, because the content of the disk
  is unknown.

A file system may also lack other abilities: each shortcoming is logged once for each file system (`log_shortcoming`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from miniclaw.loggers import get_logger
from miniclaw.session.disk.syscalls import OsCalls

NO_FILE_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""Error numbers of fsync() and fdatasync() on a file system that cannot sync files."""

NO_DIRECTORY_SYNC: Final = NO_FILE_SYNC | {errno.EBADF}
"""The same for directories: CIFS has no handle of a directory that it could sync."""

_NOT_TO_READ: Final = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR})

FILES_UNSYNCED: Final = "File system cannot sync files; a power cut may take what was saved just before"
DIRECTORIES_UNSYNCED: Final = (
    "File system cannot sync directories; a power cut may undo what was saved or removed just before"
)

# Device and sentence -> a token of the call that logged them. Any thread may add one, in one atomic step.
_logged: Final[dict[tuple[int, str], object]] = {}

log: Final = get_logger("miniclaw.session.store")


def sync_file(fs: OsCalls, fd: int) -> None:
    """Sync the content of an open file to the disk, if its file system can.

    Raises:
        OSError: The content is not on the disk.
    """
    _sync(fs, fd, fs.fsync, NO_FILE_SYNC, FILES_UNSYNCED)


def sync_data(fs: OsCalls, fd: int) -> None:
    """Sync the content of an open file as `sync_file`, but not its times; cheaper where the file does not grow.

    Raises:
        OSError: The content is not on the disk.
    """
    _sync(fs, fd, fs.sync_data, NO_FILE_SYNC, FILES_UNSYNCED)


def sync_directory(fs: OsCalls, fd: int) -> None:
    """Sync the names in an open directory to the disk, if its file system can.

    Raises:
        OSError: The names are not on the disk.
    """
    _sync(fs, fd, fs.fsync, NO_DIRECTORY_SYNC, DIRECTORIES_UNSYNCED)


def sync_directory_at(fs: OsCalls, path: str) -> None:
    """Sync the names in a directory, given by its path, as `sync_directory`.

    A directory that may be changed but not read (mode 0300) cannot be opened for a sync. That is a WARNING, as on a
    file system that cannot sync.

    Raises:
        OSError: The names are not on the disk.
    """
    try:
        fd = fs.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NOT_TO_READ:
            raise
        log.warning("Directory cannot be read, nor synced; a power cut may take what is made in it",
                    path=path, error=error.strerror)  # fmt: skip
        return
    try:
        sync_directory(fs, fd)
    finally:
        with suppress(OSError):
            fs.close(fd)


def _sync(fs: OsCalls, fd: int, sync: Callable[[int], None], cannot: frozenset[int], event: str) -> None:
    try:
        sync(fd)
    except OSError as error:
        if error.errno not in cannot:
            raise
        log_shortcoming(fs, fd, event, error)


def log_shortcoming(fs: OsCalls, fd: int, event: str, error: OSError) -> None:
    """Log a WARNING, unless this process has already logged it for the file system of this file or directory.

    The event is a constant sentence: the missing ability, and the promise that is lost with it.

    Raises:
        OSError: `fd` is no open descriptor.
    """
    device = fs.fstat(fd).st_dev
    token = object()
    if _logged.setdefault((device, event), token) is token:
        path = ""
        with suppress(OSError):  # /proc may not be mounted
            path = fs.path_of(fd)
        log.warning(event, path=path, error=error.strerror)
