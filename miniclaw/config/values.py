"""The rules for single values of the configuration, each with the sentence that describes it.

A value that breaks its rule is refused by key; none is ever replaced by a default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from miniclaw.errors import ConfigError
from miniclaw.formats import NEVER, format_duration, format_exact_size, parse_duration, parse_size

# Strings, compiled only if a file has such a key.
_TIME_OF_DAY: Final = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]{0,127}"

T = TypeVar("T")

OFF: Final = "off"
"""The word that switches off a feature that protects data, such as the trash."""

OFF_WORDS: Final = (NEVER, OFF)
"""The words that switch off a rule that removes something."""


class ValueRule(Struct, frozen=True):
    """The rule for a value of the configuration.

    Attributes:
        right: A description of valid values, as the end of a sentence.
        read: Returns the parsed value, or raises ValueError.
        show: Returns the file's form of a parsed value.
        off: The words that switch the rule off; the first is the one that is shown.
        may_be_secret: True if a refused value is not shown, as it may be a secret by mistake.
    """

    right: str
    read: Callable[[object], object]
    show: Callable[[Any], object]
    off: tuple[str, ...] = ()
    may_be_secret: bool = False

    def parse(self, value: object, key: str, path: Path | None) -> Any:
        """Return the parsed value; None: off.

        Raises:
            ConfigError: The value breaks the rule.
        """
        if isinstance(value, str) and value in self.off:
            return None
        try:
            return self.read(value)
        except ValueError:
            refused = "it" if self.may_be_secret else as_toml(value)
            off = f', or "{self.off[0]}"' if self.off else ""
            raise ConfigError(path, f"{refused} is not {self.right}{off}", key=key) from None


def duration_rule(least: str, most: str, *, off: tuple[str, ...] = ()) -> ValueRule:
    """Return the rule for a duration; the bounds are inclusive."""

    def read(value: object) -> timedelta:
        duration = parse_duration(typed(value, str))
        _check(parse_duration(least) <= duration <= parse_duration(most))
        return duration

    right = f'a duration from "{least}" to "{most}", with a unit (s, m, h, d, w)'
    return ValueRule(right, read, format_duration, off)


def size_rule(least: str, most: str, *, off: tuple[str, ...] = ()) -> ValueRule:
    """Return the rule for a number of bytes; the bounds are inclusive."""

    def read(value: object) -> int:
        size = parse_size(typed(value, str))
        _check(parse_size(least) <= size <= parse_size(most))
        return size

    right = f'a size from "{least}" to "{most}", with a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)'
    return ValueRule(right, read, format_exact_size, off)


def count_rule(least: int, most: int, *, off: tuple[str, ...] = ()) -> ValueRule:
    """Return the rule for a whole number; the bounds are inclusive."""

    def read(value: object) -> int:
        count = typed(value, int)
        _check(least <= count <= most)
        return count

    return ValueRule(f"a whole number from {least:,} to {most:,}", read, int, off)


def fraction_rule(*, off: tuple[str, ...] = ()) -> ValueRule:
    """Return the rule for a fraction, neither nothing nor all."""

    def read(value: object) -> float:
        fraction = typed(value, float)
        _check(0 < fraction < 1)  # NaN is neither
        return fraction

    return ValueRule("a number between 0 and 1, both exclusive, such as 0.5", read, float, off)


def time_of_day_rule() -> ValueRule:
    """Return the rule for a time of day, in minutes."""

    def read(value: object) -> time:
        match = re.fullmatch(_TIME_OF_DAY, typed(value, str))
        if match is None:
            raise ValueError("not a time of day")
        return time(int(match[1]), int(match[2]))

    return ValueRule('a time of day from "00:00" to "23:59", such as "04:00"', read, "{:%H:%M}".format)


def base_url_rule(example: str) -> ValueRule:
    """Return the rule for the address of an HTTP API. A refused value is not shown: it could hold a key."""

    def read(value: object) -> str:
        text = typed(value, str)
        _check(text.isascii() and not re.search(r"[\s\x00-\x1f\x7f?#@\\]", text))
        parts = urlsplit(text)
        _check(parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0)
        return text.rstrip("/")

    right = f'an address such as "{example}": http or https, without user, password, "?" and "#"'
    return ValueRule(right, read, str, may_be_secret=True)


def variable_rule(what: str) -> ValueRule:
    """Return the rule for the name of an environment variable that holds a secret, such as a key."""

    def read(value: object) -> str:
        name = typed(value, str)
        _check(re.fullmatch(_VARIABLE, name) is not None)
        return name

    right = f"the name of an environment variable; the {what} itself does not stand here"
    return ValueRule(right, read, str, may_be_secret=True)


def path_rule(what: str) -> ValueRule:
    """Return the rule for the path of a file that holds a secret."""

    def read(value: object) -> Path:
        path = Path(typed(value, str))
        _check("\0" not in str(path) and path.is_absolute())
        return path

    right = f"the absolute path of a file; the {what} itself does not stand here"
    return ValueRule(right, read, str, may_be_secret=True)


def parse_values(
    rules: Mapping[str, ValueRule], table: str, values: Mapping[str, Any], path: Path | None
) -> dict[str, Any]:
    """Return a table's values as its Struct takes them; values without a rule are left to the Struct.

    Raises:
        ConfigError: A value breaks its rule.
    """
    parsed = {key: rule.parse(values[key], f"{table}.{key}", path) for key, rule in rules.items() if key in values}
    return {**values, **parsed}


def show_values(rules: Mapping[str, ValueRule], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in the file's form; without those that are None, which cannot be written."""
    return {
        key: rules[key].show(value) if key in rules else value for key, value in values.items() if value is not None
    }


def as_toml(value: object) -> str:
    """Return a value for a message, much as in the file, and at most 61 characters long."""
    text = str(value) if isinstance(value, float) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= 60 else text[:60] + "…"


def typed(value: object, kind: type[T]) -> T:
    """Return a value of this type; a bool is no number.

    Raises:
        ValueError: The value has another type.
    """
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(f"not of the type {kind.__name__}")  # noqa: TRY004 - a rule's `read` raises ValueError only
    return value


def _check(right: bool) -> None:
    if not right:
        raise ValueError("out of bounds")
