"""The wall clock, injected wherever the time of day matters.

Durations inside a running program are measured by `trio.current_time`, which no one can set; the wall clock is
read only to compare with times that were written down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def utc_now() -> datetime:
    """Return the present, UTC."""
    return datetime.now(UTC)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(time: datetime) -> int:
    """Return a time as whole microseconds since 1970, rounded down."""
    return (time - _EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the time, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
