"""Values in the form that people read and write: durations and sizes with a unit, ages, text that is safe to print.

Foreign text is printed indented, so that none of its lines passes for a heading, a prompt or another speaker's line.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, TextIO, TypeAlias

NEVER: Final = "never"
"""The word that switches a rule off."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Strings, not compiled: most commands need none of these patterns, and to compile them takes a millisecond.
_DURATION: Final = r"([0-9]{1,9})\s*([smhdw])"

_SIZE_UNITS: Final[dict[str, int]] = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE: Final = r"([0-9]{1,18})\s*([KMGT]?i?B)"

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that control a terminal, change the direction of writing, end lines or show nothing.

Surrogates represent the bytes of a file name that is not UTF-8.
"""

# Unicode's Default_Ignorable_Code_Point, as far as the categories miss it: selectors of a variant, letters and marks,
# and reserved code points. The second line of blanks is not among them: a joiner of Tifinagh and one of Brahmi, the
# empty cell of Braille, the empty notehead, the filler of Khitan, and the empty hieroglyphs.
_SELECTOR: Final = r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_BLANK: Final = (
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\uffa0"
    r"\u2d7f\U0001107f\u2800\U0001d159\U00016fe4\U00013441\U00013442]"
)
_RESERVED: Final = r"[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]"

# Characters of these categories that languages need in a text: joiners (emoji, Persian), permitted line breaks, a vowel
# separator (Mongolian), and visible signs (Arabic, Syriac, Kaithi).
_NEEDED: Final = (
    "\n\t\xad\u200b\u200c\u200d\u2060\u180e"
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
# The flag of a part of a country, such as Scotland, is written with tags, which otherwise can hide a text.
_FLAG: Final = r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f|"

_Kind: TypeAlias = Literal["shown", "hidden", "selector", "blank"]


INDENT: Final = "  "

_TAB_COLUMNS: Final = 8

_USUAL_COLUMNS: Final = 80  # of a terminal that does not report its width


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the known name most similar to a name; empty if none is similar."""
    import difflib  # noqa: PLC0415 - start-up time: needed only after a typing error

    like = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{like[0]}"?' if like else ""


def parse_duration(text: str) -> timedelta:
    """Parse a duration: digits and one of ``s m h d w``; a bare number is refused.

    Raises:
        ValueError: The text is not of that form, or the duration is longer than the calendar.
    """
    match = re.fullmatch(_DURATION, text.strip())
    if match is None:
        raise ValueError('a duration is a whole number and a unit (s, m, h, d, w), such as "30d"')
    try:
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError(f"{text} is longer than the calendar") from None


def format_duration(duration: timedelta | None) -> str:
    """Return a duration in the form of `parse_duration`, in the largest exact unit up to days; None is ``never``."""
    if duration is None:
        return NEVER
    seconds = round(duration.total_seconds())
    unit = max((unit for unit in "smhd" if seconds % _UNITS[unit] == 0), key=_UNITS.__getitem__)
    return f"{seconds // _UNITS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Parse a size; return bytes. A bare number is refused; anything but this form raises ValueError.

    The form is digits and one of ``B``, ``KB``, ``MB``, ``GB``, ``TB`` (powers of 1000), ``KiB``, ``MiB``, ``GiB``,
    ``TiB`` (powers of 1024).
    """
    match = re.fullmatch(_SIZE, text.strip())
    unit = _SIZE_UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError('a size is a whole number and a unit (KB, MB, GB, TB, KiB, MiB, GiB, TiB), such as "500MB"')
    return int(match[1]) * unit


def format_exact_size(size: int) -> str:
    """Return a number of bytes in the form of `parse_size`, in the largest exact unit."""
    unit = max((unit for unit in _SIZE_UNITS if size % _SIZE_UNITS[unit] == 0), key=_SIZE_UNITS.__getitem__)
    return f"{size // _SIZE_UNITS[unit]}{unit}" if size else "0B"


def format_age(age: timedelta) -> str:
    """Return an age for a person: one number in the largest fitting unit."""
    seconds = int(abs(age).total_seconds())
    unit = next((unit for unit in "dhm" if seconds >= _UNITS[unit]), "s")
    text = f"{seconds // _UNITS[unit]}{unit}"
    return f"in {text}" if age < timedelta(0) else text


def format_remaining(duration: timedelta) -> str:
    """Return the time until a deadline, rounded up: thirty days are shown as thirty days throughout the first one."""
    seconds = math.ceil(duration.total_seconds())
    unit = next((unit for unit in "dhm" if seconds > _UNITS[unit]), "s")
    return f"{math.ceil(seconds / _UNITS[unit])}{unit}"


def format_time(time: datetime) -> str:
    """Return an aware time for a person: to the second, in UTC, followed by the zone."""
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


# Foreign texts -----------------------------------------------------------------------------------------------


def printable(text: str, *, before: str = "") -> str:
    """Return a text for people, with characters escaped that control a terminal or change the direction of writing.

    Line ends, tabs and characters that languages need are kept, such as the joiners in emoji and in Persian. The result
    can be encoded, even if the text is a file name that is not UTF-8. If the text arrives in pieces, `before` is the
    character before this one.
    """
    if text.isascii() and text.isprintable():
        return text
    if before and _kind(before) != "shown":
        before = ""
    return _replaced(before + text, _escaped, kept=_NEEDED, but=_FLAG)[len(before) :]


def one_line(text: str) -> str:
    """Return a name, an id or a sentence with all invisible characters escaped.

    Line ends, tabs and all spaces but the usual one are escaped, too. In a text that is not in Unicode's normal form C,
    and would look like the one that is, all characters beyond ASCII are. Letters of different scripts may still look
    alike.
    """
    if text.isascii() and text.isprintable():
        return text
    from unicodedata import is_normalized  # noqa: PLC0415 - start-up time: few texts need it

    shown = "".join(char if char.isprintable() and _kind(char) == "shown" else _escaped(char) for char in text)
    if is_normalized("NFC", shown):
        return shown
    return "".join(char if char.isascii() else _escaped(char) for char in shown)


def escaped_json(document: bytes) -> bytes:
    """Return an equivalent JSON document, with characters escaped that are invisible or control a terminal.

    Outside of strings, where there are no escapes, line feeds and spaces take the place of other white space.
    """
    document = document.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\t", b"    ")
    if document.isascii() and b"\x7f" not in document:
        return document
    return _replaced(document.decode(errors="surrogateescape"), _as_utf_16, kept="\n", blanks=True).encode()


def escaped_toml(value: str) -> str:
    """Return an equivalent TOML value, with characters escaped that are invisible or control a terminal."""
    return _replaced(value, lambda char: f"\\U{ord(char):08x}", kept="\n\t", blanks=True)


def encodable(text: str) -> str:
    """Return a text that can be encoded: only the bytes of a file name that are not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace").decode()


