"""`python -m benchmarks`: make session files, measure, print the report, remove the files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from benchmarks import report
from benchmarks.data import SizeClass, generate
from benchmarks.measure import check, compare, measure
from benchmarks.scan import contenders, skipped

_SMALL_BYTES: Final = 27_000
_LARGE_BYTES: Final = 650_000
_COUNTS: Final = {"short": (2_000, 50), "full": (20_000, 200)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit code is 0 whether the goals are met or not, for machines differ."""
    options = _parse(arguments)
    with TemporaryDirectory(prefix="miniclaw-bench-", dir=options.dir) as folder:
        text = _run(Path(folder), options.form, seed=options.seed, repeats=options.repeats)
    if options.write:
        report.write_page(text)
        _tell(f"written to {report.PAGE}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the scan of the daily cleanup.")
    form = "; ".join(f"{name}: {small:,} files of 27 KB, {large} of 650 KB" for name, (small, large) in _COUNTS.items())
    parser.add_argument("form", nargs="?", choices=_COUNTS, default="short", help=form)
    parser.add_argument("--seed", type=int, default=1, help="what the files follow from (default: 1)")
    parser.add_argument("--repeats", type=_positive, default=7, metavar="N", help="rounds (default: 7)")
    parser.add_argument("--dir", type=Path, default=gettempdir(), help="where the files are made, and removed again")
    parser.add_argument("--write", action="store_true", help="put a full run's report into docs/performance.md")
    options = parser.parse_args(arguments)
    if options.write and options.form != "full":
        parser.error("--write is for the full form")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _run(folder: Path, form: str, *, seed: int, repeats: int) -> str:
    now = datetime.now(UTC)
    small_count, large_count = _COUNTS[form]
    classes = (
        SizeClass("Small sessions", small_count, _SMALL_BYTES),
        SizeClass("Large sessions", large_count, _LARGE_BYTES),
        SizeClass("Small sessions, few", large_count, _SMALL_BYTES),
    )
    head = report.machine(folder, repeats=repeats)
    _tell("making the files ...")
    small, large, few = (generate(folder / str(n), each, seed=seed, now=now) for n, each in enumerate(classes))
    os.sync()  # or the kernel would write them out while the clock runs
    runs = contenders()
    parts = [head]
    timings = []
    for corpus in (small, large):
        _tell(f"measuring: {corpus.size_class.title.lower()} ...")
        check(corpus, runs, now)
        timings.append(measure(corpus, runs, now, repeats=repeats))
        parts.append(report.table(corpus, timings[-1], skipped()))
    check(few, runs, now)
    pair = compare(few, large, now, repeats=repeats)
    parts.append(report.goals(timings[0], pair, large_count))
    text = "\n\n".join(parts)
    print(text)
    return text


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
