"""The real gateway, in a process of its own, beside commands that share its home."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.fakes.program import TIMEOUT_SECONDS, Program


@contextmanager
def gateway_beside(
    program: Program, *, prepared_by: str = "", log: Path | int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run ``miniclaw gateway`` at any port around a block; it is there when the block begins, and killed after it.

    Args:
        program: Whose home it has.
        prepared_by: Python that is run in its process before.
        log: Where its log goes: a file, or a descriptor.
    """
    with open(os.devnull if log is None else log, "wb", closefd=not isinstance(log, int)) as logged:
        process = _start(program, prepared_by, logged)
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], TIMEOUT_SECONDS)
        line = process.stdout.readline() if readable else ""
        assert line.startswith("miniclaw is at "), line
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def _start(program: Program, prepared_by: str, log: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{prepared_by}\nfrom miniclaw.cli import main; main()", "gateway", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=log,
        env=program._environment({}),
        text=True,
    )
