"""The seam between the session store and the operating system.

Every system call on the sessions directory is a method here, relative to a directory descriptor. A test can make each
call fail, wait or never return, and a reader sees every operation on the files in one place. No decision is made here.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final, TypeAlias

Bytes: TypeAlias = bytes | bytearray | memoryview

FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
"""The fcntl of macOS that also flushes the drive's cache, in which its fsync leaves the content."""

GET_PATH: Final[int | None] = getattr(fcntl, "F_GETPATH", None)
"""The fcntl of macOS for the path of an open file; Linux has a link in /proc."""

_NO_FULL_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})


class OsCalls:
    """The real calls. Each raises `OSError` like the function that it wraps."""

    @property
    def is_root(self) -> bool:
        """True if this process runs as root, and may give files away."""
        return os.geteuid() == 0

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size: int) -> bytes:
        return os.read(fd, size)

    def readv(self, fd: int, buffers: list[bytearray] | list[memoryview]) -> int:
        return os.readv(fd, buffers)

    def read_ahead(self, fd: int, size: int) -> None:
        if hasattr(os, "posix_fadvise"):  # macOS has none
            os.posix_fadvise(fd, 0, size, os.POSIX_FADV_WILLNEED)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: Bytes) -> int:
        return os.write(fd, data)

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def fsync(self, fd: int) -> None:
        if not _full_sync(fd):
            os.fsync(fd)

    def sync_data(self, fd: int) -> None:
        """Sync the content, and of the metadata only as much as reading it needs: `fdatasync`, which macOS lacks."""
        if not _full_sync(fd):
            getattr(os, "fdatasync", os.fsync)(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        os.fchown(fd, uid, gid)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def fstatvfs(self, fd: int) -> os.statvfs_result:
        return os.fstatvfs(fd)

    def stat(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        os.unlink(name, dir_fd=dir_fd)

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)

    def rmdir(self, name: str, *, dir_fd: int | None = None) -> None:
        os.rmdir(name, dir_fd=dir_fd)

    def scandir(self, fd: int) -> os._ScandirIterator[str]:
        return os.scandir(fd)

    def flock(self, fd: int, operation: int) -> None:
        fcntl.flock(fd, operation)

    def path_of(self, fd: int) -> str:
        if GET_PATH is not None:
            return os.fsdecode(fcntl.fcntl(fd, GET_PATH, bytes(1024)).rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{fd}")


def _full_sync(fd: int) -> bool:
    """Flush the content and the drive's cache by `FULL_SYNC`; return False if this system or file system has none."""
    if FULL_SYNC is None:
        return False
    try:
        fcntl.fcntl(fd, FULL_SYNC)
    except OSError as error:
        if error.errno not in _NO_FULL_SYNC:
            raise
        return False
    return True
