"""Unlinking our own files in one folder: each after a last check, and all of them durably."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeAlias

from miniclaw.errors import StoreError
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import OsCalls

Unlinked: TypeAlias = tuple[Literal["removed", "vanished", "failed"], int, str]
"""The outcome for one file, the bytes freed on the disk, and a sentence if the outcome is ``failed``."""


def unlink_all(
    fs: OsCalls,
    folder: Callable[[], AbstractContextManager[int]],
    path: Path,
    names: Sequence[str],
    unlink: Callable[[int, str], int],
) -> list[Unlinked]:
    """Unlink files of one folder, and sync it.

    Args:
        fs: The system calls.
        folder: Opens the folder for a block.
        path: The folder, for messages.
        names: The files.
        unlink: Unlinks one file in the open folder and returns the bytes freed; with an `OSError` or a `StoreError`,
            the file is kept.

    Durability: a file that is reported as removed is deleted from the disk.

    Returns:
        One outcome for each name, in their order.
    """
    if not names:
        return []
    try:
        with folder() as fd:
            done = [_unlink(unlink, fd, name) for name in names]
            try:
                sync_directory(fs, fd)
            except OSError as error:
                lost: Unlinked = ("failed", 0, f"removed, but a power cut may bring it back: {error.strerror}")
                return [lost if each[0] == "removed" else each for each in done]
            return done
    except FileNotFoundError:
        return [("vanished", 0, "")] * len(names)
    except OSError as error:
        return [("failed", 0, f"could not open {path}: {error.strerror}")] * len(names)


def _unlink(unlink: Callable[[int, str], int], fd: int, name: str) -> Unlinked:
    try:
        return "removed", unlink(fd, name), ""
    except FileNotFoundError:
        return "vanished", 0, ""
    except OSError as error:
        return "failed", 0, f"could not remove it: {error.strerror}"
    except StoreError as error:
        return "failed", 0, str(error)


def unlink_file(fs: OsCalls, name: str, *, dir_fd: int) -> int:
    """Unlink a regular file, and return the bytes freed on the disk: 0 if it has another hard link.

    Raises:
        StoreError: It is no regular file.
        OSError: It was not unlinked.
    """
    status = fs.stat(name, dir_fd=dir_fd)
    if problem := why_no_session_file(status.st_mode):
        raise StoreError(problem)
    fs.unlink(name, dir_fd=dir_fd)
    return status.st_size if status.st_nlink == 1 else 0
