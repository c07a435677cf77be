"""`python -m benchmarks`: make session files, measure, print the report, remove the files; or compare two revisions."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import msgspec

from benchmarks import machine
from benchmarks.bench import FORMS, Bench, tell
from benchmarks.compare import compare
from benchmarks.figure import Figure, Finding, Skipped
from benchmarks.figures.registry import FIGURES, measure
from benchmarks.report import DOCS, line, report, write_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code is 0 whether the goals are met or not, for machines differ, and 1 where a figure failed."""
    options = parse(arguments)
    # As with Ctrl-C: files, mounts and worktrees are removed also when a time limit ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="miniclaw-bench-", dir=options.dir) as folder:
        if options.command == "compare":
            return compare(options.base, Path(folder), options)
        return _run(Path(folder), options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; `command` is a form or ``compare``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure miniclaw against its peers.")
    commands = parser.add_subparsers(dest="command", metavar="short|full|compare")
    for name, form in FORMS.items():
        text = f"up to {form.many:,} sessions, {form.rounds} rounds"
        _add_options(commands.add_parser(name, help=text, description=f"Measure with {text}."))
    text = "the effect of a change: miniclaw at BASE and now, in turns"
    comparing = commands.add_parser("compare", help=text, description=text)
    comparing.add_argument("base", metavar="BASE", help="a git revision")
    comparing.add_argument("--form", choices=FORMS, default="short", help="(default: short)")
    _add_options(comparing)
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Without a command: the short form.
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help"}):
        given.insert(0, "short")
    options = parser.parse_args(given)
    if getattr(options, "write", False) and (options.command != "full" or options.only):
        parser.error("--write is for the full form, with all figures")
    return options


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=[], metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated files (default: 1)")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="number of rounds, instead of the form's")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(gettempdir()),
        help="folder for the files, which are removed at the end (default: %(default)s)",
    )
    if not parser.prog.endswith("compare"):
        parser.add_argument("--write", action="store_true", help="put a full report into docs/performance.md")
        parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of the report")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _run(folder: Path, options: argparse.Namespace) -> int:
    form = FORMS[options.command]
    if options.rounds is not None:
        form = msgspec.structs.replace(form, rounds=options.rounds)
    about = machine.describe(folder)
    about["rounds"] = f"{form.rounds}, of what takes long {form.few_rounds}; ours and its peer take turns in each"
    bench = Bench(folder, form, seed=options.seed)
    findings: list[Finding] = []
    for name in options.only or FIGURES:
        tell(f"{name} ...")
        found = measure(name, bench)
        for each in found:
            tell(f"  {line(each)}")
        findings += found
    if options.json:
        figures = [found for found in findings if isinstance(found, Figure | Skipped)]
        print(msgspec.json.encode(figures).decode())
    else:
        text = report(about, findings)
        print(text)
        if options.write:
            write_page(text, findings)
            tell(f"written to {DOCS}")
    return int(any(isinstance(found, Skipped) and found.failed for found in findings))


if __name__ == "__main__":
    sys.exit(main())
