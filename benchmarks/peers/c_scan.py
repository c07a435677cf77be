"""The C loop of `scan.c`, built where there is a compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.peers.c_program import build


class CScan:
    """The built program.

    Args:
        folder: Where it is built.

    Raises:
        UnavailableError: There is no compiler, or it fails.
    """

    def __init__(self, folder: Path) -> None:
        self._program = build(folder, "scan")

    def seconds(self, directory: Path, count: int) -> float:
        """Return how long it takes by its own clock, without the start of the process.

        Raises:
            RuntimeError: It has not read `count` files.
        """
        done = subprocess.run([self._program, directory], capture_output=True, text=True, check=True)
        nanoseconds, files = parse(done.stdout)
        if files != count:
            raise RuntimeError(f"the C loop has read {files} of {count} files")
        return nanoseconds / 1e9


def parse(text: str) -> tuple[int, int]:
    """Return nanoseconds and files from what the program prints.

    Raises:
        ValueError: It is something else.
    """
    nanoseconds, files = text.split()
    return int(nanoseconds), int(files)
