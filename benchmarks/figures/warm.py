"""The scan where all files are in the page cache, against bare system calls, and against parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import LARGE_BYTES, SMALL_BYTES, USUAL_BYTES, Bench
from benchmarks.data import EXPIRED, Corpus, generate
from benchmarks.figure import Figure, interleave, timed
from benchmarks.peers import walks
from benchmarks.peers.c_scan import CScan

ABSENT = "warm scan, ledger absent"
CURRENT = "warm scan, ledger current"
DRY_RUN = "dry run with 30 % expired"
BY_SIZE = "per-file cost at 4 MB, of equally many files"


def ledger_absent(bench: Bench) -> Iterator[Figure]:
    """Read every header: ours, and the same system calls in C."""
    corpus = bench.corpora.get(bench.form.usual, USUAL_BYTES)
    peer = CScan(bench.folder)
    ours.scan(corpus.directory)  # and everything is in the cache
    mine, theirs = interleave(
        bench.form.rounds,
        partial(per_file, corpus, ours.scan),
        lambda: peer.seconds(corpus.directory, corpus.count) / corpus.count * 1e6,
    )
    yield Figure(
        name="warm-absent", title=ABSENT, peer="C loop of the same system calls", unit="µs a file",
        ours=mine, theirs=theirs, goal=2.5,
    )  # fmt: skip


def ledger_current(bench: Bench) -> Iterator[Figure]:
    """Open nothing but the ledger."""
    corpus = bench.corpora.get(bench.form.usual, USUAL_BYTES)
    state = bench.new_folder()
    due = ours.write_ledger(corpus.directory, state)
    mine, theirs = interleave(
        bench.form.rounds,
        partial(per_file, corpus, partial(ours.scan_known, state=state, due=due)),
        partial(per_file, corpus, walks.stat_only),
    )
    yield Figure(
        name="warm-current", title=CURRENT, peer="stat-only walk in Python", unit="µs a file",
        ours=mine, theirs=theirs, goal=1.3,
    )  # fmt: skip


def some_expired(bench: Bench) -> Iterator[Figure]:
    """Have a dry run find three of ten sessions expired, each of which is read whole, and none in another directory."""
    count = bench.form.usual // 2
    expired = count * 3 // 10
    folder = bench.new_folder()
    none = generate(folder / "none", count, USUAL_BYTES, seed=bench.seed)
    some = generate(folder / "some", count - expired, USUAL_BYTES, seed=bench.seed)
    generate(some.directory, expired, USUAL_BYTES, seed=bench.seed, ages=EXPIRED, first=some.count)
    none.settle()
    for title, state in ((f"{DRY_RUN}, ledger absent", None), (f"{DRY_RUN}, ledger current", folder)):
        runs: list[Callable[[], float]] = []
        for corpus, finds in ((some, expired), (none, 0)):
            own = None if state is None else folder / f"{corpus.directory.name}-state"
            if own is not None:
                ours.write_ledger(corpus.directory, own)
            if (found := ours.dry_run(corpus.directory, own)) != finds:
                raise RuntimeError(f"{found} sessions are expired, not {finds}")
            run = partial(ours.dry_run, state=own)
            runs.append(partial(per_file, Corpus(corpus.directory, count, USUAL_BYTES, 0), run))
        mine, theirs = interleave(bench.form.rounds, *runs)
        yield Figure(
            name="dry-run", title=title, peer="the same with none expired", unit="µs a file",
            ours=mine, theirs=theirs, goal=2,
        )  # fmt: skip
    bench.drop(folder)


def parsers(bench: Bench) -> Iterator[Figure]:
    """Read every header, or every file whole."""
    corpus = bench.corpora.get(bench.form.usual, USUAL_BYTES)
    others = {
        "msgspec, one field of the whole file": walks.one_field,
        "msgspec, the whole `Session`": walks.whole_session,
        "`json.load`": walks.whole_json,
        "`find -mtime +30`, reads nothing": walks.find_expired,
    }
    runs = [ours.scan, *others.values()]
    for run in others.values():
        if expired := run(corpus.directory):  # which also warms the cache
            raise RuntimeError(f"{run.__name__}: {expired} files are expired; there should be none")
    mine, *theirs = interleave(bench.form.few_rounds, *(partial(per_file, corpus, run) for run in runs))
    for peer, samples in zip(others, theirs, strict=True):
        yield Figure(name="parsers", title=ABSENT, peer=peer, unit="µs a file", ours=mine, theirs=samples)


def by_size(bench: Bench) -> Iterator[Figure]:
    """Read the headers of large files and of small ones.

    Of equally many: opening and listing a directory costs the same for few files as for many, and few files fit into
    the processor's caches. Only so the size is all that differs.
    """
    small, large = (bench.corpora.get(bench.form.large, size) for size in (SMALL_BYTES, LARGE_BYTES))
    for corpus in (small, large):
        ours.scan(corpus.directory)
    times = max(1, 2_000 // bench.form.large)  # single scans of few files are noisy
    mine, theirs = interleave(
        bench.form.rounds,
        partial(per_file, large, ours.scan, times),
        partial(per_file, small, ours.scan, times),
    )
    yield Figure(
        name="file-size", title=BY_SIZE, peer="the same at 4 KB", unit="µs a file", ours=mine, theirs=theirs, goal=1.2,
    )  # fmt: skip


def per_file(corpus: Corpus, run: Callable[[Path], object], times: int = 1) -> float:
    """Return microseconds a file."""

    def repeat() -> None:
        for _ in range(times):
            run(corpus.directory)

    return timed(repeat) / corpus.count / times * 1e6
