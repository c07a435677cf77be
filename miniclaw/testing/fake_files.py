"""The runtime's system calls on a fake file system of pyfakefs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from miniclaw.session.disk.syscalls import Bytes, OsCalls

P = ParamSpec("P")
T = TypeVar("T")


class FakeFileCalls(OsCalls):
    """System calls for `open_runtime(…, fs=FakeFileCalls(fs))`, where ``fs`` is the fixture of pyfakefs.

    pyfakefs lacks some calls of `os`, and would pass the numbers of its fake files on to the real ones; and it is not
    made for threads. Here those calls work on the fake files, and one call at a time is made. Locks are not faked:
    nothing keeps a second runtime from the same directory. Nothing here shows what survives a power cut.

    Args:
        fs: The fixture ``fs`` of pyfakefs, a `FakeFilesystem`.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return found if name.startswith("_") or not callable(found) else partial(self._one_at_a_time, found)

    def _one_at_a_time(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return call(*args, **kwargs)

    def _at(self, fd: int, offset: int, call: Callable[[], T]) -> T:
        """Call with the position of a file at an offset; the position is afterwards as it was."""
        file = self._fs.get_open_file(fd)
        before = file._io.tell()  # `os.lseek` of pyfakefs returns none
        os.lseek(fd, offset, os.SEEK_SET)
        try:
            return call()
        finally:
            os.lseek(fd, before, os.SEEK_SET)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read at an offset."""
        return self._at(fd, offset, partial(os.read, fd, size))

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        """Write at an offset."""
        return self._at(fd, offset, partial(os.write, fd, bytes(data)))

    def readv(self, fd: int, buffers: list[bytearray] | list[memoryview]) -> int:
        """Read into buffers."""
        count = 0
        for buffer in buffers:
            data = os.read(fd, len(buffer))
            buffer[: len(data)] = data
            count += len(data)
        return count

    def read_ahead(self, fd: int, size: int) -> None:
        """Do nothing: fake files are in memory."""

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Do nothing: fake files have no owner to whom it would matter."""

    def flock(self, fd: int, operation: int) -> None:
        """Do nothing: only one program sees the fake files."""

    def fstatvfs(self, fd: int) -> os.statvfs_result:  # noqa: ARG002 - there is one file system
        """Return the numbers of the fake file system."""
        return os.statvfs(self._fs.root_dir_name)

    def path_of(self, fd: int) -> str:
        """Return the path of an open file."""
        return os.fsdecode(self._fs.get_open_file(fd).get_object().path)
