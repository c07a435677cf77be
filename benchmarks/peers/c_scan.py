"""The C loop of `scan.c`, built where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.figure import UnavailableError


class CScan:
    """The built program.

    Args:
        folder: Where it is built.

    Raises:
        UnavailableError: There is no compiler, or it fails.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise UnavailableError("there is no C compiler (`cc`) in PATH")
        self._program = folder / "scan"
        source = Path(__file__).with_name("scan.c")
        done = subprocess.run(
            [compiler, "-O2", "-o", str(self._program), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnavailableError(f"`cc` failed: {done.stderr.strip().splitlines()[:1]}")

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
