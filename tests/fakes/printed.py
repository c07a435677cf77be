"""The output of a console, in a file of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class Printed:
    """A file to print to.

    Attributes:
        fd: Its descriptor.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def data(self) -> bytes:
        """All that was printed until now."""
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)

    @property
    def text(self) -> str:
        return self.data.decode()


@contextmanager
def printing() -> Iterator[Printed]:
    """Have a file to print to, for a block."""
    with tempfile.TemporaryFile() as file:
        yield Printed(file.fileno())
