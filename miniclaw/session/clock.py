"""The wall clock, injected wherever the time of day matters.

Durations inside a running program are measured by `trio.current_time`, which no one can set; the wall clock is
read only to compare with times that were written down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def utc_now() -> datetime:
    """Return the present, UTC."""
    return datetime.now(UTC)
