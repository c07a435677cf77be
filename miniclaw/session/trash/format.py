"""The format of a trash entry: two gzip members, a line about the session and the unchanged session file.

``zcat FILE | tail -n +2`` prints the session, with any gzip. The line and its checksum are in the first few KiB; a
listing reads no more. The content is not trusted: each member is decompressed only up to a bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from miniclaw.session.format.codec import MAX_SESSION_BYTES
from miniclaw.session.types import AwareDatetime

VERSION: Final = 1

MAX_LINE_BYTES: Final = 1024 * 1024
"""Longest line about a session, inclusive; the chat id would be nearly all of it."""

HEAD_BYTES: Final = 4096  # read at a time for the line; nearly always enough
_PIECE_BYTES: Final = 256 * 1024
_SLACK_BYTES: Final = 1024 * 1024  # packed data may be slightly larger than its content
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 6

Read: TypeAlias = Callable[[int], bytes]
"""Returns the next bytes, at most the given number; empty at the end."""


class EntryLine(Struct, frozen=True, kw_only=True):
    """The line of an entry about its session, or its file from quarantine. Fields of a newer version are ignored.

    Attributes:
        version: The version of this format.
        session_id: The session; empty for a file from quarantine that held none.
        key: The store's name for it when it was removed.
        removed_at: Time of the removal.
        expires_at: Time from which the entry may be deleted.
        reason: The rule or the command that removed it.
        last_accessed: Last use before the removal; None for a file from quarantine that held no session.
        size: Bytes of its file.
        by: The actor that removed it.
    """

    version: int = VERSION
    session_id: str = ""
    key: str = ""
    removed_at: AwareDatetime
    expires_at: AwareDatetime
    reason: str = ""
    last_accessed: AwareDatetime | None = None
    size: Annotated[int, Meta(ge=0)]
    by: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(EntryLine).decode


def pack_line(line: EntryLine) -> bytes:
    """Return the first member.

    Raises:
        ValueError: The line would be too long to be read again, or contains invalid Unicode.
    """
    text = _encode(line) + b"\n"
    if len(text) > MAX_LINE_BYTES:
        raise ValueError(f"its ids are too long: {len(text)} bytes are more than {MAX_LINE_BYTES}")
    return zlib.compress(text, _LEVEL, _GZIP)


def pack_session(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the second member, piece by piece; other threads run while zlib works."""
    machine = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if packed := machine.compress(piece):
            yield packed
    yield machine.flush()


def unpack_line(read: Read) -> EntryLine:
    """Read the line at the beginning of an entry.

    Raises:
        ValueError: The line is damaged; the message is one sentence.
    """
    return _line(_Members(read))


def unpack(read: Read) -> tuple[EntryLine, bytes]:
    """Read a whole entry and check all its checksums.

    Raises:
        ValueError: The entry is damaged, cut off, or larger than a session may be; the message is one sentence.
    """
    members = _Members(read)
    line = _line(members)
    session = members.next(MAX_SESSION_BYTES, _PIECE_BYTES)
    if not members.at_end():
        raise ValueError("something follows after the session")
    if len(session) != line.size:
        raise ValueError(f"it holds {len(session)} bytes, and says {line.size}")
    return line, session


def _line(members: _Members) -> EntryLine:
    text = members.next(MAX_LINE_BYTES, HEAD_BYTES)
    if not text.endswith(b"\n"):
        raise ValueError("its first part is not a line")
    try:
        return _decode(text)
    except RecursionError as error:
        raise ValueError("its line is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"its line describes no session: {error}") from error


class _Members:
    """The gzip members of a file, one after another."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = b""  # read beyond the end of the last member

    def next(self, most: int, piece: int) -> bytes:
        """Return the next member, of at most `most` bytes, reading `piece` bytes at a time."""
        machine = zlib.decompressobj(_GZIP)
        parts: list[bytes] = []
        left, packed_left = most, most + _SLACK_BYTES
        while not machine.eof:
            data = machine.unconsumed_tail or self._rest
            self._rest = b""
            if not data:
                data = self._read(piece)
                packed_left -= len(data)
            if not data:
                raise ValueError("it ends too early")
            try:
                # Bounds the output of one call: a few packed bytes may expand to gigabytes.
                parts.append(machine.decompress(data, min(left + 1, _PIECE_BYTES)))
            except zlib.error as error:
                raise ValueError(f"it is not sound gzip: {error}") from error
            left -= len(parts[-1])
            if left < 0 or packed_left < 0:  # gzip data can also be long and empty
                raise ValueError(f"a part of it is larger than {most} bytes")
        self._rest = machine.unused_data
        return b"".join(parts)

    def at_end(self) -> bool:
        """Return whether no more data follows."""
        return not (self._rest or self._read(1))
