"""The logged disk, as seen by its owner: started, attached, asked where its log has got to."""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.crashimages.disk_log import DiskLog, decode_log
from tests.powercut.image import CannotRunError

_END_SECONDS: Final = 10


class LoggedDisk:
    """A disk that is being served. Made by `logged_disk`."""

    def __init__(self, path: Path, log: Path) -> None:
        self.path = path
        self._log = log
        self._fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)

    def log_size(self) -> int:
        """Return where the log has got to; see `DiskLog.position`."""
        return os.fstat(self._fd).st_size

    def log(self) -> DiskLog:
        """Return the log until now."""
        return decode_log(self._log.read_bytes())

    def close(self) -> None:
        os.close(self._fd)


def check_needs() -> None:
    """Look for what the disk needs beside root and loop devices.

    Raises:
        CannotRunError: It is not there; the text says how to get it.
    """
    try:
        importlib.import_module("pyfuse3")
    except ImportError as error:
        raise CannotRunError(
            f"{error} (apt-get install libfuse3-dev fuse3 pkg-config, then pip install pyfuse3; "
            "`nox -s crashimages` does the latter)"
        ) from error
    if not os.path.exists("/dev/fuse"):
        raise CannotRunError("/dev/fuse is missing (modprobe fuse; for a container, --device /dev/fuse)")


@contextmanager
def logged_disk(base: Path, directory: Path) -> Iterator[LoggedDisk]:
    """Serve a disk that begins as `base`; its log and its mount point lie in the directory, an empty one.

    Raises:
        CannotRunError: It could not be mounted.
    """
    from tests.crashimages import fuse

    log, mountpoint = directory / "log", directory / "served"
    mountpoint.mkdir()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=fuse.run_disk, args=(base, log, mountpoint, theirs))
    process.start()
    theirs.close()
    try:
        with ours:
            problem: str | None = "the server ended"
            with suppress(EOFError):
                problem = ours.recv()
            if problem is not None:
                raise CannotRunError(f"FUSE: {problem}")
            disk = LoggedDisk(mountpoint / fuse.FILE_NAME, log)
            try:
                yield disk
            finally:
                disk.close()
    finally:
        process.join(_END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
