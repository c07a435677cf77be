"""A program in examples/, run as its readers run it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.patience import PATIENCE_SECONDS

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def example(name: str, *args: str, directory: Path) -> Iterator[int]:
    """Run an example for a block, which gets the port that it listens at; Ctrl-C ends it then, and it ends well.

    Args:
        name: The file's name.
        args: Its arguments.
        directory: Its working directory, and the home of miniclaw.
    """
    environment = {**os.environ, "MINICLAW_HOME": str(directory), "PYTHONDEVMODE": "1"}
    command = [sys.executable, str(EXAMPLES / name), *args]
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert address is not None, f"{line}{process.communicate(timeout=PATIENCE_SECONDS)}"
            yield int(address[1])
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, errors
            assert not re.search("Traceback|Warning|Exception", errors), errors
        finally:
            process.kill()


@contextmanager
def connection(port: int) -> Iterator[socket.SocketIO]:
    """Connect to a port of this machine, for lines."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connected,
        connected.makefile("rwb", buffering=0) as lines,
    ):
        yield lines
