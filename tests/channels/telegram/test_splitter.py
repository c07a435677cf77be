"""Splitting long replies: bounds, what is kept, where it is cut, and code blocks."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniclaw.channels.telegram.splitter import LEAST_LIMIT, MAX_UNITS, is_blank, is_boundary, split_text, utf16_units

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
WHOLE = [
    "e\u0301",
    FAMILY,
    "\U0001f1e9\U0001f1ea",
    "\U0001f44d\U0001f3fd",
    SCOTLAND,
    "1\ufe0f\u20e3",
    "\u1112\u1161\u11ab",
]


def words(low: int, high: int) -> st.SearchStrategy[str]:
    return st.text("abc .,é𝒳👍\u0301", min_size=low, max_size=high)


PROSE = st.lists(st.one_of(words(0, 60), words(300, 1500), st.just(""), st.just("x" * 700)), max_size=30).map("\n".join)


@st.composite
def code_blocks(draw: st.DrawFn) -> str:
    marker = draw(st.sampled_from(["```", "````", "~~~"]))
    info = draw(st.sampled_from(["", "python", "c++ title=x"]))
    body = draw(st.lists(st.one_of(words(0, 80), words(0, 1500), st.just("    indented"), st.just("")), max_size=40))
    closed = draw(st.sampled_from([True, True, True, False]))
    return "\n".join([marker + info, *body, *([marker] if closed else [])])


TEXTS = st.lists(st.one_of(PROSE, code_blocks()), max_size=6).map("\n".join)


def read_blocks(text: str) -> tuple[list[tuple[str, str]], bool]:
    """Return every character that can be seen with the language of the block it is in, and whether one is left open."""
    seen: list[tuple[str, str]] = []
    marker = language = ""
    for line in text.split("\n"):
        fence = re.match(r" {0,3}(```+|~~~+)(.*)$", line)
        if fence and not marker and not (fence[1][0] == "`" and "`" in fence[2]):
            marker, language = fence[1], (fence[2].split() or ["-"])[0]
        elif fence and marker and fence[1].startswith(marker) and not fence[2].strip():
            marker = language = ""
        else:
            seen += [(char, language) for char in line if not char.isspace()]
    return seen, bool(marker)


@given(TEXTS, st.integers(LEAST_LIMIT, 3000))
@settings(max_examples=300, deadline=None)
def test_split_text_loses_nothing_and_leaves_no_block_open(text: str, limit: int) -> None:
    """Every part fits and can be seen; read one after the other they say the same, each letter in the same block."""
    parts = split_text(text, limit)
    assert all(0 < utf16_units(part) <= limit and not is_blank(part) for part in parts)
    read = [read_blocks(part) for part in parts]
    expected, left_open = read_blocks(text)
    assert [char for seen, _ in read for char in seen] == expected or is_blank(text)
    assert not any(is_open for _, is_open in read[:-1])
    if len(parts) > 1 and not left_open:
        assert not read[-1][1]


@given(st.text(max_size=6000), st.integers(LEAST_LIMIT, 1100))
@settings(deadline=None)
def test_split_text_any_text_fits(text: str, limit: int) -> None:
    """Whatever a model says, each part can be sent."""
    assert all(utf16_units(part) <= limit for part in split_text(text, limit))


@given(
    st.lists(st.sampled_from(["```", "~~~", "`", "~", " ", "\n", "x" * 500, "````", "a b"]), max_size=60).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_split_text_hostile_fences_lose_nothing(text: str) -> None:
    """Backticks at the worst places make no part too long and lose no letter (a language, `a`, is said again)."""
    parts = split_text(text, LEAST_LIMIT)
    assert all(utf16_units(part) <= LEAST_LIMIT for part in parts)
    kept = [char for part in parts for char in part if char in "xb"]
    assert kept == [char for char in text if char in "xb"] or is_blank(text)


@given(st.lists(st.sampled_from([*WHOLE, "x", "é", "👍"]), min_size=500, max_size=1500).map("".join))
@settings(max_examples=50, deadline=None)
def test_split_text_never_tears_what_is_one_character(text: str) -> None:
    """Where there is neither line nor word, it is cut between what a person sees as characters."""
    parts = split_text(text, LEAST_LIMIT)
    assert "".join(parts) == text
    at = 0
    for part in parts[:-1]:
        at += len(part)
        assert is_boundary(text, at)


@pytest.mark.parametrize("whole", WHOLE)
def test_is_boundary_not_inside_of_a_character(whole: str) -> None:
    """Letters with accents, families, flags, skin tones, keycaps and syllables are whole; between two is a boundary."""
    text = whole * 2
    assert [index for index in range(len(text) + 1) if is_boundary(text, index)] == [0, len(whole), len(text)]


def test_is_boundary_line_end_is_one() -> None:
    """CR LF is not cut."""
    assert not is_boundary("a\r\nb", 2)


def test_split_text_short_text_is_one_part_as_it_is() -> None:
    """What fits is not touched."""
    assert split_text("  a\n\n```\nopen ") == ["  a\n\n```\nopen "]
    assert split_text("x" * MAX_UNITS) == ["x" * MAX_UNITS]
    assert split_text("x" * (MAX_UNITS + 1)) == ["x" * MAX_UNITS, "x"]


@pytest.mark.parametrize("blank", ["", " \n\t", "\n" * 5000, "\u200b\u2060", " " * 9000])
def test_split_text_blank_text_is_no_part(blank: str) -> None:
    """Telegram would refuse it."""
    assert split_text(blank) == []


def test_split_text_counts_as_telegram_does() -> None:
    """Emoji count twice, and a pair is not torn."""
    assert [len(part) for part in split_text("👍" * 3000)] == [2048, 952]
    assert [len(part) for part in split_text("x" + "👍" * 3000)] == [2048, 953]


def test_split_text_cuts_between_paragraphs_then_lines_then_words() -> None:
    """The best place in the second half is taken."""
    assert split_text("a" * 3000 + "\n\n" + "b" * 900 + "\n" + "c" * 900) == ["a" * 3000, "b" * 900 + "\n" + "c" * 900]
    assert split_text("a" * 3000 + "\n" + "b" * 900 + "\n" + "c" * 900) == ["a" * 3000 + "\n" + "b" * 900, "c" * 900]
    assert split_text("a" * 3000 + " " + "b" * 2000) == ["a" * 3000, "b" * 2000]


def test_split_text_prefers_to_cut_before_a_code_block() -> None:
    """A block that would be cut goes to the next message as a whole, where that does not waste too much."""
    block = "```python\n" + "x = 1\n" * 400 + "```"
    text = "word " * 500 + "\n" + block
    assert split_text(text) == [("word " * 500).rstrip(), block]


def test_split_text_long_block_is_closed_and_opened_again_with_its_language() -> None:
    """Each part of a long block is a block of its language, lines and indentation as they were."""
    lines = [f"    line_{number} = {number}" for number in range(600)]
    parts = split_text("\n".join(["````python title=x", *lines, "````", "", "The end."]))
    assert len(parts) > 2
    assert all(part.startswith("````python") for part in parts)
    assert all(part.endswith("\n````") for part in parts[:-1])
    assert parts[-1].endswith("````\n\nThe end.")
    kept = [line for part in parts for line in part.split("\n") if line.startswith("    line_")]
    assert kept == lines


def test_split_text_block_that_ends_at_the_cut_is_not_opened_again() -> None:
    """No empty block begins a message."""
    for extra in range(40):
        head = "```\n" + ("y" * 99 + "\n") * 40 + "z" * (20 + extra) + "\n```\n" + "w" * 1000
        parts = split_text(head)
        assert not any(re.search(r"^```\n```", part) for part in parts)
        assert parts[-1].startswith(("w", "```\n"))


def test_split_text_large_text_takes_no_quadratic_time() -> None:
    """Half a million characters are split at once."""
    text = "".join("word " if number % 9 else "\n" for number in range(100_000))
    parts = split_text(text)
    assert len(parts) > 100
    assert all(len(part) > MAX_UNITS // 4 for part in parts[:-1])


def test_split_text_normal_forms_are_left_alone() -> None:
    """The text is not normalised."""
    text = unicodedata.normalize("NFD", "é") * 3000
    assert "".join(split_text(text)) == text
