"""`python -m benchmarks.chat_load`: many people chat at once, against a bare websocket echo on the same libraries.

The gateway records each message, asks the `echo` model, records its answer, sends it to every tab, saves both and says
when the message is safe; the peer sends the text back. Two loads: *as fast as they can*, where each client sends its
next message when it has its answer and the gateway's pace for a client is lifted; and *as people do*, where all of them
together send at a rate that leaves the peer time to breathe.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final

from msgspec import Struct

from benchmarks.chat_client import TOKEN_VARIABLE
from benchmarks.gateway import started

CLIENTS: Final = 200
SECONDS: Final = 5.0
ROUNDS: Final = 3
PACE_PER_SECOND: Final = 200.0
"""Messages of all clients together, where they chat as people do; one a second for each."""

MOST_TIMES: Final = 3
"""The goal: at most this many times the peer's time, for a message and for the slowest of a hundred."""

_CHAT_PATH: Final = "/api/v1/chat?chat=load-{number}"


class Load(Struct, frozen=True):
    """What the clients saw.

    Attributes:
        messages: Answered while it was measured.
        per_second: Answered in a second.
        p50_ms: Half of the answers came within so many milliseconds.
        p99_ms: 99 of 100 did.
    """

    messages: int
    per_second: float
    p50_ms: float
    p99_ms: float


class Result(Struct, frozen=True):
    """The rounds of one load.

    Attributes:
        bare: The peer's.
        gateway: Ours.
    """

    bare: list[Load]
    gateway: list[Load]

    def ratio(self, field: str) -> float:
        """Return the median of ours over that of the peer's."""
        ours, theirs = (median(getattr(load, field) for load in loads) for loads in (self.gateway, self.bare))
        return float(ours / theirs)


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Result]:
    """Load both by turns, in both ways.

    Raises:
        RuntimeError: One of them does not start, or does not answer.
    """
    results = {name: Result([], []) for name in ("as fast as they can", "as people do")}
    for _ in range(rounds):
        for (name, result), pace in zip(results.items(), (0.0, PACE_PER_SECOND), strict=True):
            with _bare() as port:
                result.bare.append(_load(port, "/", "echo", seconds, pace))
            module = "benchmarks.peers.unpaced_gateway" if name == "as fast as they can" else "miniclaw"
            with started(command=("-m", module, "gateway", "--port", "0")) as gateway:
                gateway.wait_until_ready()
                result.gateway.append(_load(gateway.port(), _CHAT_PATH, "chat", seconds, pace, token=gateway.token()))
    return results


@contextmanager
def _bare() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.peers.bare_echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _load(port: int, path: str, kind: str, seconds: float, pace: float, *, token: str = "none") -> Load:
    command = [sys.executable, "-m", "benchmarks.chat_client"]
    done = subprocess.run(
        [*command, str(port), path, kind, str(CLIENTS), str(seconds), str(pace)],
        capture_output=True, text=True, check=False, env=os.environ | {TOKEN_VARIABLE: token},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the clients failed:\n{done.stderr}")
    return Load(**json.loads(done.stdout))


def report(results: dict[str, Result]) -> str:
    """Return the tables and the goals, as Markdown."""
    lines: list[str] = []
    for name, result in results.items():
        lines += [
            f"**{CLIENTS} clients, {name}**",
            "",
            "| | messages a second | median, ms | 99 of 100, ms |",
            "| --- | ---: | ---: | ---: |",
        ]
        for title, loads in (("`miniclaw gateway`, echo", result.gateway), ("bare websocket echo", result.bare)):
            numbers = (median(getattr(load, field) for load in loads) for field in ("per_second", "p50_ms", "p99_ms"))
            lines.append("| {} | {:,.0f} | {:.1f} | {:.1f} |".format(title, *numbers))
        lines.append("")
    fast, people = results.values()
    goals = {
        "a message takes": 1 / fast.ratio("per_second"),
        "the slowest of a hundred takes": fast.ratio("p99_ms"),
        "as people do, the slowest of a hundred takes": people.ratio("p99_ms"),
    }
    for text, times in goals.items():
        verdict = "met" if times <= MOST_TIMES else "MISSED"
        lines.append(f"- {verdict}: {text} {times:.2f} times as long as with the bare echo; goal: at most {MOST_TIMES}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 0 whether the goal is met or not, for machines differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat_load", description="Load the chat.")
    parser.add_argument("--repeats", type=int, default=ROUNDS, metavar="N", help=f"rounds (default: {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each load (default: {SECONDS})")
    options = parser.parse_args(arguments)
    print(report(measure(max(1, options.repeats), options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
