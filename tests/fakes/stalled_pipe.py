"""A pipe that is full and is not read, until a test reads it."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.fakes.patience import PATIENCE_SECONDS

_FILLING = b"."
_SMALL_BYTES = 4096


def read_soon(fd: int, most: int = 65_536) -> bytes:
    """Return what there is to read, once there is something; nothing where the other end was closed."""
    readable, _, _ = select.select([fd], [], [], PATIENCE_SECONDS)
    assert readable, "nothing came"
    return os.read(fd, most)


class StalledPipe:
    """A full pipe.

    Attributes:
        writer: The descriptor to write to; it blocks until the pipe is read.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self.writer = writer
        self._reader = reader
        self._filled = 0

    def fill(self) -> None:
        """Fill it to the last byte."""
        os.set_blocking(self.writer, False)
        with suppress(BlockingIOError):
            while True:
                self._filled += os.write(self.writer, _FILLING)
        os.set_blocking(self.writer, True)

    def close_reader(self) -> None:
        """Let what is written fail from now on."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    def read_filling(self) -> None:
        """Make the pipe empty."""
        while self._filled:
            self._filled -= len(read_soon(self._reader, self._filled))

    def read_until(self, end: bytes) -> bytes:
        """Read until something was written; return what was written until then, the filling left out."""
        data = b""
        while end not in data:
            chunk = read_soon(self._reader)
            assert chunk, data
            data += chunk
        assert data.startswith(_FILLING * self._filled)
        data, self._filled = data[self._filled :], 0
        return data


@contextmanager
def stalled_pipe() -> Iterator[StalledPipe]:
    """Have a full pipe for a block; both ends are closed after it."""
    reader, writer = os.pipe()
    pipe = StalledPipe(reader, writer)
    try:
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _SMALL_BYTES)
        pipe.fill()
        yield pipe
    finally:
        pipe.close_reader()
        os.close(writer)
