"""How late the event loop is while a running runtime scans and removes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from shutil import rmtree

from benchmarks.bench import SMALL_BYTES, Bench
from benchmarks.child import run_child
from benchmarks.data import EXPIRED, generate
from benchmarks.figure import Figure
from miniclaw.session.files.subdirectory import STATE_NAME

LAG = "event-loop lag"


def loop_lag(bench: Bench) -> Iterator[Figure]:
    """Have the sessions that stay and those that go in one directory; every round starts with all of them."""
    form = bench.form
    lags: list[dict[str, dict[str, float]]] = []
    folder = bench.new_folder()
    sessions = folder / "sessions"
    generate(sessions, form.many, SMALL_BYTES, seed=bench.seed)
    for number in range(form.few_rounds):
        first = form.many + number * form.expired
        generate(sessions, form.expired, SMALL_BYTES, seed=bench.seed, ages=EXPIRED, first=first)
        rmtree(sessions / STATE_NAME, ignore_errors=True)  # no round knows of the files of another one
        os.sync()
        lag = run_child("loop_lag", sessions)
        found, wanted = (lag["scanned"], lag["removed"]), (form.many + form.expired, form.expired)
        if found != wanted:
            raise RuntimeError(f"scanned and removed are {found}, not {wanted}")
        lags.append(lag)
    bench.drop(folder)
    title = f"{LAG} while {form.many:,} are scanned and {form.expired:,} removed"
    for key, goal in (("p99", 10), ("max", 50)):
        yield Figure(
            name="loop-lag", title=f"{title}, {key}", peer="the same, idle", unit="ms", kind="value", goal=goal,
            ours=tuple(lag["busy"][key] for lag in lags), theirs=tuple(lag["idle"][key] for lag in lags),
        )  # fmt: skip
