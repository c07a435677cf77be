"""Rules for asking a question again. Pure.

A question is asked again after status 429, after 5xx, and after a connection that failed, unless a part of the answer
has come. It is never asked again after another 4xx, since the response would be the same.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 8.0
"""Longest delay chosen here; a server may ask for a longer one."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def is_worth_a_retry(status: int) -> bool:
    """Return whether a request with this response status may succeed the next time."""
    return status == 429 or 500 <= status <= 599


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a server asks to wait, at least 0; None: the header gives no time.

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
    """Return the delay before the next attempt, in seconds.

    Args:
        attempt: Number of attempts so far, from 1.
        retry_after: Seconds that the server asks to wait; None: it does not ask.
        chance: A random number from 0 to 1, so that clients that failed together do not retry together.
    """
    backoff = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * math.exp2(min(attempt, 20) - 1))
    return max(backoff * (0.5 + chance / 2), retry_after or 0.0)
