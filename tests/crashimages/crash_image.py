"""A disk that takes the state of one crash after another, and a start-up on each."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from miniclaw.errors import StoreError
from tests.crashimages.disk_log import Crash, DiskLog, Write
from tests.crashimages.recording import SESSIONS_NAME
from tests.fakes.said import Said
from tests.powercut.image import Image
from tests.powercut.ledger import Findings, Ledger
from tests.powercut.start_up import StartUp

_SLICE_BYTES: Final = 64 * 1024


class UnmountableError(Exception):
    """The kernel does not mount what the crash has left."""


class CrashImage:
    """The image after a crash; to be asked for crashes in the order of their positions.

    The disk is put back to what is flushed after each, by comparison: mounting and starting up write to it.
    """

    def __init__(self, kind: str, base: Path, log: DiskLog, directory: Path) -> None:
        path = directory / "crashed.img"
        _copy(base, path)
        with base.open("rb") as file:
            self._flushed = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._disk = mmap.mmap(self._fd, 0)
        self._log = log
        self._position = 0
        self._image = Image(kind, path, directory / "crashed")
        self._start = StartUp()

    def close(self) -> None:
        self._image.close()
        self._disk.close()
        self._flushed.close()
        os.close(self._fd)

    def examine(self, crash: Crash, ledger: Ledger, said: Said) -> Findings:
        """Mount what the crash has left, start up, and compare with the ledger and with what was said by that moment.

        Raises:
            UnmountableError: It cannot be mounted.
        """
        self._show(crash)
        try:
            self._image.mount()
        except OSError as error:
            raise UnmountableError(str(error)) from error
        path = self._image.mountpoint / SESSIONS_NAME

        async def start_and_check() -> Findings:
            async with self._start.opened(path):
                return self._start.check(path, ledger, said)

        try:
            return trio.run(start_and_check)
        except (OSError, StoreError) as error:
            return Findings(left=[f"the start-up failed: {error}"])
        finally:
            self._image.unmount()

    def _show(self, crash: Crash) -> None:
        self._restore()
        for write in self._log.surely(self._position, crash):
            _put(self._flushed, write)
            _put(self._disk, write)
        self._position = crash.flushed
        for write in self._log.maybe(crash):
            _put(self._disk, write)
        self._image.forget()

    def _restore(self) -> None:
        for start, end in self._data():
            for offset in range(start, end, _SLICE_BYTES):
                part = slice(offset, min(offset + _SLICE_BYTES, end))
                if self._disk[part] != (flushed := self._flushed[part]):
                    self._disk[part] = flushed

    def _data(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges of the disk that are no holes."""
        end = 0
        while True:
            try:
                start = os.lseek(self._fd, end, os.SEEK_DATA)
            except OSError:  # no more
                return
            end = os.lseek(self._fd, start, os.SEEK_HOLE)
            yield start, end


def build(base: Path, log: DiskLog, crash: Crash, path: Path) -> None:
    """Make the image after one crash, in a file of its own."""
    _copy(base, path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as disk:
        for write in [*log.surely(0, crash), *log.maybe(crash)]:
            _put(disk, write)


def _copy(base: Path, path: Path) -> None:
    # With holes for zeros: only what is no hole needs to be compared later.
    subprocess.run(["cp", "--sparse=always", str(base), str(path)], check=True)


def _put(disk: mmap.mmap, write: Write) -> None:
    disk[write.offset : write.offset + len(write.data)] = write.data
