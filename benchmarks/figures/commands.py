"""Commands that only look, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import Bench
from benchmarks.child import child_environment
from benchmarks.figure import Figure, interleave, timed

_LIST = ("sessions", "list", "--limit", "20")


def commands(bench: Bench) -> Iterator[Figure]:
    """Start each anew; the list is that of a small workspace, and, to learn from, that of a large one.

    Both have a ledger, as after the first cleanup.
    """
    small, large = bench.form.listed, bench.form.many
    for count in (small, large):
        workspace = bench.home(count) / "workspace"
        ours.write_ledger(workspace / "sessions", workspace / "sessions")
    listed = "`miniclaw sessions list --limit 20`"
    for title, home, arguments, goal in (
        ("`miniclaw --version`", bench.home(small), ("--version",), 3),
        (f"{listed} of {small:,}", bench.home(small), _LIST, 6),
        (f"{listed} of {large:,}", bench.home(large), _LIST, None),
    ):
        _milliseconds(home, "-m", "miniclaw", *arguments)  # and all bytecode is there
        mine, theirs = interleave(
            bench.form.rounds,
            partial(_milliseconds, home, "-m", "miniclaw", *arguments),
            partial(_milliseconds, home, "-c", "pass"),
        )
        yield Figure(
            name="commands", title=title, peer="`python -c pass`", unit="ms", ours=mine, theirs=theirs, goal=goal
        )


def _milliseconds(home: Path, *arguments: str) -> float:
    variables = child_environment(MINICLAW_HOME=str(home))
    command = [sys.executable, *arguments]
    return 1000 * timed(
        partial(subprocess.run, command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    )
