"""When a question is asked again. Pure.

After 429, 5xx and connections that fail, before anything of the answer has come; never after another 4xx, which would
be answered just the same.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 8.0
"""Longest wait that is chosen here; a server may ask for a longer one."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def is_worth_a_retry(status: int) -> bool:
    """Return whether a request that got this status may go well the next time."""
    return status == 429 or 500 <= status <= 599


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return for how many seconds a server asks to wait, at least 0; None where it does not say.

    Args:
        value: The header ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3).
        now: The wall clock, aware.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, seconds)


def delay_seconds(attempt: int, retry_after: float | None, chance: float) -> float:
    """Return how long to wait before the next attempt.

    Args:
        attempt: How many there were, from 1.
        retry_after: What the server asks for, in seconds, if it does.
        chance: From 0 to 1, at random, so that those who failed together do not come together again.
    """
    backoff = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * math.exp2(min(attempt, 20) - 1))
    return max(backoff * (0.5 + chance / 2), retry_after or 0.0)
