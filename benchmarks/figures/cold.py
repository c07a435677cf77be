"""The scan of a disk of which nothing is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import USUAL_BYTES, Bench
from benchmarks.data import Corpus, generate
from benchmarks.disk import ColdDisk, cold_disk
from benchmarks.figure import Figure, interleave
from benchmarks.figures.warm import per_file
from benchmarks.peers import walks

UNCHANGED = "cold scan, nothing changed"
ABSENT = "cold scan, ledger absent"


def nothing_changed(bench: Bench) -> Iterator[Figure]:
    """By the ledger, which lies on the same disk, against the status of every file."""
    with _cold_sessions(bench) as (disk, corpus):
        state = disk.root / "state"
        due = ours.write_ledger(corpus.directory, state)
        mine, theirs = interleave(
            bench.form.few_rounds,
            partial(_cold, disk, corpus, partial(ours.scan_known, state=state, due=due)),
            partial(_cold, disk, corpus, walks.stat_only),
        )
    yield Figure(
        name="cold-current", title=UNCHANGED, peer="cold stat-only walk in Python", unit="µs a file",
        ours=mine, theirs=theirs, goal=1.5,
    )  # fmt: skip


def ledger_absent(bench: Bench) -> Iterator[Figure]:
    """In the order of the inodes by some threads, against the order of the directory by one."""
    with _cold_sessions(bench) as (disk, corpus):
        mine, theirs = interleave(
            bench.form.few_rounds,
            partial(_cold, disk, corpus, ours.scan),
            partial(_cold, disk, corpus, ours.read_rows),
        )
    yield Figure(
        name="cold-absent", title=ABSENT, peer="one thread in directory order", unit="µs a file",
        ours=mine, theirs=theirs, goal=0.5,
    )  # fmt: skip


@contextmanager
def _cold_sessions(bench: Bench) -> Iterator[tuple[ColdDisk, Corpus]]:
    folder, count = bench.new_folder(), bench.form.usual
    with cold_disk(folder, size=count * USUAL_BYTES, files=count) as disk:
        corpus = generate(disk.root / "sessions", count, USUAL_BYTES, seed=bench.seed)
        corpus.settle()
        yield disk, corpus
    bench.drop(folder)


def _cold(disk: ColdDisk, corpus: Corpus, run: Callable[[Path], object]) -> float:
    disk.forget()
    return per_file(corpus, run)
