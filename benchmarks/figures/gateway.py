"""A gateway with many sessions against one with none: start, and memory when it is idle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import rmtree
from time import perf_counter, sleep
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figure import Figure, UnavailableError, interleave
from benchmarks.gateway import started
from benchmarks.memory import Memory, memory_of, processor_ticks
from miniclaw.session.files.subdirectory import STATE_NAME

_IDLE_SECONDS: Final = 3
_IDLE_TICKS: Final = 2  # so much of the processor within these seconds is idle: hundredths of a second
_MOST_SECONDS: Final = 120


def start(bench: Bench) -> Iterator[Figure]:
    """Start until ready: as on any day, and the first time, when the cleanup begins at once and reads every session."""
    many, none = bench.home(bench.form.many), bench.home(0)
    for home in (many, none):
        _run_until_idle(home)
    for title, prepare in (("start until ready", _leave), ("first start until ready", _forget_state)):
        mine, theirs = interleave(
            bench.form.rounds,
            partial(_start_seconds, many, prepare),
            partial(_start_seconds, none, prepare),
        )
        yield Figure(
            name="start", title=f"{title}, {bench.form.many:,} sessions", peer="the same with none", unit="s",
            ours=mine, theirs=theirs, goal=1.2,
        )  # fmt: skip


def memory(bench: Bench) -> Iterator[Figure]:
    """Be idle after a cleanup that has read every session."""
    try:
        memory_of(os.getpid())
    except OSError as error:
        raise UnavailableError(f"the system does not tell the memory of a process: {error}") from error
    many, none = bench.home(bench.form.many), bench.home(0)
    samples: dict[Path, list[Memory]] = {many: [], none: []}
    for _ in range(bench.form.few_rounds):
        for home, found in samples.items():
            _forget_state(home)
            found.append(_run_until_idle(home))
    for kind in ("RSS", "PSS"):
        mine, theirs = (tuple(getattr(each, kind.lower()) / 1e6 for each in found) for found in samples.values())
        yield Figure(
            name="memory", title=f"idle gateway with {bench.form.many:,} sessions, {kind}", peer="the same with none",
            unit="MB", kind="difference", ours=mine, theirs=theirs, goal=10,
        )  # fmt: skip


def _leave(_home: Path) -> None:
    """Start it as it was left."""


def _forget_state(home: Path) -> None:
    """Start it as if no cleanup had ever run, and without a ledger."""
    rmtree(home / "workspace" / "sessions" / STATE_NAME, ignore_errors=True)


def _start_seconds(home: Path, prepare: Callable[[Path], None]) -> float:
    prepare(home)
    begin = perf_counter()
    with started(home=home) as gateway:
        gateway.wait_until_ready()
        return perf_counter() - begin


def _run_until_idle(home: Path) -> Memory:
    """Run a gateway until it rests, and return what it takes then.

    Raises:
        RuntimeError: It never rests.
    """
    with started(home=home) as gateway:
        gateway.wait_until_ready()
        pid, deadline = gateway.process.pid, perf_counter() + _MOST_SECONDS
        used = processor_ticks(pid)
        while True:
            sleep(_IDLE_SECONDS)
            used, before = processor_ticks(pid), used
            if used - before <= _IDLE_TICKS:
                return memory_of(pid)
            if perf_counter() > deadline:
                raise RuntimeError("the gateway is never idle")
