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
    environment = {**os.environ, "MINICLAW_HOME": str(directory), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(EXAMPLES / name), *args]
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said, address = "", None
            while address is None:
                line = process.stdout.readline()
                assert line, f"the program ended: {said}"
                said, address = said + line, re.search(r"127\.0\.0\.1:(\d+)", line)
            yield int(address[1])
            process.send_signal(signal.SIGINT)
            said += process.communicate(timeout=PATIENCE_SECONDS)[0]
            assert process.returncode == 0, said
            assert not re.search("Traceback|Warning|Exception", said), said
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
