"""Splitting of a long reply into several messages. Pure.

Telegram takes at most 4,096 UTF-16 code units a message. A text is cut, in this order of preference: between
paragraphs, between lines outside of code blocks, between lines, between words, between grapheme clusters. A code block
(a fence of three to sixteen backticks or tildes, as in CommonMark) is closed at the end of a part and opened again,
with its language, at the beginning of the next.

Outside of code blocks white space at a cut is dropped; nothing else ever is.

A cut never splits a grapheme cluster, unless the cluster fills half a part. The clusters are those of the rules of
Unicode's UAX #29 that matter in chats: line ends, combining marks, emoji with skin tones, joined and tagged emoji,
keycaps, flags, Hangul. Python's strings hold code points, so a surrogate pair cannot be split.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

MAX_UNITS: Final = 4096
"""Longest message, in UTF-16 code units, inclusive."""

LEAST_LIMIT: Final = 1024
"""Smallest limit for which these rules hold."""

_MAX_MARKER: Final = 16
_LANGUAGE_CHARS: Final = 32
_OPENS: Final = re.compile(r" {0,3}(?P<marker>`{3,16}(?=[^`\n]{0,100}$)(?!`)|~{3,16}(?!~)(?=.{0,100}$))(?P<info>.*)$")
_CLOSES: Final = re.compile(r" {0,3}(?P<marker>`{3,16}|~{3,16})\s*$")
_LIKE_A_FENCE: Final = re.compile(r"\s*(```|~~~)")

_JOINER: Final = "\u200d"

_FLAG_HALVES: Final = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_MAX_FLAG_HALVES: Final = 64  # counted back from a place


def utf16_units(text: str) -> int:
    """Return the length of a text in UTF-16 code units, as Telegram counts it."""
    return len(text) + sum(char > "\uffff" for char in text)


def split_text(text: str, limit: int = MAX_UNITS) -> list[str]:
    """Split a text into parts that each fit into one message; no part is blank.

    Args:
        text: Any text.
        limit: Most UTF-16 code units of a part, inclusive; at least `LEAST_LIMIT`.
    """
    if utf16_units(text) <= limit:
        return [] if is_blank(text) else [text]
    return [part for part in _Splitter(text, limit).parts() if not is_blank(part)]


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character; Telegram refuses such a message."""
    return not any(char.isprintable() and not char.isspace() for char in text)


class _Fence(Struct, frozen=True):
    """An open code block."""

    marker: str
    language: str

    @property
    def opening(self) -> str:
        return f"{self.marker}{self.language}\n"

    @property
    def closing(self) -> str:
        return f"\n{self.marker}"


class _Line(Struct, frozen=True):
    """A line: its start, its end (exclusive, without the line feed), and the code block that contains it.

    A block contains the line that closes it, but not the line that opens it.
    """

    start: int
    end: int
    fence: _Fence | None
    opens: bool
    closes: bool


def _read_lines(text: str) -> list[_Line]:
    """Return the lines of a text, each with its code block."""
    lines = []
    fence: _Fence | None = None
    start = 0
    for content in text.split("\n"):
        opened = _opened(content) if fence is None else None
        closes = bool(fence and (end := _CLOSES.match(content)) and end["marker"].startswith(fence.marker))
        lines.append(_Line(start, start + len(content), fence, opened is not None, closes))
        if opened is not None:
            fence = opened
        elif closes:
            fence = None
        start += len(content) + 1
    return lines


def _opened(content: str) -> _Fence | None:
    match = _OPENS.match(content)
    if match is None:
        return None
    words = match["info"].split()
    return _Fence(match["marker"], words[0].lstrip("~")[:_LANGUAGE_CHARS] if words else "")


class _Cut(Struct, frozen=True):
    """A cut: the end of a part, the start of the next, and the code block that contains both."""

    end: int
    next_start: int
    fence: _Fence | None


