"""Plots with two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import Final

from benchmarks.figure import Plot

_WIDTH: Final = 760
_HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 50
_COLOURS: Final = ("#b3261e", "#c77700", "#0b57d0", "#188038", "#7b1fa2", "#5f6368")
_LABEL_PIXELS: Final = 15  # labels at the ends of the lines are at least so far apart
_STYLE: Final = (
    "text { font: 12px sans-serif; fill: #1f1f1f } .title { font-size: 14px; font-weight: bold } "
    ".grid { stroke: #d0d0d0; stroke-width: 1 } .line { fill: none; stroke-width: 2 }"
)


class Axis:
    """A logarithmic axis that begins and ends at a power of ten.

    Args:
        values: What it has to show, all positive.
        begin: Where it begins, in pixels.
        end: Where it ends.
    """

    def __init__(self, values: list[float], begin: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)) + 1e-9)
        self._high = max(self._low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._begin = begin
        self._end = end

    def at(self, value: float) -> float:
        """Return where a value is, in pixels."""
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + (self._end - self._begin) * part

    def ticks(self) -> list[float]:
        """Return the powers of ten."""
        return [10.0**power for power in range(self._low, self._high + 1)]


def svg(plot: Plot) -> str:
    """Return a plot as SVG; its curves have one point or more."""
    points = [point for curve in plot.curves for point in curve.points]
    x = Axis([point[0] for point in points], _LEFT, _WIDTH - _RIGHT)
    y = Axis([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP)
    title = f"{plot.title}: {plot.y} over {plot.x}"
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>',
        *_grid(x, y),
        f'<text x="{middle:.0f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(plot.x)}</text>',
        *_curves(plot, x, y),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    for tick in x.ticks():
        at = f"{x.at(tick):.1f}"
        yield f'<line class="grid" x1="{at}" y1="{_TOP}" x2="{at}" y2="{_HEIGHT - _BOTTOM}"/>'
        yield f'<text x="{at}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick_label(tick)}</text>'
    for tick in y.ticks():
        at = f"{y.at(tick):.1f}"
        yield f'<line class="grid" x1="{_LEFT}" y1="{at}" x2="{_WIDTH - _RIGHT}" y2="{at}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{tick_label(tick)}</text>'


def _curves(plot: Plot, x: Axis, y: Axis) -> Iterator[str]:
    ends = [y.at(curve.points[-1][1]) for curve in plot.curves]
    labels = spaced(ends, _LABEL_PIXELS)
    for number, (curve, label) in enumerate(zip(plot.curves, labels, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        way = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py in curve.points)
        yield f'<polyline class="line" stroke="{colour}" points="{way}"/>'
        for px, py in curve.points:
            yield f'<circle cx="{x.at(px):.1f}" cy="{y.at(py):.1f}" r="3" fill="{colour}"/>'
        at = x.at(curve.points[-1][0]) + 10
        yield f'<text x="{at:.1f}" y="{label + 4:.1f}" style="fill: {colour}">{escape(curve.title)}</text>'


def spaced(places: list[float], least: float) -> list[float]:
    """Return places at least so far apart, in the same order from low to high, near the given ones."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    # What was pushed on lies too far: all go back by half of the most.
    back = max((after - before for before, after in zip(places, moved, strict=True)), default=0.0) / 2
    return [place - back for place in moved]


def tick_label(value: float) -> str:
    """Return a power of ten for an axis."""
    return f"{value:,.0f}" if value >= 1 else f"{value:.10f}".rstrip("0")
