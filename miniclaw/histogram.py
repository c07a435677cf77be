"""A histogram of fixed buckets: cheap to fill, of constant size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values by size. Changed and read on the trio thread only.

    The `bounds` of the buckets are upper ones, inclusive, ascending. One more bucket counts the values beyond them.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: tuple[float, ...] = tuple(bounds)
        self.counts: list[int] = [0] * (len(self.bounds) + 1)
        self.sum: float = 0.0

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} sum={self.sum:g}>"

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """Return for each bound the number of values up to it, inclusive, and then the number of all values."""
        total, found = 0, []
        for count in self.counts:
            total += count
            found.append(total)
        return found

    def quantile(self, part: float) -> float | None:
        """Return the value below which a part of all values is, as exactly as the buckets permit; None without values.

        The part is from 0 to 1, inclusive, such as 0.95. Within a bucket the values are assumed to be uniform, as in
        Prometheus. Beyond the last bound, that bound.
        """
        count = self.count
        if not count:
            return None
        rank, below, lower = part * count, 0, 0.0
        for bound, here in zip(self.bounds, self.counts, strict=False):
            if here and below + here >= rank:
                return lower + (bound - lower) * max(0.0, rank - below) / here
            below, lower = below + here, bound
        return self.bounds[-1]
