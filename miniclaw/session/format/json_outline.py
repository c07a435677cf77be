"""JSON that other programs write and msgspec refuses: its parts as source text, and a form that every decoder accepts.

Admitted beyond RFC 8259, https://www.rfc-editor.org/rfc/rfc8259: a byte order mark, UTF-16 and UTF-32 with one, NUL
bytes after the end (of a file that a crash has extended), bytes that are not UTF-8, control characters and lone
surrogates in strings, ``NaN`` and ``Infinity``, and any depth of nesting. All else has to be valid: a file that was cut
short or overwritten is damaged, not unusual.

A document is read token by token, in one pass and without recursion. No step holds the interpreter's lock for longer
than a single string takes, so that the event loop runs on while a thread reads a large session.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from miniclaw.formats import without_surrogates

MAX_DEPTH: Final = 100
"""Deepest nesting of a value that is understood, inclusive. A deeper one is kept as its source text."""

_ENCODINGS: Final = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SPACE: Final = b" \t\r\n"
_PADDING: Final = b"\0" + _SPACE

STRING: Final = rb'"[^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*+)*+"'
"""Pattern of a string token in this wider sense."""

_SCALAR: Final = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|-?Infinity|NaN|true|false|null"
_S: Final = rb"[ \t\r\n]*+"
_ELEMENT: Final = rb"(?:" + STRING + rb"|" + _SCALAR + rb")" + _S
_MEMBER: Final = STRING + _S + rb":" + _S + _ELEMENT
# Containers that hold only strings and scalars, up to so many that one match is short; they are many, and small.
_FLAT: Final = b"|".join(
    opening + _S + rb"(?:" + item + rb"(?:," + _S + item + rb"){0,99}+)?+" + closing
    for opening, item, closing in [(rb"\[", _ELEMENT, rb"\]"), (rb"\{", _MEMBER, rb"\}")]
)
_TOKENS: Final = rb"(\[)|(\{)|(\])|(\})|(,)|(:)"
_TOKEN: Final = re.compile(_S + rb"(?:(" + STRING + rb")|(" + _SCALAR + rb")|" + _TOKENS + rb")")
_DEEP_TOKEN: Final = re.compile(_S + rb"(?:(" + STRING + rb")|(" + _SCALAR + rb"|" + _FLAT + rb")|" + _TOKENS + rb")")
_TEXT, _PLAIN, _ARRAY, _OBJECT, _ARRAY_END, _OBJECT_END, _COMMA, _COLON = range(1, 9)  # the groups of both patterns
_STRING_OR_WORD: Final = re.compile(STRING + rb"|-?Infinity|NaN")
_VALUE: Final = (_TEXT, _PLAIN, _ARRAY, _OBJECT)
# For each state, the tokens that may follow and the state after each; a container's is the state after its end.
_STEPS: Final[dict[str, dict[int, str]]] = {
    "document": dict.fromkeys(_VALUE, "end"),
    "first element": {**dict.fromkeys(_VALUE, "element read"), _ARRAY_END: ""},
    "element": dict.fromkeys(_VALUE, "element read"),
    "element read": {_COMMA: "element", _ARRAY_END: ""},
    "first name": {_TEXT: "name read", _OBJECT_END: ""},
    "name": {_TEXT: "name read"},
    "name read": {_COLON: "member"},
    "member": dict.fromkeys(_VALUE, "member read"),
    "member read": {_COMMA: "name", _OBJECT_END: ""},
}


class Outline(NamedTuple):
    """The parts of an object.

    Attributes:
        members: By name, the source texts of the name and of the value. Of doubled names the last counts. A name that
            is not UTF-8, or has a lone surrogate, is a key that no encoder accepts.
        elements: The source texts of the elements of the members that were asked for; a value that is no array is one,
            and null is none.
    """

    members: dict[str, tuple[bytes, bytes]]
    elements: list[bytes]

    def values(self) -> dict[str, bytes]:
        """Return the source texts of the values, by name."""
        return {name: value for name, (_, value) in self.members.items()}


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


def outline(document: bytes, listed: str = "") -> Outline:
    """Return the members of an object, and the elements of one of them.

    Args:
        document: The object.
        listed: The name of the member whose elements are returned; if it is doubled, those of all such members.

    Raises:
        ValueError: The document is no object, or not even JSON in this wider sense.
    """
    found = Outline({}, [])
    name: str | None = None
    source = b""
    inner: list[tuple[int, int]] = []
    for depth, start, end in parts(document, 2):
        if depth == 2:
            if name == listed:
                inner.append((start, end))
        elif depth == 1 and name is None:
            source = document[start:end]
            name = str(value_of(source))
        elif depth == 1 and name is not None:
            found.members.pop(name, None)  # a doubled name takes the place of the last one
            found.members[name] = source, document[start:end]
            if name == listed:
                if not document.startswith(b"[", start):
                    inner = [] if document[start:end] == b"null" else [(start, end)]
                found.elements.extend(document[at:to] for at, to in inner)
                inner = []
            name = None
    if not document.lstrip(_SPACE).startswith(b"{"):
        raise ValueError("an object is expected")
    return found


def parts(document: bytes, depth: int) -> Iterator[tuple[int, int, int]]:
    """Yield the values of a document down to a depth, and the names of members there, each when its end is read.

    Yields:
        Its depth, which is 0 for the document itself, its start and its end.

    Raises:
        ValueError: The document is not JSON in this wider sense; what was yielded before is right so far.
    """
    around: list[tuple[str, int]] = []  # of each open container, the state after its end, and its start
    state, at = "document", 0
    while state != "end":
        token = (_TOKEN if len(around) < depth else _DEEP_TOKEN).match(document, at)
        kind = (token and token.lastindex) or 0
        after = _STEPS[state].get(kind)
        if token is None or after is None:
            raise ValueError(f"no JSON any more at byte {at}")
        at = token.end()
        if kind in {_ARRAY, _OBJECT}:
            around.append((after, at - 1))
            state = "first element" if kind == _ARRAY else "first name"
            continue
        state, start = around.pop() if kind in {_ARRAY_END, _OBJECT_END} else (after, token.start(kind))
        if kind < _COMMA and len(around) <= depth:
            yield len(around), start, at
    if document[at:].strip(_SPACE):
        raise ValueError(f"nothing is expected at byte {at}")


def value_of(source: bytes) -> object:
    """Return the value of a source text; its strings may have surrogates, see `without_surrogates`.

    An integer of more digits than Python converts is a string of its digits.

    Raises:
        ValueError: The text is not JSON, or nested more deeply than `MAX_DEPTH`.
    """
    # The depth decides, and not the interpreter's recursion limit, which depends on the caller's own depth.
    if source.count(b"[") + source.count(b"{") > MAX_DEPTH and any(
        depth == MAX_DEPTH and source[start] in b"[{" for depth, start, _ in parts(source, MAX_DEPTH)
    ):
        raise ValueError("nested too deeply")
    return json.loads(source.decode(errors="surrogateescape"), strict=False, parse_int=_integer)


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def plain(document: bytes) -> bytes:
    """Return a document in a form that every JSON decoder accepts.

    ``NaN`` and ``Infinity`` become strings, and so does an array or object that is nested more deeply than `MAX_DEPTH`:
    its source text. In strings, control characters are escaped, and lone surrogates and bytes that are not UTF-8 become
    U+FFFD. A byte order mark and padding are removed. Nothing else is changed.

    Raises:
        ValueError: The document is not even JSON in the wider sense.
    """
    document = as_utf8(document)
    made = bytearray()
    done = 0
    for depth, start, end in parts(document, MAX_DEPTH):
        if depth == MAX_DEPTH and document[start] in b"[{":
            made += _STRING_OR_WORD.sub(_plain_token, document[done:start]) + _string(document[start:end])
            done = end
    return bytes(made + _STRING_OR_WORD.sub(_plain_token, document[done:]))


def _plain_token(token: re.Match[bytes]) -> bytes:
    source = token[0]
    if not source.startswith(b'"'):
        return _string(source)
    try:
        msgspec.json.decode(source, type=str)
    except ValueError:
        return msgspec.json.encode(without_surrogates(str(value_of(source))))
    return source


def _string(source: bytes) -> bytes:
    """Return a source text as a JSON string."""
    return msgspec.json.encode(without_surrogates(source.decode(errors="surrogateescape")))
