"""Privacy of a directory from the other users of a machine, where its file system has users and modes.

FAT, and many shares and mounts of containers, give one mode to all files. There the mount options decide how private
the files are.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import PRIVATE_DIR
from miniclaw.session.disk.syscalls import OsCalls

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

log: Final = get_logger("miniclaw.files")


def keep_others_out(fs: OsCalls, fd: int, path: Path) -> None:
    """Make an open directory private, mode 0700; log a WARNING with its path if it is still open to others.

    Raises:
        OSError: Its mode cannot be read.
    """
    was = stat.S_IMODE(fs.fstat(fd).st_mode)
    if not was & ~PRIVATE_DIR:
        return
    reason: str | None = "its file system keeps no modes; mount it with umask=077"
    try:
        fs.fchmod(fd, PRIVATE_DIR)
    except OSError as error:
        reason = error.strerror
    now = stat.S_IMODE(fs.fstat(fd).st_mode)
    if now & OTHERS:
        log.warning(
            "Directory is open to other users; its owner should make it private: chmod 700",
            path=str(path), mode=f"{now:04o}", reason=reason,
        )  # fmt: skip
    else:
        log.info("Directory made private", path=str(path), was=f"{was:04o}", now="0700")


def keeps_modes(directory: Path) -> bool:
    """Return whether a file created as private in a directory is private; True if no file can be created there."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            return not os.fstat(file.fileno()).st_mode & OTHERS
    except OSError:
        return True
