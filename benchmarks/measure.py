"""Timing: every contender once per round, so that what else the machine does falls on all of them alike.

The files are in the page cache before the first round (`check` reads them all), and the collector rests while the
clock runs.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from statistics import median
from time import perf_counter_ns
from typing import Final

from msgspec import Struct

from benchmarks.data import Corpus
from benchmarks.scan import READERS, CountExpired, header_scan

_MUCH_LATER: Final = timedelta(days=60)
_FILES_COMPARED: Final = 10_000  # in all rounds of `compare`, at least; single scans of few files are noisy


class Timing(Struct, frozen=True):
    """Microseconds per file.

    Attributes:
        median: Of all rounds.
        lowest: Of all rounds.
        highest: Of all rounds.
    """

    median: float
    lowest: float
    highest: float


def check(corpus: Corpus, contenders: Mapping[str, CountExpired], now: datetime) -> None:
    """Have everyone answer once, which also warms the cache: nothing is expired now, and everything much later.

    Raises:
        RuntimeError: Someone does not do the work that it is measured by.
    """
    for name, count_expired in contenders.items():
        if count := count_expired(corpus.directory, now):
            raise RuntimeError(f"{name}: {count} files are expired; there should be none")
    for name, count_expired in READERS.items():
        count = count_expired(corpus.directory, now + _MUCH_LATER)
        if count != corpus.size_class.file_count:
            raise RuntimeError(f"{name}: {count} of {corpus.size_class.file_count} files were found to be expired")


def measure(
    corpus: Corpus, contenders: Mapping[str, CountExpired], now: datetime, *, repeats: int
) -> dict[str, Timing]:
    """Return the timing of each contender on one size class."""
    runs = {name: _run(count_expired, corpus, now) for name, count_expired in contenders.items()}
    samples = _interleave(runs, repeats)
    return {name: _timing(samples[name], corpus) for name in contenders}


def compare(first: Corpus, second: Corpus, now: datetime, *, repeats: int) -> tuple[Timing, Timing]:
    """Return the timings of the header scan of two directories, which take turns.

    They should hold equally many files: opening and listing a directory costs the same for few files as for many, and
    20,000 files fit into no processor cache while 200 do. Only so the size of the files is all that differs.
    """
    rounds = max(repeats, _FILES_COMPARED // min(first.size_class.file_count, second.size_class.file_count))
    samples = _interleave(
        {"first": _run(header_scan, first, now), "second": _run(header_scan, second, now)},
        rounds,
    )
    return _timing(samples["first"], first), _timing(samples["second"], second)


def _run(count_expired: CountExpired, corpus: Corpus, now: datetime) -> Callable[[], object]:
    return lambda: count_expired(corpus.directory, now)


def _interleave(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[int]]:
    samples: dict[str, list[int]] = {name: [] for name in runs}
    order = list(runs.items())
    for _ in range(rounds):
        for name, run in order:
            samples[name].append(_time(run))
        order.append(order.pop(0))  # nobody always follows the same one
    return samples


def _time(run: Callable[[], object]) -> int:
    gc.collect()
    gc.disable()
    try:
        start = perf_counter_ns()
        run()
        return perf_counter_ns() - start
    finally:
        gc.enable()


def _timing(nanoseconds: list[int], corpus: Corpus) -> Timing:
    per_file = [sample / 1000 / corpus.size_class.file_count for sample in nanoseconds]
    return Timing(median(per_file), min(per_file), max(per_file))
