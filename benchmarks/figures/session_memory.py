"""How much memory it takes to save a large session, and to load it, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.bench import Bench
from benchmarks.child import run_child
from benchmarks.figure import Figure

_BYTES: Final = 50_000_000
_MESSAGE_BYTES: Final = 2_000
_GOALS: Final = {"save": 0.1, "load": 3.0}
_TITLES: Final = {"save": "peak of saving a session of {}", "load": "peak of loading one of {}, itself included"}


def session_memory(bench: Bench) -> Iterator[Figure]:
    """Save a session of many messages, and load the file that was written."""
    growth: dict[str, list[float]] = {work: [] for work in _GOALS}
    sizes: dict[str, list[float]] = {work: [] for work in _GOALS}
    folder = bench.new_folder()
    for _ in range(bench.form.few_rounds):
        for work in _GOALS:
            found = run_child("session_peak", work, folder, _BYTES, _MESSAGE_BYTES)
            growth[work].append(found["bytes"] / 1e6)
            sizes[work].append(found["file"] / 1e6)
    bench.drop(folder)
    for work, goal in _GOALS.items():
        yield Figure(
            name="session-memory", title=_TITLES[work].format(f"{_BYTES // 1_000_000} MB"), peer="its file",
            unit="MB", ours=tuple(growth[work]), theirs=tuple(sizes[work]), goal=goal,
        )  # fmt: skip
