"""Durations, ages, sizes and terminal-safe text."""

from __future__ import annotations

import json
import tomllib
from datetime import datetime, timedelta
from unicodedata import bidirectional, category

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.formats import (
    encodable,
    escaped_json,
    escaped_toml,
    format_age,
    format_duration,
    format_exact_size,
    format_remaining,
    format_size,
    format_time,
    one_line,
    parse_duration,
    parse_size,
    printable,
)

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
INVISIBLE = f"{BLANK}\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef"
HOSTILE = (
    f"\x00\x1b\x7f\x85\x9b\xad\u061c\u200b\u200d\u200e\u202e\u2028\u2029\u2066\ufeff\U000e0041\U000e007f{INVISIBLE}"
)
TEXTS = st.text(alphabet=st.one_of(st.characters(), st.sampled_from(f'{HOSTILE}a1 "\\\n\t❤😀中')))

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("1s", timedelta(seconds=1)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        ("2w", timedelta(days=14)),
        (" 7 d ", timedelta(days=7)),
        ("0s", timedelta(0)),
        ("007d", timedelta(days=7)),
    ],
)
def test_parse_duration_number_and_unit_gives_the_duration(text: str, expected: timedelta) -> None:
    """A whole number with a unit is that long."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-1d", "+1d", "1.5d", "1e3s", "30D", "30 days", "1d12h", "never", "1d\n2d", "1y", "1 234s",
     "1234567890s", "٣d٣", "infd"],
)  # fmt: skip
def test_parse_duration_anything_else_is_refused_with_an_example(text: str) -> None:
    """What is no whole number with a unit is refused, and the sentence shows what would be right."""
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@given(st.integers(0, 142_857_142), st.sampled_from("smhdw"))
def test_parse_duration_any_number_of_units_is_so_many_seconds(number: int, unit: str) -> None:
    """A duration is its number times its unit, whatever they are."""
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * _SECONDS[unit])


@given(st.integers(0, 999_999_999))
def test_format_duration_any_whole_seconds_are_parsed_back_to_the_same(seconds: int) -> None:
    """No duration changes by being written and read."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(hours=24), "1d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "61s"),
        (None, "never"),
    ],
)
def test_format_duration_uses_the_largest_unit_that_is_exact(duration: timedelta | None, expected: str) -> None:
    """A duration is written in the largest unit in which it is a whole number; None is never."""
    assert format_duration(duration) == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=59, seconds=59), "59m"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=47), "1d"),
        (timedelta(days=31, hours=23), "31d"),
        (timedelta(days=-2), "in 2d"),
        (timedelta(seconds=-61), "in 1m"),
    ],
)
def test_format_age_gives_one_number_rounded_down(age: timedelta, expected: str) -> None:
    """An age is never shown older than it is; one in the future says so."""
    assert format_age(age) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(days=29, seconds=1), "30d"),
        (timedelta(days=1, seconds=1), "2d"),
        (timedelta(hours=1, microseconds=1), "2h"),
        (timedelta(seconds=59.2), "60s"),
        (timedelta(seconds=61), "2m"),
    ],
)
def test_format_remaining_gives_one_number_rounded_up(left: timedelta, expected: str) -> None:
    """What is left is never shown as less than it is."""
    assert format_remaining(left) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1.0 MiB"),
        (3 * 1024**3, "3.0 GiB"),
        (5000 * 1024**3, "5000.0 GiB"),
    ],
)
def test_format_size_uses_binary_units(size: int, expected: str) -> None:
    """Bytes are exact below a KiB and have one decimal from there; the largest unit is GiB."""
    assert format_size(size) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("bell\x07", "bell\\x07"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\u202eevil\u202c", "\\u202eevil\\u202c"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
    ],
)
def test_printable_controls_are_shown_escaped(text: str, expected: str) -> None:
    """What commands a terminal or turns the direction of writing is shown, not sent."""
    assert printable(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\nc", "żółć 中文 العربية", "back\\slash", "", "\u3000全角",
        "😀 👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3", "\u0645\u06cc\u200c\u062e\u0648", "葛\U000e0100", "Silben\xadtrennung", "\u0600\u06dd",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ],
)  # fmt: skip
def test_printable_harmless_text_stays_as_it_is(text: str) -> None:
    """Text of any language, emoji with all that they are made of, tabs and line ends are not touched."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ufe0eb", "a\\ufe0eb"),
        ("❤\ufe0f\ufe01\ufe02", "❤\ufe0f\\ufe01\\ufe02"),
        ("\ufe0f", "\\ufe0f"),
        ("😀\U000e0041\U000e0042", "😀\\U000e0041\\U000e0042"),
        ("\U000e0001\u2028\ufeff\ufff9", "\\U000e0001\\u2028\\ufeff\\ufff9"),
    ],
)
def test_printable_hidden_text_is_shown(text: str, expected: str) -> None:
    """What can carry a message that nobody sees (tags, selectors of variants) is escaped where it means nothing else."""
    assert printable(text) == expected


def test_printable_pieces_know_what_came_before() -> None:
    """An emoji that a model says in two tokens is one emoji."""
    assert printable("\ufe0f", before="❤") == "\ufe0f"
    assert printable("\ufe0f", before="a") == "\\ufe0f"
    assert printable("\ufe0f", before="\x1b") == "\\ufe0f"


def is_control(char: str) -> bool:
    """Return whether a character commands a terminal, ends a line or turns the direction of writing."""
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return category(char) in {"Cc", "Cs", "Zl", "Zp"} or bidirectional(char) in turns or char in "\u061c\u200e\u200f"


@given(TEXTS)
def test_printable_any_text_comes_out_without_controls_and_stays_so(text: str) -> None:
    """No control character is left in any text, and escaping twice changes nothing more."""
    shown = printable(text)
    assert not {char for char in shown if is_control(char) and char not in "\t\n"}
    assert printable(shown) == shown
    shown.encode()


@given(TEXTS)
def test_one_line_shows_everything(text: str) -> None:
    """A name has no character that cannot be seen, not even a space that is another one, and is one line."""
    shown = one_line(text)
    assert not {char for char in shown if char != " " and (category(char)[0] in "CZ" or char in INVISIBLE)}
    assert one_line(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna", "an\u200bna"),
        ("a b", "a\xa0b"),
        ("bob", "bob\ufe0f"),
        ("x", "x\u3164"),
        ("x", "x\U000e0041"),
        ("a", "a\n"),
        ("a", "a\u2800"),
        ("a", "a\U0001d159"),
        ("a", "a\U00016fe4"),
        ("a", "a\U0001107f"),
        ("José", "Jose\u0301"),
        ("\uac01", "\u1100\u1161\u11a8"),
        ("K", "\u212a"),
        ("a", "a\u200a\u0301"),
    ],
)
def test_one_line_names_that_look_alike_are_told_apart(one: str, other: str) -> None:
    """Who deletes a session by its id sees which."""
    assert one_line(one) == one
    assert "\\" in one_line(other)
    assert one_line(other).isascii()


@given(TEXTS.map(lambda text: text.encode(errors="replace").decode()))
def test_escaped_json_means_the_same_and_hides_nothing(text: str) -> None:
    """Parsed it is equal, and printed it neither commands the terminal nor hides anything."""
    document = msgspec.json.encode({"text": text, text: [text, 1, None]})
    escaped = escaped_json(document).decode()
    assert json.loads(escaped) == {"text": text, text: [text, 1, None]}
    assert not {char for char in escaped if is_control(char) or category(char) == "Cf" or char in BLANK}
    assert escaped_json(escaped.encode()) == escaped.encode()


@given(TEXTS.map(lambda text: text.encode(errors="replace").decode()))
def test_escaped_toml_means_the_same_and_hides_nothing(text: str) -> None:
    """Likewise for the configuration as its file would say it."""
    escaped = escaped_toml(msgspec.json.encode(text).decode())
    assert tomllib.loads(f"text = {escaped}") == {"text": text}
    assert not {char for char in escaped if is_control(char) or category(char) == "Cf" or char in BLANK}


def test_escaped_json_keeps_what_is_visible_and_how_it_is_laid_out() -> None:
    """A document for people to read stays one."""
    document = '{\n    "żółć": "中文 العربية 😀 ❤\ufe0f"\n}'.encode()
    assert escaped_json(document) == document


@pytest.mark.parametrize("text", ["a", "ż"])
def test_escaped_json_has_no_white_space_that_commands_a_terminal(text: str) -> None:
    """A carriage return between tokens would overwrite a line, and none within a string is left to escape."""
    document = f'{{\r\n\t"{text}":\r"\\r\\t" \n\n}}\r'.encode()
    assert escaped_json(document) == f'{{\n    "{text}":\n"\\r\\t" \n\n}}\n'.encode()


def test_escaped_json_of_bytes_that_are_no_unicode_is_ascii() -> None:
    """A damaged file is shown as well."""
    assert escaped_json(b'"\xff\xc2\x9b"') == b'"\\udcff\\u009b"'


def test_encodable_changes_only_what_cannot_be_encoded() -> None:
    """In JSON a file's name is its name, as far as it is Unicode."""
    assert encodable("a\x1b\u202e\udcff.json") == "a\x1b\u202e\\udcff.json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500MB", 500_000_000),
        ("2GiB", 2 * 1024**3),
        ("512MiB", 512 * 1024**2),
        ("10 GB", 10 * 1000**3),
        (" 1KB ", 1000),
        ("1KiB", 1024),
        ("3TB", 3 * 1000**4),
        ("3TiB", 3 * 1024**4),
        ("7B", 7),
        ("0B", 0),
        ("007 KB", 7000),
    ],
)
def test_parse_size_number_and_unit_gives_the_bytes(text: str, expected: int) -> None:
    """Units with an i are powers of 1024, those without of 1000."""
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "500", "MB", "-1MB", "+1MB", "1.5GB", "1e3MB", "500mb", "500 M", "5G", "1iB", "1PB", "1 000MB", "never", "1MB\n2MB",
     "1234567890123456789B", "٣MB", "infMB", "1MBs"],
)  # fmt: skip
def test_parse_size_anything_else_is_refused_with_an_example(text: str) -> None:
    """What is no whole number with a known unit is refused, and the sentence shows what would be right."""
    with pytest.raises(ValueError, match="500MB"):
        parse_size(text)


