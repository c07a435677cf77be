"""What a benchmark finds: figures, what could not be measured, and curves; and how the rounds are run.

Ours and its peer take turns in every round, so that what else the machine does falls on both alike; what counts is the
ratio within a round.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["ratio", "difference", "value"]
"""What the goal of a figure bounds: ours over the peer's, ours less the peer's, or ours alone.

Of a ratio the median of the rounds has to meet it; of the other two, which are bounds for a machine and not
comparisons, the highest.
"""


class UnavailableError(Exception):
    """Something cannot be measured on this machine; the text says why."""


class Figure(Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        name: By which `--only` and `compare` know it.
        title: What it is, for the table.
        peer: What it is held against, for the table.
        unit: Of the samples.
        ours: One sample a round.
        theirs: The peer's, of the same rounds; empty where nothing is held against it.
        kind: What the goal bounds.
        goal: At most so much, inclusive; None: it is there to learn from.
        text: What else there is to say.
    """

    name: str
    title: str
    peer: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()
    kind: Kind = "ratio"
    goal: float | None = None
    text: str = ""

    def spread(self) -> Spread:
        """Return what the goal is held against."""
        if self.kind == "value":
            return Spread.of(self.ours)
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.kind == "difference":
            return Spread.of([ours - theirs for ours, theirs in pairs])
        return Spread.of([ours / theirs for ours, theirs in pairs])

    def verdict(self) -> str:
        """Return whether the goal is met; empty where there is none."""
        if self.goal is None:
            return ""
        spread = self.spread()
        decisive = spread.median if self.kind == "ratio" else spread.highest
        return "met" if decisive <= self.goal else "MISSED"


class Spread(Struct, frozen=True):
    """The rounds, in three numbers."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, samples: list[float] | tuple[float, ...]) -> Spread:
        """Return that of some samples, at least one."""
        return cls(median(samples), min(samples), max(samples))


class Skipped(Struct, frozen=True):
    """What could not be measured.

    Attributes:
        name: As a figure's.
        title: As a figure's.
        reason: Why.
        failed: Whether that is an error, and not only the machine's lack of something.
    """

    name: str
    title: str
    reason: str
    failed: bool = False


class Curve(Struct, frozen=True):
    """A line of a plot.

    Attributes:
        title: What it is.
        points: Where, and how much there.
    """

    title: str
    points: tuple[tuple[float, float], ...]


class Plot(Struct, frozen=True):
    """A plot over something, both axes logarithmic.

    Attributes:
        name: Of its file, without the suffix.
        title: What it shows.
        x: What the curves run over.
        y: What they tell.
        curves: The lines.
    """

    name: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


Finding: TypeAlias = Figure | Skipped | Plot


def timed(run: Callable[[], object]) -> float:
    """Return how many seconds it takes; the collector rests meanwhile."""
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        run()
        return perf_counter() - start
    finally:
        gc.enable()


def interleave(rounds: int, *samplers: Callable[[], float]) -> list[tuple[float, ...]]:
    """Have each take its sample in every round, in turns, and return the samples of each."""
    samples: list[list[float]] = [[] for _ in samplers]
    order = list(range(len(samplers)))
    for _ in range(rounds):
        for index in order:
            samples[index].append(samplers[index]())
        order.append(order.pop(0))  # nobody always follows the same one
    return [tuple(each) for each in samples]
