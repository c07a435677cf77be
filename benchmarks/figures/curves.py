"""The scan over the number of sessions and over their size, with its peers; the page cache is warm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks import ours
from benchmarks.bench import SMALL_BYTES, Bench
from benchmarks.data import Corpus
from benchmarks.figure import Curve, Plot, UnavailableError, interleave, timed
from benchmarks.peers import walks
from benchmarks.peers.c_scan import CScan

_Contender: TypeAlias = Callable[[Corpus], float]
"""Looks at all files of a corpus and returns how many seconds that took."""


def by_count(bench: Bench) -> Iterator[Plot]:
    """Scan more and more small sessions."""
    corpora = [bench.corpora.get(count, SMALL_BYTES) for count in bench.form.counts]
    points = [(float(corpus.count), corpus, 1e3) for corpus in corpora]
    yield Plot(
        "scan-by-count", f"A scan, sessions of {SMALL_BYTES // 1000} KB", "sessions", "ms", _curves(bench, points)
    )


def by_size(bench: Bench) -> Iterator[Plot]:
    """Scan larger and larger sessions, of which there are equally many."""
    corpora = [bench.corpora.get(bench.form.large, size) for size in bench.form.sizes]
    points = [(corpus.total_bytes / corpus.count, corpus, 1e6 / corpus.count) for corpus in corpora]
    yield Plot("scan-by-size", f"A scan of {bench.form.large} sessions", "bytes", "µs a file", _curves(bench, points))


def _curves(bench: Bench, points: list[tuple[float, Corpus, float]]) -> tuple[Curve, ...]:
    """Return a curve for each contender over points of x, corpus, and the factor from seconds to y."""
    state = bench.new_folder()
    found: dict[str, list[tuple[float, float]]] = {}
    for x, corpus, factor in points:
        folder = state / f"{corpus.count}-{corpus.mean_bytes}"
        contenders = _contenders(
            bench, partial(ours.scan_known, state=folder, due=ours.write_ledger(corpus.directory, folder))
        )
        for run in contenders.values():
            run(corpus)
        samples = interleave(bench.form.few_rounds, *(partial(run, corpus) for run in contenders.values()))
        for title, seconds in zip(contenders, samples, strict=True):
            found.setdefault(title, []).append((x, median(seconds) * factor))
    return tuple(Curve(title, tuple(line)) for title, line in found.items())


def _contenders(bench: Bench, scan_known: Callable[[Path], object]) -> dict[str, _Contender]:
    def of(run: Callable[[Path], object]) -> _Contender:
        return lambda corpus: timed(lambda: run(corpus.directory))

    contenders = {
        "json.load": of(walks.whole_json),
        "msgspec, whole file": of(walks.one_field),
        "ours, ledger absent": of(ours.scan),
        "ours, ledger current": of(scan_known),
        "stat-only walk": of(walks.stat_only),
    }
    try:
        peer = CScan(bench.folder)
    except UnavailableError:
        return contenders
    return contenders | {"C loop": lambda corpus: peer.seconds(corpus.directory, corpus.count)}
