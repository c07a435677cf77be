"""`python -m benchmarks.gateway_memory`: what an idle gateway takes of the memory, served at an address and ready.

The peer is a bare interpreter of the same kind, which does nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import sleep
from typing import Final

from benchmarks.gateway import started
from benchmarks.memory import Memory, memory_of

MOST_BYTES: Final = 80_000_000
"""The goal: at most so much resident memory."""

IDLE_SECONDS: Final = 3
"""How long the gateway is left alone before it is looked at."""

ROUNDS: Final = 3

_BARE: Final = "import os, sys; os.write(1, b'x'); sys.stdin.read()"


def measure(rounds: int = ROUNDS) -> tuple[list[Memory], Memory]:
    """Return the memory of a gateway in each round, and that of a bare interpreter.

    Raises:
        RuntimeError: The gateway does not start, or does not stop.
        OSError: The system does not say; that takes Linux.
    """
    return [_gateway() for _ in range(rounds)], _bare()


def _gateway() -> Memory:
    with started() as gateway:
        gateway.wait_until_ready()
        sleep(IDLE_SECONDS)
        return memory_of(gateway.process.pid)


def _bare() -> Memory:
    with subprocess.Popen([sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(1)
        return memory_of(process.pid)


def report(gateways: Sequence[Memory], bare: Memory) -> str:
    """Return the table and the goal, as Markdown."""
    rss, pss = (median(getattr(each, kind) for each in gateways) for kind in ("rss", "pss"))
    highest = max(each.rss for each in gateways)
    verdict = "met" if highest <= MOST_BYTES else "MISSED"
    lines = [
        "| | RSS, MB | PSS, MB |",
        "| --- | ---: | ---: |",
        f"| `miniclaw gateway`, idle for {IDLE_SECONDS} s | {rss / 1e6:.1f} | {pss / 1e6:.1f} |",
        f"| a bare interpreter | {bare.rss / 1e6:.1f} | {bare.pss / 1e6:.1f} |",
        "",
        f"- {verdict}: an idle gateway takes {rss / 1e6:.1f} MB of resident memory, "
        f"{highest / 1e6:.1f} at most; goal: at most {MOST_BYTES / 1e6:.0f}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 0 whether the goal is met or not, for machines differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_memory", description="Weigh an idle gateway.")
    parser.add_argument("--repeats", type=int, default=ROUNDS, metavar="N", help=f"rounds (default: {ROUNDS})")
    print(report(*measure(max(1, parser.parse_args(arguments).repeats))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
