"""The histogram, against counting by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.histogram import Histogram

BOUNDS = (0.1, 1, 10)
VALUES = st.lists(st.floats(0, 100, allow_nan=False), max_size=50)


@given(VALUES)
def test_histogram_counts_what_is_at_most_each_bound(values: list[float]) -> None:
    """A bound is inclusive, and the last count is of all."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    assert histogram.cumulative() == [*(sum(value <= bound for value in values) for bound in BOUNDS), len(values)]
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))


@given(VALUES.filter(bool), st.floats(0, 1))
def test_histogram_quantile_is_in_the_bucket_of_the_true_one(values: list[float], part: float) -> None:
    """It is off by no more than the bucket is wide; what is beyond the last bound is called that bound."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    true = sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
    edges = [0.0, *BOUNDS]
    low = max((edge for edge in edges if edge < true), default=0.0)
    high = min((edge for edge in BOUNDS if edge >= true), default=BOUNDS[-1])
    found = histogram.quantile(part)
    assert found is not None
    assert low - 1e-9 <= found <= high + 1e-9 or true > BOUNDS[-1] == found


def test_histogram_without_values_has_no_quantile() -> None:
    """Nothing is known of nothing."""
    assert Histogram(BOUNDS).quantile(0.5) is None
