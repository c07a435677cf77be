"""System calls of file systems that can do little more than rename: FAT, network shares, what containers are lent."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.os_calls import FaultyOs, with_numbers


class PoorFileSystem(OsCalls):
    """The real calls, but for what the file system lacks; all of it unless an attribute says otherwise.

    Attributes:
        ignores_case: Names are kept as they are written, and found in any case and any Unicode normal form. A file keeps
            the spelling of its name when another one is renamed over it.
        syncs_directories: Whether a directory can be synced.
        links: Whether a file can have two names.
        locks: Whether anything can be locked.
        modes: Whether files have modes of their own; else everything is open to everybody.
    """

    ignores_case = True
    syncs_directories = False
    links = False
    locks = False
    modes = False

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        return super().open(self._spelled(path, dir_fd), flags, mode, dir_fd=dir_fd)

    def stat(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return self._opened(super().stat(self._spelled(name, dir_fd), dir_fd=dir_fd))

    def fstat(self, fd: int) -> os.stat_result:
        return self._opened(super().fstat(fd))

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        source, target = self._spelled(source, src_dir_fd), self._spelled(target, dst_dir_fd)
        super().rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if not self.links:
            _refuse(errno.EPERM)
        source, target = self._spelled(source, src_dir_fd), self._spelled(target, dst_dir_fd)
        super().link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        super().unlink(self._spelled(name, dir_fd), dir_fd=dir_fd)

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        super().mkdir(self._spelled(path, dir_fd), mode, dir_fd=dir_fd)

    def rmdir(self, name: str, *, dir_fd: int | None = None) -> None:
        super().rmdir(self._spelled(name, dir_fd), dir_fd=dir_fd)

    def fsync(self, fd: int) -> None:
        if not self.syncs_directories and stat.S_ISDIR(os.fstat(fd).st_mode):
            _refuse(errno.EINVAL)
        super().fsync(fd)

    def flock(self, fd: int, operation: int) -> None:
        if not self.locks:
            _refuse(errno.ENOLCK)
        super().flock(fd, operation)

    def fchmod(self, fd: int, mode: int) -> None:
        if not self.modes:
            _refuse(errno.EPERM)
        super().fchmod(fd, mode)

    def _opened(self, status: os.stat_result) -> os.stat_result:
        return status if self.modes else with_numbers(status, mode=status.st_mode | 0o077)

    def _spelled(self, name: str, dir_fd: int | None) -> str:
        """Return the name as its directory spells it, if it is there."""
        if not self.ignores_case or dir_fd is None or name == "." or os.access(name, os.F_OK, dir_fd=dir_fd):
            return name
        folded = _folded(name)
        return next((found for found in os.listdir(dir_fd) if _folded(found) == folded), name)


class PoorOs(PoorFileSystem, FaultyOs):
    """The same, with faults besides.

    Args:
        has: What the file system has after all, by the names of the attributes; `ignores_case` is no lack.
    """

    def __init__(self, **has: bool) -> None:
        super().__init__()
        for name, value in has.items():
            setattr(self, name, value)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", name.casefold())


def _refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))
