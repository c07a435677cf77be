"""Commands that only look, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.bench import SMALL_BYTES, Bench
from benchmarks.child import child_environment
from benchmarks.data import generate
from benchmarks.figure import Figure, interleave, timed

_LIST = ("sessions", "list", "--limit", "20")


def commands(bench: Bench) -> Iterator[Figure]:
    """Start each anew; the list is that of a small workspace, and, to learn from, that of a large one."""
    folder = bench.new_folder()
    for home, count in (("some", bench.form.listed), ("many", bench.form.many)):
        generate(folder / home / "workspace" / "sessions", count, SMALL_BYTES, seed=bench.seed)
        (folder / home).chmod(0o700)
    listed = "`miniclaw sessions list --limit 20`"
    for title, home, arguments, goal in (
        ("`miniclaw --version`", "some", ["--version"], 3),
        (f"{listed} of {bench.form.listed:,}", "some", _LIST, 6),
        (f"{listed} of {bench.form.many:,}", "many", _LIST, None),
    ):
        _milliseconds(folder / home, "-m", "miniclaw", *arguments)  # and all bytecode is there
        mine, theirs = interleave(
            bench.form.rounds,
            partial(_milliseconds, folder / home, "-m", "miniclaw", *arguments),
            partial(_milliseconds, folder / home, "-c", "pass"),
        )
        yield Figure(
            name="commands", title=title, peer="`python -c pass`", unit="ms", ours=mine, theirs=theirs, goal=goal
        )
    bench.drop(folder)


def _milliseconds(home: Path, *arguments: str) -> float:
    variables = child_environment(MINICLAW_HOME=str(home))
    command = [sys.executable, *arguments]
    return 1000 * timed(
        partial(subprocess.run, command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    )
