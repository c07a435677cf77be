"""One-time codes: once, for ten minutes, and few at a time."""

from __future__ import annotations

import re

import pytest

from miniclaw.secret import HIDDEN, redact
from miniclaw.web.access.codes import CODE_SECONDS, MAX_CODES, OneTimeCodes


class Moment:
    """A monotonic clock."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def codes(moment: Moment) -> OneTimeCodes:
    return OneTimeCodes(now=moment)


def test_code_is_taken_once(codes: OneTimeCodes) -> None:
    """A code is good for one use, and its use ends no other one."""
    first, second = codes.make(), codes.make()
    assert first != second
    assert codes.take(first)
    assert not codes.take(first)
    assert codes.take(second)
    assert not codes.take(second)
    assert len(codes) == 0


def test_code_is_good_for_ten_minutes(codes: OneTimeCodes, moment: Moment) -> None:
    """Until the bound, and not at it."""
    early, late = codes.make(), codes.make()
    moment.seconds += CODE_SECONDS - 0.001
    assert codes.take(early)
    moment.seconds += 0.001
    assert not codes.take(late)
    assert CODE_SECONDS == 600


def test_code_cannot_be_guessed_and_needs_no_escaping(codes: OneTimeCodes) -> None:
    """A code has 256 bits, in characters that a URL takes as they are."""
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", codes.make()) for _ in range(MAX_CODES))


@pytest.mark.parametrize("shown", ["", "x", "\ud800", "ä" * 43, "A" * 10_000])
def test_code_that_was_not_made_is_not_taken(codes: OneTimeCodes, shown: str) -> None:
    """Other texts are no codes, and end none."""
    code = codes.make()
    for text in (shown, code[:-1], code + "x", code.swapcase()):
        assert not codes.take(text)
    assert codes.take(code)


def test_codes_are_few(codes: OneTimeCodes) -> None:
    """One more than there may be ends the oldest, so that no memory grows."""
    made = [codes.make() for _ in range(MAX_CODES + 1)]
    assert len(codes) == MAX_CODES
    assert [codes.take(code) for code in made] == [False, *[True] * MAX_CODES]


def test_code_stands_in_no_log_as_long_as_it_is_good(codes: OneTimeCodes, moment: Moment) -> None:
    """A code is hidden like any secret; one that is used, too old or pushed out is hidden no more, nor remembered."""
    used, old = codes.make(), codes.make()
    assert redact(f"at {used} and {old}") == f"at {HIDDEN} and {HIDDEN}"
    codes.take(used)
    assert redact(f"at {used} and {old}") == f"at {used} and {HIDDEN}"
    moment.seconds += CODE_SECONDS
    for _ in range(MAX_CODES):
        codes.make()
    assert redact(old) == old
