"""The disk itself: a FUSE file system of one file, the image, that logs what it is told. A process of its own.

Of its own, so that whoever waits for the disk can be killed, and so that the kernel fails what waits for a disk that
was killed: a process that waits in the kernel for itself can only be rid of by a restart of the machine.

The base image is never changed. Caches are off, or the kernel would answer for the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from tests.crashimages.disk_log import Flush, Write, encode_entry

FILE_NAME: Final = "disk"

_FILE_INODE: Final = pyfuse3.ROOT_INODE + 1
_HANDLE: Final = 1
_CACHE_SECONDS: Final = 300  # names and sizes do not change


class _Disk(pyfuse3.Operations):  # type: ignore[misc]  # counts as untyped, because it is not installed everywhere
    def __init__(self, base: Path, log: Path) -> None:
        super().__init__()
        with base.open("rb") as file:
            self._disk = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._log_fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = inode
        attributes.attr_timeout = attributes.entry_timeout = _CACHE_SECONDS
        if inode == _FILE_INODE:
            attributes.st_mode = stat.S_IFREG | 0o600
            attributes.st_size = len(self._disk)
        else:
            attributes.st_mode = stat.S_IFDIR | 0o700
        return attributes

    async def lookup(self, parent_inode: int, name: bytes, ctx: object = None) -> pyfuse3.EntryAttributes:
        if name != FILE_NAME.encode():
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(_FILE_INODE)

    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=_HANDLE, direct_io=True)

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        return self._disk[offset : offset + size]

    # No checkpoint in these two: the order of the log is the order in which things happened.

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        self._disk[offset : offset + len(data)] = data
        os.writev(self._log_fd, encode_entry(Write(offset, data)))
        return len(data)

    async def fsync(self, handle: int, datasync: bool) -> None:
        os.writev(self._log_fd, encode_entry(Flush()))

    async def flush(self, handle: int) -> None:
        """A descriptor was closed: for a disk that means nothing."""

    async def release(self, handle: int) -> None:
        pass


def run_disk(base: Path, log: Path, mountpoint: Path, owner: Connection) -> None:
    """Mount it and say so to the owner; serve it until the owner is gone.

    Args:
        base: The image as it is before the first write.
        log: Gets a record for each write and flush, complete before it is answered.
        mountpoint: Where the file will be; the mounts are those of the owner.
        owner: Gets None, or why it could not be mounted.
    """
    try:
        pyfuse3.init(_Disk(base, log), str(mountpoint), {"fsname=crashimages"})
    except (OSError, RuntimeError) as error:
        owner.send(f"could not mount: {error}")
        return
    try:
        owner.send(None)
        trio.run(_serve, owner)
    finally:
        pyfuse3.close(unmount=True)


async def _serve(owner: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pyfuse3.main)
        await trio.lowlevel.wait_readable(owner.fileno())  # it only ever closes it
        nursery.cancel_scope.cancel()
