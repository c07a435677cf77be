"""Stranded sessions, left in the middle of a removal by a process that died, as a reader sees them.

The next owner of the directory puts them back (`miniclaw.session.removal.staging`). Until then a reader treats them
as if they were back: a dry run lists all sessions that a run would remove, and a person who asks for their data gets
all of it. While the directory has an owner, captured sessions are the owner's concern, and a reader ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.ownership.holder import find_holder

WORK_NAME: Final = ".work"
BATCH_PREFIX: Final = "rm-"


def find_stranded(fs: OsCalls, dir_fd: int, path: Path) -> dict[str, str]:
    """Return the names of stranded sessions whose places are free, each with its folder.

    Args:
        fs: The system calls.
        dir_fd: The sessions directory, not owned by this process.
        path: Its path, for messages.
    """
    found: dict[str, str] = {}
    try:
        if find_holder(fs, dir_fd, path) is not None:
            return {}
        with opened(fs, WORK_NAME, DIRECTORY_FLAGS, dir_fd=dir_fd) as work:
            with fs.scandir(work) as entries:
                folders = sorted(entry.name for entry in entries if entry.name.startswith(BATCH_PREFIX))
            for folder in folders:
                with opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work) as fd, fs.scandir(fd) as entries:
                    for name in [entry.name for entry in entries if names.is_session_file(entry.name)]:
                        found.setdefault(name, folder)
        return {name: folder for name, folder in found.items() if _is_free(fs, name, dir_fd)}
    except (OSError, StoreError):
        return {}  # there was no owner yet, or it cannot be examined, which the next owner reports


def _is_free(fs: OsCalls, name: str, dir_fd: int) -> bool:
    try:
        fs.stat(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    return False


@contextmanager
def folder_opened(fs: OsCalls, folder: str, dir_fd: int) -> Iterator[int]:
    """Open the folder of a stranded session.

    Raises:
        OSError: It cannot be opened.
    """
    with (
        opened(fs, WORK_NAME, DIRECTORY_FLAGS, dir_fd=dir_fd) as work,
        opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work) as fd,
    ):
        yield fd
