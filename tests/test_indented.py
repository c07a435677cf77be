"""Texts of others, set in: no line of them begins where the program's own lines do."""

from __future__ import annotations

import io
from itertools import pairwise
from unicodedata import combining, east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.formats import INDENT, Indented, printable, width_of

TEXTS = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\n\r\t\x0b\x0c\x85\u2028\u2029 ab>中😀é\u0301")))


def columns(line: str) -> int:
    """Return how many columns a usual terminal takes for a line without tabs."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)


@given(TEXTS)
def test_indented_every_line_is_set_in_and_nothing_is_lost(text: str) -> None:
    """A line is what a terminal takes for one: no other character ends any. Without the indentation it is the text."""
    shown = Indented().feed(text)
    lines = shown.split("\n")
    assert lines == [line for part in lines for line in (part.splitlines() or [""])]
    assert all(line.startswith(INDENT) for line in lines if line)
    assert "\n".join(line.removeprefix(INDENT) for line in lines) == printable(text)


@given(TEXTS, st.integers(1, 40))
def test_indented_no_line_is_longer_than_the_terminal(text: str, width: int) -> None:
    """So the terminal breaks none, and what it would put at its edge is set in, too."""
    lines = Indented(width).feed(text).split("\n")
    assert all(line.startswith(INDENT) for line in lines if line)
    # A terminal that has no room for the indentation and one wide character breaks lines all the same.
    assert all(columns(line) <= max(width, len(INDENT) + 2) for line in lines)


@given(TEXTS, st.lists(st.integers(0, 30), max_size=5), st.none() | st.integers(10, 40), st.booleans())
def test_indented_pieces_make_the_whole(text: str, cuts: list[int], width: int | None, begun: bool) -> None:
    """However an answer is cut up on its way, the same is printed."""
    whole = Indented(width, begun=begun)
    pieces = Indented(width, begun=begun)
    places = [0, *sorted(cuts), len(text)]
    shown = "".join(pieces.feed(text[begin:end]) for begin, end in pairwise(places))
    assert shown == whole.feed(text)


def test_indented_line_that_has_begun_goes_on() -> None:
    """Behind a prompt or a word of the program, only the further lines are set in."""
    assert Indented(begun=True).feed("one\ntwo") == "one\n  two"
    assert Indented(8, begun=True).feed("one two three") == "one tw\n  o thre\n  e"


def test_indented_tab_reaches_no_edge() -> None:
    """A terminal stops a tab at its edge, and would put what follows at the beginning of the next line."""
    assert Indented(12).feed("a\tbcd") == "  a       bc\n  d"


def test_indented_wide_characters_take_two_columns() -> None:
    """Chinese and emoji are broken where a terminal would break them."""
    assert Indented(8).feed("中文中文") == "  中文中\n  文"
    assert Indented(8).feed("😀😀😀😀") == "  😀😀😀\n  😀"


@pytest.mark.parametrize("stream", [io.StringIO(), io.TextIOWrapper(io.BytesIO())])
def test_width_of_what_is_no_terminal_is_not_known(stream: io.StringIO) -> None:
    """In a file lines stay as they are."""
    assert width_of(stream) is None