def without_surrogates(text: str) -> str:
    """Return a text with U+FFFD in place of each lone surrogate, and of each byte that was decoded to one."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _replaced(text: str, escape: Callable[[str], str], *, kept: str, but: str = "", blanks: bool = False) -> str:
    """Return a text with characters escaped that show nothing, or do more than show themselves.

    Args:
        text: The text.
        escape: Returns the escaped form of a character.
        kept: Characters that are not escaped.
        but: Sequences that are kept whole: the beginning of a regular expression, with ``|`` at its end.
        blanks: If true, letters and marks that show nothing are escaped as well.
    """
    kinds: set[_Kind] = {"hidden", "selector", "blank"} if blanks else {"hidden", "selector"}
    found = "".join(char for char in set(text) if _kind(char) in kinds and char not in kept)
    if not found:
        return text

    def shown(match: re.Match[str]) -> str:
        before = match.string[max(0, match.start() - 1) : match.start()]
        stays = len(match[0]) > 1 or (_kind(match[0]) == "selector" and _has_variants(before))
        return match[0] if stays else escape(match[0])

    return re.sub(f"{but}[{re.escape(found)}]", shown, text)


def _has_variants(char: str) -> bool:
    """Return whether a variant selector may change a character's look; after any other one it can hide a text."""
    if char.isascii():
        return char != "" and char in "0123456789#*"
    return not char.isspace() and _kind(char) in {"shown", "blank"}


@lru_cache(maxsize=8192)
def _kind(char: str) -> _Kind:
    from unicodedata import category  # noqa: PLC0415 - start-up time: few texts need it

    if re.match(_SELECTOR, char):
        return "selector"
    if re.match(_BLANK, char):
        return "blank"
    return "hidden" if category(char) in _HIDDEN or re.match(_RESERVED, char) else "shown"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def _as_utf_16(char: str) -> str:
    """Return a character escaped for a JSON string: one unit of UTF-16, or two."""
    units = char.encode("utf-16-be", "surrogatepass").hex(" ", 2)
    return "".join(f"\\u{unit}" for unit in units.split())


class Indented:
    """Indents one text, which may arrive in pieces, and escapes characters that would control the terminal.

    Args:
        width: Columns of the terminal: longer lines are broken here, because the terminal would not indent the rest.
            None: lines are not broken.
        begun: If true, the first line has begun: it is not indented, and is at most as long as an indentation so far.
    """

    def __init__(self, width: int | None = None, *, begun: bool = False) -> None:
        self._room = None if width is None else max(1, width - len(INDENT))
        self._begun = begun
        self._column = 0  # of the text in its line
        self._last = ""  # character of the text

    def feed(self, piece: str) -> str:
        """Return the next piece in the form to print."""
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
    """Return the columns of the terminal that a stream, or a descriptor, writes to; None: it is no terminal."""
    if not (os.isatty(output) if isinstance(output, int) else output.isatty()):
        return None
    try:
        fd = output if isinstance(output, int) else output.fileno()
        return os.get_terminal_size(fd).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


@lru_cache(maxsize=8192)
def _columns(char: str) -> int:
    """Return the largest number of columns of a character: terminals differ about emoji and combining marks."""
    if char.isascii():
        return 1
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - start-up time

    return 2 if east_asian_width(char) in {"W", "F"} or category(char) in {"So", "Co"} else 1
