"""The report: machine, tables, goals; as Markdown, for a terminal and for docs/performance.md alike."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.data import Corpus
from benchmarks.measure import Timing
from benchmarks.scan import HEADER_SCAN, ONE_FIELD

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

MOST_OF_ONE_FIELD: Final = 0.25
"""The goal: of what one field costs by reading the whole file, at 27 KB, the header scan takes at most this part."""

MOST_BY_SIZE: Final = 1.3
"""The goal: a header of a large file costs at most this many times one of a small file."""

_BEGIN: Final = "<!-- benchmark: begin (written by `nox -s bench -- full --write`) -->"
_END: Final = "<!-- benchmark: end -->"


def machine(directory: Path, *, repeats: int) -> str:
    """Return what the figures depend on, and the command that makes them again."""
    rows = {
        "command": f"`{shlex.join(['python', '-m', 'benchmarks', *sys.argv[1:]])}`",
        "rounds": f"{repeats}, interleaved, warm cache; median (lowest to highest)",
        "processor": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it began",
        "system": f"{platform.system()} {platform.release()}, {_file_system(directory)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in ("miniclaw", "msgspec")),
    }
    return "\n".join(f"- {name}: {text}" for name, text in rows.items())


def table(corpus: Corpus, timings: Mapping[str, Timing], skipped: Mapping[str, str]) -> str:
    """Return the table of one size class."""
    count = corpus.size_class.file_count
    ours = timings[HEADER_SCAN].median
    lines = [
        f"**{corpus.size_class.title}: {count:,} files, {corpus.total_bytes / count / 1000:.0f} KB on average**",
        "",
        "| | µs per file | lowest to highest | times the header scan |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {timing.median:.1f} | {timing.lowest:.1f} to {timing.highest:.1f} | {timing.median / ours:.2f} |"
        for name, timing in timings.items()
    ]
    lines += [f"| {name} | skipped: {reason} | | |" for name, reason in skipped.items()]
    return "\n".join(lines)


def goals(small: Mapping[str, Timing], pair: tuple[Timing, Timing], pair_count: int) -> str:
    """Return one line for each goal.

    Args:
        small: The timings of the small files.
        pair: Those of the header scan of equally many small and large files.
        pair_count: How many.
    """
    ours, peer = small[HEADER_SCAN].median, small[ONE_FIELD].median
    few_small, few_large = (timing.median for timing in pair)
    return "\n".join(
        (
            f"- {_verdict(ours / peer, MOST_OF_ONE_FIELD)}: at 27 KB the header scan takes {ours:.1f} µs, "
            f"{ours / peer:.2f} of one field of the whole file ({peer:.1f} µs); goal: at most {MOST_OF_ONE_FIELD}",
            f"- {_verdict(few_large / few_small, MOST_BY_SIZE)}: a header at 650 KB takes {few_large:.1f} µs, "
            f"{few_large / few_small:.2f} of one at 27 KB ({few_small:.1f} µs), {pair_count} files each; "
            f"goal: at most {MOST_BY_SIZE}",
        )
    )


def write_page(report: str) -> None:
    """Put the report between the markers of docs/performance.md.

    Raises:
        RuntimeError: The page lacks a marker.
    """
    head, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise RuntimeError(f"{PAGE} has no lines {_BEGIN!r} and {_END!r}")
    PAGE.write_text(f"{head}{begin}\n\n{report}\n\n{end}{tail}", encoding="utf-8")


def _verdict(value: float, most: float) -> str:
    return "met" if value <= most else "MISSED"


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    # proc(5), mountinfo: the fifth field is the mount point, the type stands behind a lone hyphen. The longest mount
    # point that is a parent wins, of equal ones the last, which lies on top.
    path = directory.resolve()
    found, kind = Path("/"), "an unknown file system"
    for line in _lines(Path("/proc/self/mountinfo")):
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, right.split()[0]
    return kind


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
