"""Starts the program in a process of its own, without the time that an interpreter and the imports take.

A helper process, `tests.fakes.starter` as a program, has imported everything and forks a child for each call. The child
gets its own arguments, environment, working directory and standard streams, runs ``python -m miniclaw`` in them, and
ends as an interpreter does. What the start itself does (imports, streams that are closed, early signals) this does not
show: tests of that start an interpreter.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, TextIO, cast

import miniclaw

# Read when an interpreter starts.
_OF_THE_INTERPRETER: Final = ("PYTHON", "LC_", "LANG")
_MAX_REQUEST_BYTES: Final = 200_000
_LEFT_OUT: Final = ("miniclaw.__main__",)


class Started:
    """A process that the helper has forked.

    Attributes:
        pid: Its number.
    """

    def __init__(self, told: BufferedReader) -> None:
        self._told = told
        self._code: int | None = None
        self.pid = int(told.readline())

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code, as `subprocess.Popen.wait` does.

        Args:
            timeout: In seconds; None: for ever.

        Raises:
            TimeoutExpired: It did not end.
        """
        if self._code is None:
            readable, _, _ = select.select([self._told], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired("miniclaw", timeout or 0)
            with self._told:
                self._code = os.waitstatus_to_exitcode(int(self._told.readline()))
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self.send_signal(signal.SIGKILL)


def _write_all(fd: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(fd, "wb") as file:
        file.write(data)


def _read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


class Starter:
    """The helper process, as those see it who have programs started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "PYTHONPATH": str(Path(miniclaw.__file__).parents[1]), "TERM": "dumb"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self._end, os.getpid())

    def start(
        self,
        args: Sequence[str],
        environment: Mapping[str, str],
        streams: Sequence[int],
        *,
        terminal: bool = False,
        prepared_by: str = "",
    ) -> Started:
        """Start the program.

        Args:
            args: Its arguments.
            environment: All of its environment variables.
            streams: The descriptors that become its standard streams.
            terminal: Whether the first of them is to be its controlling terminal.
            prepared_by: Python that is run in its process before.
        """
        request = {
            "args": list(args),
            "environment": dict(environment),
            "cwd": os.getcwd(),
            "terminal": terminal,
            "prepared_by": prepared_by,
        }
        data = json.dumps(request).encode()
        assert len(data) < _MAX_REQUEST_BYTES
        reading, writing = os.pipe()
        with self._lock:
            socket.send_fds(self._socket, [data], [*streams, writing])
        os.close(writing)
        return Started(open(reading, "rb"))

    def run(
        self,
        args: Sequence[str],
        environment: Mapping[str, str],
        data: bytes,
        timeout: float,
        *,
        prepared_by: str = "",
    ) -> tuple[int, bytes, bytes]:
        """Run the program to the end, with pipes for its standard streams.

        Args:
            args: As of `start`.
            environment: As of `start`.
            data: Its standard input.
            timeout: How many seconds it may take.
            prepared_by: As of `start`.

        Returns:
            Its exit code, its standard output and its standard error.

        Raises:
            TimeoutExpired: It did not end; it is killed then.
        """
        (stdin, feeding), (showing, out), (telling, err) = os.pipe(), os.pipe(), os.pipe()
        process = self.start(args, environment, [stdin, out, err], prepared_by=prepared_by)
        for fd in (stdin, out, err):
            os.close(fd)
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write_all, feeding, data)
            written = [pool.submit(_read_all, fd) for fd in (showing, telling)]
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
                process.wait()
            return code, written[0].result(), written[1].result()

    def _end(self, owner: int) -> None:
        if os.getpid() == owner:  # not in a process that a test has forked
            self._socket.close()
            self._process.wait()


@functools.cache
def starter() -> Starter:
    """Return the one of this process; it is started at the first call."""
    return Starter()


def can_start(environment: Mapping[str, str]) -> bool:
    """Return whether the helper can start a program in these variables, beside those of this process.

    Not while coverage is measured, which takes an interpreter that ends for each of its files.
    """
    return (
        hasattr(os, "pidfd_open")
        and "COVERAGE_PROCESS_CONFIG" not in os.environ
        and not any(name.startswith(_OF_THE_INTERPRETER) for name in environment)
    )


class _Helper:
    """The helper process itself."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._running: dict[int, tuple[int, int]] = {}  # by the descriptor of the process: its pid, and whom to tell
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def serve(self) -> Callable[[], None] | None:
        """Start what is asked for. Return None at the end, and in each child what it is to do."""
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._requests.fileno():
                    self._tell_the_end(fd)
                    continue
                data, fds, _, _ = socket.recv_fds(self._requests, _MAX_REQUEST_BYTES, 4)
                if not data:
                    return None
                if (child := self._fork(json.loads(data), fds)) is not None:
                    return child

    def _fork(self, request: dict[str, Any], fds: list[int]) -> Callable[[], None] | None:
        *streams, told = fds
        pid = os.fork()
        if not pid:
            return functools.partial(_become, request, streams)
        for stream in streams:
            os.close(stream)
        os.write(told, f"{pid}\n".encode())
        fd = os.pidfd_open(pid)
        self._running[fd] = pid, told
        self._poll.register(fd, select.POLLIN)
        return None

    def _tell_the_end(self, fd: int) -> None:
        pid, told = self._running.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        _, status = os.waitpid(pid, 0)
        os.write(told, f"{status}\n".encode())
        os.close(told)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the program, in a child."""
    if request["terminal"]:
        os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(len(streams), 1 << 20)
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.stdin = _stream(0, "r", sys.stdin)
    sys.stdout = _stream(1, "w", sys.stdout)
    sys.stderr = _stream(2, "w", sys.stderr, buffering=1)
    sys.argv[:] = ["", *request["args"]]
    gc.enable()
    exec(request["prepared_by"], {"__name__": "__main__"})  # noqa: S102 - a test's own text
    runpy.run_module("miniclaw", run_name="__main__", alter_sys=True)


def _stream(fd: int, mode: str, like: TextIO, buffering: int = -1) -> TextIO:
    """Return a standard stream as an interpreter makes it."""
    return cast("TextIO", open(fd, mode, buffering, like.encoding, like.errors, closefd=False))


def _import_all() -> None:
    for module in pkgutil.walk_packages(miniclaw.__path__, "miniclaw."):
        if module.name not in _LEFT_OUT:
            __import__(module.name)


def main(fd: str) -> None:
    gc.disable()
    _import_all()
    gc.freeze()
    requests = socket.socket(fileno=int(fd))
    child = _Helper(requests).serve()
    requests.detach()  # a child has a file of its own under that number
    if child is not None:
        child()


if __name__ == "__main__":
    main(*sys.argv[1:])
