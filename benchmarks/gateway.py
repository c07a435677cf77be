"""A real gateway in a process of its own, on a workspace of its own, for the benchmarks of the gateway."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Final

from benchmarks.child import child_environment

COMMAND: Final = ("-m", "miniclaw", "gateway", "--port", "0")

_POLL_SECONDS: Final = 0.002
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 20
_REQUEST: Final = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Gateway:
    """A gateway that was started.

    Attributes:
        process: It.
        socket_path: Where it answers.
    """

    def __init__(self, process: subprocess.Popen[bytes], home: Path, log: Path) -> None:
        self.process = process
        self.socket_path = home / "workspace" / "gateway.sock"
        self._log = log

    def wait_until_ready(self) -> None:
        """Ask over and over, until /readyz answers 200.

        Raises:
            RuntimeError: It has ended, or takes too long.
        """
        deadline = perf_counter() + _START_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or perf_counter() > deadline:
                raise RuntimeError(f"the gateway is not there; it said:\n{self.log()}")
            sleep(_POLL_SECONDS)

    def log(self) -> str:
        """Return what it has written so far."""
        return self._log.read_text(encoding="utf-8")

    def port(self) -> int:
        """Return at which port of the loopback address it listens, once it says so, shortly after it is ready.

        Raises:
            RuntimeError: It has ended, or takes too long.
        """
        deadline = perf_counter() + _START_SECONDS
        while (found := re.search(r"miniclaw is at http://127\.0\.0\.1:(\d+)", self.log())) is None:
            if self.process.poll() is not None or perf_counter() > deadline:
                raise RuntimeError(f"the gateway does not say where it is; it said:\n{self.log()}")
            sleep(_POLL_SECONDS)
        return int(found[1])

    def token(self) -> str:
        """Return what a client has to show at that port."""
        return (self.socket_path.parent / "web-token").read_text(encoding="ascii").strip()

    def _is_ready(self) -> bool:
        with suppress(OSError), _opened(self.socket_path.parent) as folder, socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_STOP_SECONDS)
            client.connect(f"/proc/self/fd/{folder}/{self.socket_path.name}")  # a path could be too long
            client.sendall(_REQUEST)
            return client.recv(64).startswith(b"HTTP/1.1 200")
        return False


@contextmanager
def started(
    *options: str,
    command: Sequence[str] = COMMAND,
    environment: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Iterator[Gateway]:
    """Start a gateway, without waiting for anything; stop it at the end.

    Args:
        options: Of the interpreter.
        command: What the interpreter runs.
        environment: More variables.
        home: Where its workspace lies; None: a new one, which is removed at the end.

    Raises:
        RuntimeError: It does not stop as it should.
    """
    with ExitStack() as resources:
        if home is None:
            # Short: the path of a Unix socket may have 107 bytes.
            home = Path(resources.enter_context(TemporaryDirectory(prefix="mc-")))
        variables = child_environment(**{"MINICLAW_HOME": str(home), **(environment or {})})
        log = home / "log"
        with log.open("wb") as output:
            arguments = [sys.executable, *options, *command]
            process = subprocess.Popen(arguments, env=variables, stdout=output, stderr=output)
        try:
            yield Gateway(process, home, log)
        finally:
            process.terminate()
            try:
                code = process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        if code:
            raise RuntimeError(f"the gateway ended with {code}; it said:\n{log.read_text(encoding='utf-8')}")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
