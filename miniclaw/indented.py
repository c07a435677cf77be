"""A text of others, indented: no line of it begins where a heading, a prompt or the line of another speaker does."""

from __future__ import annotations

import os
from typing import Final, TextIO
from unicodedata import category, east_asian_width

from miniclaw.formats import printable

INDENT: Final = "  "

_TAB_COLUMNS: Final = 8
_USUAL_COLUMNS: Final = 80  # of a terminal that does not say how many it has


class Indented:
    """Indents one text, which may come in pieces, and escapes in it what would command the terminal.

    Args:
        width: Columns of the terminal: longer lines are broken, because those that it breaks are not indented. None:
            lines stay as they are.
        begun: Whether the first line has begun; it is not indented then, and is not longer than an indentation yet.
    """

    def __init__(self, width: int | None = None, *, begun: bool = False) -> None:
        self._room = None if width is None else max(1, width - len(INDENT))
        self._begun = begun
        self._column = 0  # of the text in its line
        self._last = ""  # character of the text

    def feed(self, piece: str) -> str:
        """Return the next piece as it is to be printed."""
        text = printable(piece, before=self._last)
        self._last = piece[-1:] or self._last
        lines = []
        for number, line in enumerate(text.split("\n")):
            if number:
                self._begun, self._column = False, 0
            lines.append(self._indent(line))
        return "\n".join(lines)

    def _indent(self, line: str) -> str:
        if not line:
            return ""
        beginning = "" if self._begun else INDENT
        self._begun = True
        if self._room is None or (line.isascii() and "\t" not in line and self._column + len(line) <= self._room):
            self._column += len(line)
            return beginning + line
        return beginning + "".join(self._place(char, self._room) for char in line)

    def _place(self, char: str, room: int) -> str:
        columns = _columns(char)
        shown = char
        if char == "\t":  # a terminal ends a tab at its edge
            columns = min(_TAB_COLUMNS - self._column % _TAB_COLUMNS, room)
            shown = " " * columns
        if self._column and self._column + columns > room:
            self._column = columns
            return f"\n{INDENT}{shown}"
        self._column += columns
        return shown


def width_of(output: TextIO | int) -> int | None:
    """Return how many columns the terminal has to which a stream, or a descriptor, goes; None: it goes elsewhere."""
    if not (os.isatty(output) if isinstance(output, int) else output.isatty()):
        return None
    try:
        fd = output if isinstance(output, int) else output.fileno()
        return os.get_terminal_size(fd).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def _columns(char: str) -> int:
    """Return how many columns a character takes, at the most: terminals differ about emoji and combining marks."""
    if char.isascii():
        return 1
    return 2 if east_asian_width(char) in {"W", "F"} or category(char) in {"So", "Co"} else 1
