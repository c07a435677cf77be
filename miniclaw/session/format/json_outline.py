"""JSON that other programs write and msgspec refuses: the parts of an object or an array as source text.

Admitted beyond RFC 8259, https://www.rfc-editor.org/rfc/rfc8259: a byte order mark, UTF-16 and UTF-32 with one, NUL
bytes after the end (of a file that a crash has extended), bytes that are not UTF-8, control characters and lone
surrogates in strings, ``NaN`` and ``Infinity``, and any depth of nesting. All else has to be valid: a file that was cut
short or overwritten is damaged, not unusual.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from typing import Final

_ENCODINGS: Final = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PADDING: Final = b"\0 \t\r\n"

_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SIMPLE_VALUE: Final = re.compile(_STRING + r'|[^\s,:\[\]{}"]+', re.DOTALL)
_STRING_OR_BRACKET: Final = re.compile(_STRING + r"|[\[\]{}]", re.DOTALL)
_CLOSING: Final = {"{": "}", "[": "]"}

# Numbers are only checked: an integer may have more digits than int() accepts.
_check_value = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).decode


def as_utf8(data: bytes) -> bytes:
    """Return a document without byte order mark and padding, as UTF-8 where a mark names another encoding.

    Raises:
        UnicodeDecodeError: The document is not in the encoding that its mark names.
    """
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            data = data[len(mark) :]
            if encoding != "utf-8":
                text = data.decode(encoding, errors="surrogatepass")
                data = text.encode(errors="surrogatepass")
            break
    return data.rstrip(_PADDING)


def members(document: bytes) -> dict[str, tuple[bytes, bytes]]:
    """Return the members of an object by their names: the source text of each name and of its value.

    Of doubled names the last counts. A name that is not UTF-8, or has a lone surrogate, is a key that no encoder
    accepts.

    Raises:
        ValueError: The document is no object, or not even JSON in this wider sense.
    """
    reader = _Reader(document)
    found: dict[str, tuple[bytes, bytes]] = {}
    is_open = reader.opens("{", "}")
    while is_open:
        source = reader.value()
        if not source.startswith('"'):
            raise ValueError(f"the name of a member is a string, not {source[:20]!r}")
        name = json.loads(source, strict=False)
        reader.take(":")
        found.pop(name, None)  # a doubled name takes the place of the last one
        found[name] = _encode(source), _encode(reader.value())
        is_open = reader.take(",}") == ","
    reader.end()
    return found


def elements(document: bytes) -> list[bytes]:
    """Return the source texts of the elements of an array.

    Raises:
        ValueError: The document is no array, or not even JSON in this wider sense.
    """
    reader = _Reader(document)
    found: list[bytes] = []
    is_open = reader.opens("[", "]")
    while is_open:
        found.append(_encode(reader.value()))
        is_open = reader.take(",]") == ","
    reader.end()
    return found


def value_of(source: bytes) -> object:
    """Return the value of a source text; its strings may have surrogates, see `replaced`.

    Raises:
        ValueError: The text is not JSON, or nested too deeply.
    """
    try:
        return json.loads(_decode(source), strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def replaced(text: str) -> str:
    """Return a text with U+FFFD in place of each lone surrogate, and of each byte that was not UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode(document: bytes) -> str:
    return document.decode(errors="surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


class _Reader:
    """A position in a document."""

    def __init__(self, document: bytes) -> None:
        self._text = _decode(document)
        self._at = 0

    def opens(self, opening: str, closing: str) -> bool:
        """Enter an array or object, and return whether it has content; skip an empty one."""
        self.take(opening)
        if self._next() != closing:
            return True
        self.take(closing)
        return False

    def take(self, expected: str) -> str:
        """Consume one of these characters, and return it."""
        char = self._next()
        if not char or char not in expected:
            raise ValueError(f"one of {expected} is expected at character {self._at}")
        self._at += 1
        return char

    def value(self) -> str:
        """Consume a value, checked as deeply as Python's own decoder nests, and return its text."""
        if self._next() in _CLOSING:
            end = self._closing_end()
        elif (simple := _SIMPLE_VALUE.match(self._text, self._at)) is not None:
            end = simple.end()
        else:
            raise ValueError(f"a value is expected at character {self._at}")
        value = self._text[self._at : end]
        with suppress(RecursionError):  # the brackets are balanced, and depth is no error
            _check_value(value)
        self._at = end
        return value

    def end(self) -> None:
        """Check that the document ends here."""
        if self._next():
            raise ValueError(f"nothing is expected at character {self._at}")

    def _next(self) -> str:
        space = _SPACE.match(self._text, self._at)
        self._at = self._at if space is None else space.end()
        return self._text[self._at : self._at + 1]

    def _closing_end(self) -> int:
        expected: list[str] = []
        for token in _STRING_OR_BRACKET.finditer(self._text, self._at):
            char = self._text[token.start()]
            if char in _CLOSING:
                expected.append(_CLOSING[char])
            elif char != '"':
                if expected.pop() != char:
                    break
                if not expected:
                    return token.end()
        raise ValueError(f"the bracket at character {self._at} is not closed")
