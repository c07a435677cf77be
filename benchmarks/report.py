"""The report, as Markdown: for a terminal and for docs/performance.md alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure, Finding, Plot, Skipped, Spread
from benchmarks.plot import svg

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"

_BEGIN: Final = "<!-- benchmark: begin (written by `nox -s bench -- full --write`) -->"
_END: Final = "<!-- benchmark: end -->"


def report(machine: Mapping[str, str], findings: Sequence[Finding]) -> str:
    """Return the whole report but for the plots, to which it refers."""
    figures = [found for found in findings if isinstance(found, Figure)]
    goals = [figure for figure in figures if figure.goal is not None]
    others = [figure for figure in figures if figure.goal is None]
    skipped = [found for found in findings if isinstance(found, Skipped)]
    plots = [found for found in findings if isinstance(found, Plot)]
    parts = ["\n".join(f"- {name}: {text}" for name, text in machine.items())]
    if goals:
        parts.append(_table(goals))
    if others:
        parts.append("To learn from, without a goal:\n\n" + _table(others))
    if skipped:
        parts.append("\n".join(_skipped_line(each) for each in skipped))
    parts += [f"![{plot.title}: {plot.y} over {plot.x}](images/{plot.name}.svg)\n\n{_points(plot)}" for plot in plots]
    return "\n\n".join(parts)


def line(finding: Finding) -> str:
    """Return a finding in one line, for who waits for the rest."""
    if isinstance(finding, Skipped):
        return _skipped_line(finding).removeprefix("- ")
    if isinstance(finding, Plot):
        return f"{finding.title}: {len(finding.curves)} curves"
    return " | ".join(filter(None, _cells(finding)))


def write_page(text: str, findings: Sequence[Finding], docs: Path = DOCS) -> None:
    """Put the report between the markers of performance.md, and the plots beside it.

    Raises:
        RuntimeError: The page lacks a marker.
    """
    page = docs / "performance.md"
    head, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise RuntimeError(f"{page} has no lines {_BEGIN!r} and {_END!r}")
    for plot in findings:
        if isinstance(plot, Plot):
            (docs / "images" / f"{plot.name}.svg").write_text(svg(plot), encoding="utf-8")
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def number(value: float) -> str:
    """Return a measured number with about three digits."""
    for most, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < most:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def _table(figures: Sequence[Figure]) -> str:
    head = ["figure", "ours", "peer", "ratio (lowest to highest)", "at most", ""]
    rows = [head, ["---", "---:", "---", "---:", "---:", "---"], *map(_cells, figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(figure: Figure) -> list[str]:
    mine = f"{number(Spread.of(figure.ours).median)} {figure.unit}"
    theirs = figure.peer
    if figure.theirs:
        theirs = f"{number(Spread.of(figure.theirs).median)} {figure.unit}: {figure.peer}"
    title = f"{figure.title} ({figure.text})" if figure.text else figure.title
    return [title, mine, theirs, _measured(figure), _goal(figure), figure.verdict()]


def _measured(figure: Figure) -> str:
    spread = figure.spread()
    unit, sign = ("", "") if figure.kind == "ratio" else (f" {figure.unit}", "+" if figure.kind == "difference" else "")
    middle, low, high = (f"{sign if value > 0 else ''}{number(value)}" for value in _values(spread))
    return f"{middle}{unit} ({low} to {high})"


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    if figure.kind == "ratio":
        return f"{figure.goal:g}"
    return f"{'+' if figure.kind == 'difference' else ''}{figure.goal:g} {figure.unit}"


def _values(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.lowest, spread.highest


def _skipped_line(skipped: Skipped) -> str:
    return f"- {'FAILED' if skipped.failed else 'skipped'}: {skipped.title}: {skipped.reason}"


def _points(plot: Plot) -> str:
    places = [x for x, _ in plot.curves[0].points]
    rows = [
        [f"{plot.y} over {plot.x}", *(number(x) for x in places)],
        ["---", *("---:" for _ in places)],
        *([curve.title, *(number(y) for _, y in curve.points)] for curve in plot.curves),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
