"""The C programs of this folder, built where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.figure import UnavailableError


def build(folder: Path, name: str) -> Path:
    """Build the program of this name into a folder, and return its path.

    Raises:
        UnavailableError: There is no compiler, or it fails.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("there is no C compiler (`cc`) in PATH")
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    done = subprocess.run([compiler, "-O2", "-o", program, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"`cc` failed: {done.stderr.strip().splitlines()[:1]}")
    return program
