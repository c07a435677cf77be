"""Opening directories and files, creating directories privately, and sentences about other things in their place."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from miniclaw.errors import SessionsDirectoryError, SessionsDirectoryMissingError
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, PRIVATE_DIR, READ_FLAGS, ROOT, give_to_owner, opened
from miniclaw.session.disk.sync import sync_directory_at
from miniclaw.session.disk.syscalls import OsCalls

RACY_SECONDS: Final = 2
"""The step of the coarsest clock of a file system, FAT's: a change within it may leave the times of a file the same."""


def open_subdirectory(fs: OsCalls, name: str, *, dir_fd: int) -> int:
    """Open one of our own directories inside another one; a missing one is created with mode 0700."""
    try:
        fs.mkdir(name, PRIVATE_DIR, dir_fd=dir_fd)
    except FileExistsError:
        return fs.open(name, DIRECTORY_FLAGS, dir_fd=dir_fd)
    fd = fs.open(name, DIRECTORY_FLAGS, dir_fd=dir_fd)
    give_to_owner(fs, fd, dir_fd=dir_fd)
    return fd


def open_directory(fs: OsCalls, path: Path, *, create: bool) -> int:
    """Open a private directory by its path.

    Args:
        fs: The system calls.
        path: The directory. Its last component may not be a link, and the one before not a link of another user; see
            `why_not_followed`.
        create: Create it, and its missing parents, with mode 0700.

    Raises:
        SessionsDirectoryMissingError: It is missing, and not to be created.
        SessionsDirectoryError: It is a link or no directory, or it cannot be opened or created.
    """
    if problem := why_not_followed(path.parent):
        raise SessionsDirectoryError(path.parent, problem)
    try:
        return fs.open(str(path), DIRECTORY_FLAGS)
    except FileNotFoundError:
        if not create:
            raise SessionsDirectoryMissingError(path) from None
    except OSError as error:
        raise SessionsDirectoryError(path, _why_no_directory(path, error)) from error
    try:
        make_private(fs, path)
        return fs.open(str(path), DIRECTORY_FLAGS)
    except OSError as error:
        raise SessionsDirectoryError(path, f"could not create it: {error.strerror}") from error


def make_private(fs: OsCalls, path: Path) -> None:
    """Create a directory and its missing parents, with mode 0700 and durably; another process may create them as well.

    Raises:
        OSError: It cannot be created. If its name is taken by a file, opening it is the error.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        with suppress(FileExistsError):
            fs.mkdir(str(directory), PRIVATE_DIR)
            if fs.is_root:
                with (
                    opened(fs, str(directory.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as parent,
                    opened(fs, directory.name, DIRECTORY_FLAGS, dir_fd=parent) as made,
                ):
                    give_to_owner(fs, made, dir_fd=parent)
        sync_directory_at(fs, str(directory.parent))


def why_not_followed(path: Path) -> str | None:
    """Return the reason not to follow a path; None for a link of this process's user or of root, and for no link.

    Another user's link could lead root to any directory of root's, which would be made private and written to.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None  # it is missing, or the open() that follows raises the reason
    if not stat.S_ISLNK(status.st_mode) or status.st_uid in {ROOT, os.geteuid()}:
        return None
    return (
        f"it is a symbolic link of another user (uid {status.st_uid}), which is not followed; "
        "put the directory itself there, or use the path that it leads to"
    )


def _why_no_directory(path: Path, error: OSError) -> str:
    # os.path returns False where pathlib would raise for a parent that may not be searched.
    if os.path.islink(path):
        return "it is a symbolic link; give the directory that it points to"
    if os.path.exists(path) and not os.path.isdir(path):
        return "it is not a directory"
    return f"could not open it: {error.strerror}"


@contextmanager
def opened_to_read(fs: OsCalls, name: str, *, dir_fd: int) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file, yield it with its status, and close it on leaving.

    Raises:
        OSError: It cannot be opened, or it is no regular file: a device may have no end.
    """
    with opened(fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:
        status = fs.fstat(fd)
        if problem := why_no_session_file(status.st_mode):
            raise OSError(errno.EINVAL, problem)
        yield fd, status


def is_our_own(status: os.stat_result) -> bool:
    """Return whether a file may be written in place: it is regular, and no second hard link shares it."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def why_no_session_file(mode: int) -> str | None:
    """Return the reason why a file of this mode cannot hold a session, or None."""
    return None if stat.S_ISREG(mode) else f"it is {_kind(mode)}, not a file"


def why_no_directory(mode: int) -> str | None:
    """Return the reason why a file of this mode is no directory, or None."""
    return None if stat.S_ISDIR(mode) else f"it is {_kind(mode)}, not a directory"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
