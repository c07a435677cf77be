"""`python -m benchmarks.gateway_start`: from starting the program until it is ready, against importing its libraries.

The peer is a bare interpreter that imports the same modules of others (the standard library's, too) in the same order,
and says so: everything that the gateway's own code adds to that is ours. Both are timed by a process that waits for
them; bytecode is compiled and files are in the page cache before the first round.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Final

from msgspec import Struct

from benchmarks.child import child_environment
from benchmarks.figure import interleave
from benchmarks.gateway import started

MOST_OF_IMPORTING: Final = 1.3
"""The goal: at most this many times what importing the libraries takes."""

ROUNDS: Final = 7

_IMPORTED: Final = re.compile(r"^import time:\s*\d+ \|\s*\d+ \|\s*(\S+)$", re.MULTILINE)
_READY: Final = b"ready\n"
_IMPORT: Final = """\
import importlib, os, sys
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
os.write(1, b"ready\\n")
"""


class StartTimes(Struct, frozen=True):
    """Seconds, one of each per round.

    Attributes:
        gateway: Until /readyz answers 200.
        importing: Until the libraries are imported.
        modules: How many modules were imported.
    """

    gateway: tuple[float, ...]
    importing: tuple[float, ...]
    modules: int

    @property
    def ratio(self) -> float:
        """The median of the gateway over that of importing."""
        return median(self.gateway) / median(self.importing)


def measure(rounds: int = ROUNDS) -> StartTimes:
    """Start both by turns.

    Raises:
        RuntimeError: The gateway does not start, or does not stop.
    """
    modules = modules_of_others()
    _time_gateway()
    _time_importing(modules)
    gateway, importing = interleave(rounds, _time_gateway, partial(_time_importing, modules))
    return StartTimes(gateway, importing, len(modules))


def modules_of_others() -> list[str]:
    """Return the modules that a gateway has imported until it is ready, but for its own, in their order."""
    with started("-X", "importtime") as gateway:
        gateway.wait_until_ready()
        text = gateway.log()
    found = dict.fromkeys(_IMPORTED.findall(text))
    return [name for name in found if name.partition(".")[0] != "miniclaw"]


def _time_gateway() -> float:
    begin = perf_counter()
    with started() as gateway:
        gateway.wait_until_ready()
        return perf_counter() - begin


def _time_importing(modules: Sequence[str]) -> float:
    begin = perf_counter()
    command = [sys.executable, "-c", _IMPORT]
    with subprocess.Popen(command, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(modules).encode())
        process.stdin.close()
        if process.stdout.readline() != _READY:
            raise RuntimeError("the libraries could not be imported")
        return perf_counter() - begin


def report(times: StartTimes) -> str:
    """Return the table and the goal, as Markdown."""
    rows = {"`miniclaw gateway` until /readyz says 200": times.gateway, "importing the same modules": times.importing}
    verdict = "met" if times.ratio <= MOST_OF_IMPORTING else "MISSED"
    lines = [
        "| | ms | lowest to highest |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {median(seconds) * 1000:.0f} | {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} |"
            for name, seconds in rows.items()
        ),
        "",
        f"- {verdict}: start until ready takes {times.ratio:.2f} times as "
        f"long as importing the {times.modules} modules of others that it uses; goal: at most {MOST_OF_IMPORTING}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 0 whether the goal is met or not, for machines differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_start", description="Time the start.")
    parser.add_argument("--repeats", type=int, default=ROUNDS, metavar="N", help=f"rounds (default: {ROUNDS})")
    print(report(measure(max(1, parser.parse_args(arguments).repeats))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