@given(st.integers(0, 10**18 - 1) | st.builds(lambda n, p: n * 1024**p, st.integers(0, 999), st.integers(0, 4)))
def test_format_exact_size_any_size_is_parsed_back_to_the_same(size: int) -> None:
    """No size changes by being written and read."""
    assert parse_size(format_exact_size(size)) == size


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0B"), (1, "1B"), (1000, "1KB"), (1024, "1KiB"), (500_000_000, "500MB"), (2 * 1024**3, "2GiB"), (1_024_000, "1000KiB")],
)  # fmt: skip
def test_format_exact_size_uses_the_largest_unit_that_is_exact(size: int, expected: str) -> None:
    """A size is written in the largest unit in which it is a whole number."""
    assert format_exact_size(size) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T04:00:59.9+02:00", "2026-11-23 02:00:59 UTC"),
        ("0001-01-01T00:00:00+00:00", "0001-01-01 00:00:00 UTC"),
        ("0987-06-05T04:03:02+00:00", "0987-06-05 04:03:02 UTC"),
        ("9999-12-31T23:59:59+00:00", "9999-12-31 23:59:59 UTC"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01 00:00:00 UTC+14:00"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31 23:59:59 UTC-12:00"),
    ],
)
def test_format_time_is_in_utc_as_far_as_the_calendar_goes(text: str, expected: str) -> None:
    """Years have four digits, and no time that a file can hold is an error."""
    assert format_time(datetime.fromisoformat(text)) == expected
