"""Values as people read and write them: durations and sizes with a unit, ages, text that is safe for a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = "never"
"""The word that switches a rule off."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Texts and not `re.compile`: most commands need none of the patterns here, and to compile them takes a millisecond.
_DURATION: Final = r"([0-9]{1,9})\s*([smhdw])"

_SIZE_UNITS: Final[dict[str, int]] = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE: Final = r"([0-9]{1,18})\s*([KMGT]?i?B)"

# C0, DEL and C1 controls but for tab and newline, what turns the direction of writing, and the surrogates that stand
# for the bytes of a file name that is not UTF-8
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the known name most like another; empty where none is like it."""
    import difflib  # noqa: PLC0415 - start-up time: only for who has mistyped something

    like = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{like[0]}"?' if like else ""


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text says.

    Args:
        text: Digits and one of ``s m h d w``; a bare number has no meaning here.

    Raises:
        ValueError: It is not of that form.
    """
    match = re.fullmatch(_DURATION, text.strip())
    if match is None:
        raise ValueError('a duration is a whole number and a unit (s, m, h, d, w), such as "30d"')
    try:
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError(f"{text} is longer than the calendar") from None


def format_duration(duration: timedelta | None) -> str:
    """Return a duration as `parse_duration` reads it, in the largest unit that is exact; None is ``never``."""
    if duration is None:
        return NEVER
    seconds = round(duration.total_seconds())
    unit = max((unit for unit in "smhd" if seconds % _UNITS[unit] == 0), key=_UNITS.__getitem__)
    return f"{seconds // _UNITS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Return the number of bytes that a text says.

    Args:
        text: Digits and one of ``B``, ``KB``, ``MB``, ``GB``, ``TB`` (powers of 1000), ``KiB``, ``MiB``, ``GiB``,
            ``TiB`` (powers of 1024); a bare number has no meaning here.

    Raises:
        ValueError: It is not of that form.
    """
    match = re.fullmatch(_SIZE, text.strip())
    unit = _SIZE_UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError('a size is a whole number and a unit (KB, MB, GB, TB, KiB, MiB, GiB, TiB), such as "500MB"')
    return int(match[1]) * unit


def format_exact_size(size: int) -> str:
    """Return a number of bytes as `parse_size` reads it, in the largest unit that is exact."""
    unit = max((unit for unit in _SIZE_UNITS if size % _SIZE_UNITS[unit] == 0), key=_SIZE_UNITS.__getitem__)
    return f"{size // _SIZE_UNITS[unit]}{unit}" if size else "0B"


def format_age(age: timedelta) -> str:
    """Return an age for a person: one number in the largest fitting unit."""
    seconds = int(abs(age).total_seconds())
    unit = next((unit for unit in "dhm" if seconds >= _UNITS[unit]), "s")
    text = f"{seconds // _UNITS[unit]}{unit}"
    return f"in {text}" if age < timedelta(0) else text


def format_remaining(duration: timedelta) -> str:
    """Return what is left until a deadline, rounded up: thirty days are thirty days for the whole of the first one."""
    seconds = math.ceil(duration.total_seconds())
    unit = next((unit for unit in "dhm" if seconds > _UNITS[unit]), "s")
    return f"{math.ceil(seconds / _UNITS[unit])}{unit}"


def format_time(time: datetime) -> str:
    """Return an aware time for a person: to the second, in UTC, with the zone behind it."""
    # At the very ends of the calendar it may have no UTC, and keeps its own zone.
    with suppress(OverflowError):
        time = time.astimezone(UTC)
    # strftime leaves out the zeros of a year before 1000 on some systems.
    return f"{time.year:04}-{time:%m-%d %H:%M:%S %Z}"


def format_size(size: int) -> str:
    """Return a number of bytes for a person, in binary units."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if round(value, 1) < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def printable(text: str) -> str:
    """Return text without characters that command a terminal; they are shown escaped. Lines and tabs stay.

    The result can be encoded, also where the text came from a file name that is not UTF-8.
    """
    if text.isprintable():  # as nearly all is; no control character counts as printable
        return text
    return re.sub(_CONTROL, lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)
