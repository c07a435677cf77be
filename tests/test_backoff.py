"""Delays between attempts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.backoff import delay_seconds, parse_retry_after
from tests.fakes.openai import NOW


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0), ("5", 5.0), (" 5 ", 5.0), ("1.5", 1.5), ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0), ("Mon, 23 Nov 2026 12:01:00", 60.0), ("Mon, 23 Nov 2026 11:59:00 GMT", 0.0),
        (None, None), ("", None), ("-5", None), ("soon", None), ("1e9", None), ("9" * 40, None), ("\u0665", None),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_parse_retry_after_seconds_and_dates(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood, the past is now, and nonsense says nothing."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(), st.timedeltas(timedelta(0), timedelta(days=1000)))
def test_parse_retry_after_any_text_is_a_time_or_none(value: str, ago: timedelta) -> None:
    """Whatever a server sends, it raises nothing and is never negative."""
    seconds = parse_retry_after(value, NOW - ago)
    assert seconds is None or seconds >= 0


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_delay_seconds_is_bounded_and_no_less_than_asked(attempt: int, chance: float, after: float | None) -> None:
    """The wait grows to a bound, is never zero, and respects the server."""
    delay = delay_seconds(attempt, first=0.5, longest=8, chance=chance, retry_after=after)
    assert 0.25 <= delay <= max(8, after or 0)
    assert delay >= (after or 0)
