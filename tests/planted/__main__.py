"""`python -m tests.planted`: plant each bug in a copy of the package, and show which test catches it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.planted.bug import Bug
from tests.planted.bugs import BUGS
from tests.planted.plant import TIMEOUT_SECONDS, Outcome, broken_files, try_bug


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant the bugs; the exit code is 1 where one is not caught, and 2 where the tests fail without any."""
    options = _parse(arguments)
    bugs = [bug for bug in BUGS if options.only in {None, bug.name}]
    for bug in bugs:
        broken_files(bug)  # all can be planted, or nothing is begun
    begun = monotonic()
    with TemporaryDirectory(prefix="miniclaw-planted-") as folder:
        place = Path(folder).resolve()
        tests = sorted({file for bug in bugs for file in bug.tests})
        unbroken = try_bug(None, tests, place / "unbroken", seconds=TIMEOUT_SECONDS * len(tests))
        if unbroken.failed or unbroken.trouble:
            _tell(unbroken.output)
            _tell(f"The tests do not pass without a bug: {unbroken.failed or unbroken.trouble}")
            return 2
        # A machine that is busy with other things is not taken for tests that hang.
        patience = max(TIMEOUT_SECONDS, unbroken.seconds)
        _tell(f"{len(tests)} test files pass without a bug, in {unbroken.seconds:.1f} s\n")
        _tell(f"{'bug':<42} {'caught':<6} {'s':>5}  by")
        with ThreadPoolExecutor(options.jobs) as pool:
            folders = [place / str(number) for number in range(len(bugs))]
            outcomes = pool.map(lambda bug, folder: try_bug(bug, bug.tests, folder, seconds=patience), bugs, folders)
            caught = [_report(bug, outcome) for bug, outcome in zip(bugs, outcomes, strict=True)]
    _tell(f"\n{sum(caught)} of {len(caught)} caught, in {monotonic() - begun:.0f} s")
    return 0 if all(caught) else 1


def _report(bug: Bug, outcome: Outcome) -> bool:
    by = outcome.failed or f"NOBODY ({outcome.trouble or 'all passed'}): {', '.join(bug.tests)}"
    by = by.removeprefix("tests/")
    _tell(f"{bug.name:<42} {'yes' if outcome.failed else 'NO':<6} {outcome.seconds:>5.1f}  {by}")
    return outcome.failed is not None


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description="Do the tests catch planted bugs?")
    names = [bug.name for bug in BUGS]
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"one bug: {', '.join(names)}".replace("%", "%%"))
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many at once (default: 2)")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs is at least 1")
    return options


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