class _Splitter:
    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._lines = _read_lines(text)
        self._starts = [*(line.start for line in self._lines), len(text)]
        self._reserve = 1 + _MAX_MARKER if any(line.opens for line in self._lines) else 0

    def parts(self) -> Iterator[str]:
        start, fence = 0, None
        while True:
            opening = fence.opening if fence else ""
            budget = self._limit - utf16_units(opening)
            if len(self._text) - start <= budget and utf16_units(self._text[start:]) <= budget:
                yield opening + self._text[start:]
                return
            cut = self._cut(start, _fit(self._text, start, budget - self._reserve))
            part = opening + self._text[start : cut.end]
            yield part + cut.fence.closing if cut.fence else part.rstrip()
            start, fence = self._skip(cut)
            if start >= len(self._text):
                return

    def _cut(self, start: int, end: int) -> _Cut:
        """Return the best place for a cut, not after `end`."""
        last = self._line_at(end + 1)
        quarter, half = start + (end - start) // 4, start + (end - start) // 2
        outside: _Line | None = None
        inside: _Line | None = None
        for index in range(last, self._line_at(start), -1):
            line, before = self._lines[index], self._lines[index - 1]
            if line.start < quarter:
                break
            if line.fence is None:
                if line.start >= half and (self._is_blank(line) or self._is_blank(before)):
                    outside = line
                    break
                outside = outside or line
            elif not before.opens:  # else the part would end with an empty block
                inside = inside or line
        if best := outside or inside:
            return _Cut(best.start - 1, best.start, best.fence)
        return self._cut_line(self._lines[last], half, end)

    def _cut_line(self, line: _Line, half: int, end: int) -> _Cut:
        """Return the best place for a cut within a line."""
        text = self._text
        if line.closes:  # only white space follows
            return _Cut(end, line.end, None)
        for index in range(end - 1, half, -1):
            if text[index].isspace() and not self._looks_like_a_fence(index + 1, line):
                return _Cut(index if line.fence is None else index + 1, index + 1, line.fence)
        for index in range(end, half, -1):
            if is_boundary(text, index) and not self._looks_like_a_fence(index, line):
                return _Cut(index, index, line.fence)
        return _Cut(end, end, line.fence)

    def _skip(self, cut: _Cut) -> tuple[int, _Fence | None]:
        """Return the start of the next part, and its code block, past the end of a block and past blank lines."""
        index, lines = self._line_at(cut.next_start), self._lines
        start, fence = cut.next_start, cut.fence
        if lines[index].start == start and lines[index].closes:  # it is closed already
            index += 1
            start, fence = self._starts[index], None
        while fence is None and index < len(lines) and not self._text[start : lines[index].end].strip():
            index += 1
            start = self._starts[index]
        return start, fence

    def _line_at(self, index: int) -> int:
        """Return the number of the line in which a place is; its line feed belongs to it."""
        return bisect_right(self._starts, index, hi=len(self._lines)) - 1

    def _looks_like_a_fence(self, index: int, line: _Line) -> bool:
        """Return whether the rest of a line would be read as the beginning or the end of a code block."""
        return _LIKE_A_FENCE.match(self._text, index, line.end) is not None

    def _is_blank(self, line: _Line) -> bool:
        return not self._text[line.start : line.end].strip()


def _fit(text: str, start: int, budget: int) -> int:
    """Return the end of the longest piece from `start` that has at most `budget` code units."""
    end = min(len(text), start + budget)
    excess = utf16_units(text[start:end]) - budget
    while excess > 0:
        end -= 1
        excess -= 1 + (text[end] > "\uffff")
    return end


def is_boundary(text: str, index: int) -> bool:
    """Return whether a text may be cut before the character at `index`; the ends are boundaries."""
    if index <= 0 or index >= len(text):
        return True
    before, after = text[index - 1], text[index]
    if after.isascii() and before.isascii():
        return not (before == "\r" and after == "\n")
    if _extends(after) or before == _JOINER:
        return False
    if before in _FLAG_HALVES and after in _FLAG_HALVES:
        behind = text[max(0, index - _MAX_FLAG_HALVES) : index]
        return (len(behind) - len(behind.rstrip(_FLAG_HALVES))) % 2 == 0
    return not _is_hangul_syllable(before, after)


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char) in {"Mn", "Me", "Mc"}
        or char == _JOINER
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags, of the flags of regions
    )


def _is_hangul_syllable(before: str, after: str) -> bool:
    leads = "\u1100" <= before <= "\u115f"
    vowel = "\u1160" <= before <= "\u11a7"
    tails = "\u11a8" <= before <= "\u11ff"
    if "\u1100" <= after <= "\u115f" or "\uac00" <= after <= "\ud7a3":
        return leads
    if "\u1160" <= after <= "\u11a7":
        return leads or vowel or ("\uac00" <= before <= "\ud7a3" and (ord(before) - 0xAC00) % 28 == 0)
    if "\u11a8" <= after <= "\u11ff":
        return vowel or tails or "\uac00" <= before <= "\ud7a3"
    return False
