"""The real gateway under signals: a process whose log is read event by event."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.program import Program
from tests.fakes.stalled_pipe import read_soon


class Signalled:
    """A gateway that runs.

    Attributes:
        process: Its process.
        events: All events of its log that were read until now.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._rest = b""

    def read_until(self, event: str) -> dict[str, Any]:
        """Read the log until this event, and return it."""
        while True:
            self.events.append(json.loads(self._read_line()))
            if self.events[-1]["event"] == event:
                return self.events[-1]

    def read_line(self, text: str) -> str:
        """Read the log, in whatever form, until a line with this text; return that."""
        while text not in (line := self._read_line()):
            pass
        return line

    def _read_line(self) -> str:
        while b"\n" not in self._rest:
            assert self.process.stderr is not None
            chunk = read_soon(self.process.stderr.fileno())
            assert chunk, f"it has ended: {self.events}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def send(self, number: int, event: str) -> dict[str, Any]:
        """Send a signal, and read the log until this event; return it."""
        self.process.send_signal(number)
        return self.read_until(event)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        self.send(number, "Gateway stopped")
        return self.process.wait(PATIENCE_SECONDS)


def ignoring(numbers: Sequence[int], *command: str) -> list[str]:
    """Return the command as a shell starts it that ignores these signals."""
    names = " ".join(signal.Signals(number).name.removeprefix("SIG") for number in numbers)
    return ["sh", "-c", f"trap '' {names}; exec \"$@\"" if names else 'exec "$@"', "sh", *command]


@contextmanager
def signalled_gateway(
    program: Program, *options: str, config: Path | None = None, ignored: Sequence[int] = ()
) -> Iterator[Signalled]:
    """Run ``miniclaw gateway`` around a block. It is killed after it.

    Args:
        program: Whose home it has.
        options: Of the command.
        config: Its configuration; None: the usual one.
        ignored: The signals that it is started to ignore.
    """
    named = () if config is None else ("--config", str(config))
    options = options or ("--port", "0")
    command = ignoring(ignored, sys.executable, "-m", "miniclaw", *named, "gateway", *options)
    with subprocess.Popen(
        command, env=program._environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            running = Signalled(process)
            running.read_until("Gateway started")
            yield running
        finally:
            process.kill()
