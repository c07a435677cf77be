"""Delays between attempts: exponential backoff, and the delay that a server asks for."""

from __future__ import annotations

import math
import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_MOST_DOUBLINGS: Final = 20


def delay_seconds(
    attempt: int, *, first: float, longest: float, chance: float | None = 1.0, retry_after: float | None = None
) -> float:
    """Return the delay before the next attempt, in seconds: doubled with each attempt, and up to half of it random.

    Args:
        attempt: Number of attempts so far, from 1.
        first: Longest delay after the first attempt, in seconds.
        longest: Longest delay of all, in seconds, unless `retry_after` is longer.
        chance: A number from 0 to 1; 1: the whole delay. None: a random number, so that clients that failed together do
            not retry together.
        retry_after: Seconds that the server asks to wait; None: it does not ask.
    """
    if chance is None:
        chance = random.random()  # noqa: S311 - not a secret
    backoff = min(longest, first * math.exp2(min(attempt - 1, _MOST_DOUBLINGS)))
    return max(backoff * (0.5 + chance / 2), retry_after or 0.0)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a server asks to wait, at least 0; None: the header gives no time.

    The header ``Retry-After`` has seconds or a date (RFC 9110, section 10.2.3); `now` is aware.
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
