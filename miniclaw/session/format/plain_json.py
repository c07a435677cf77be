"""JSON beyond RFC 8259, as `miniclaw.session.format.json_outline` admits it, in a form that every decoder accepts.

A part that some decoders refuse is replaced, and nothing else is changed:

- ``NaN``, ``Infinity`` and ``-Infinity`` become strings;
- in strings, control characters are escaped, and lone surrogates and bytes that are not UTF-8 become U+FFFD;
- an array or object that is nested more deeply than `MAX_DEPTH` becomes a string, its source text;
- a byte order mark and padding are removed.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from miniclaw.formats import without_surrogates
from miniclaw.session.format.json_outline import MAX_DEPTH, STRING, as_utf8, parts, value_of

_STRING_OR_WORD: Final = re.compile(STRING + rb"|-?Infinity|NaN")
_encode = msgspec.json.Encoder().encode
_decode_string = msgspec.json.Decoder(str).decode


def plain(document: bytes) -> bytes:
    """Return a document in a form that every JSON decoder accepts.

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
        _decode_string(source)
    except ValueError:
        return _encode(without_surrogates(str(value_of(source))))
    return source


def _string(source: bytes) -> bytes:
    """Return a source text as a JSON string."""
    return _encode(without_surrogates(source.decode(errors="surrogateescape")))
