"""The bytes of an entry of the trash: two gzip members, a line about the session and the session as it was.

``zcat FILE | tail -n +2`` is the session, with any gzip. Of the line, and of its checksum, the first few KiB tell; so a
listing reads no more. Nothing here trusts what it reads: each member is decompressed up to a bound only.
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
"""Longest line about a session, inclusive; nearly all of it would be the chat id."""

HEAD_BYTES: Final = 4096  # what is read for the line, at a time; nearly always it is enough
_PIECE_BYTES: Final = 256 * 1024
_SLACK_BYTES: Final = 1024 * 1024  # what is packed may be a little larger than what is in it
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 6

Read: TypeAlias = Callable[[int], bytes]
"""Returns at most so many of the next bytes; none at the end."""


class EntryLine(Struct, frozen=True, kw_only=True):
    """The line of an entry about its session, or its file from quarantine. Fields of a newer version are skipped.

    Attributes:
        version: Of this format.
        session_id: The session; empty for a file from quarantine that held none.
        key: The store's name for it when it was removed.
        removed_at: When that was.
        expires_at: When the entry may go.
        reason: The rule that removed it, or the command.
        last_accessed: When it was last used before; None for a file from quarantine that held no session.
        size: Bytes of its file.
        by: Who removed it.
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
        ValueError: It would be too long to be read again, or holds what is no text.
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
    """Read the line of an entry, from its beginning.

    Raises:
        ValueError: It is damaged; one sentence says how.
    """
    return _line(_Members(read))


def unpack(read: Read) -> tuple[EntryLine, bytes]:
    """Read an entry whole, with all checksums checked.

    Raises:
        ValueError: It is damaged, cut off, or larger than a session may be; one sentence says how.
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
        raise ValueError(f"its line says nothing of a session: {error}") from error


class _Members:
    """The gzip members of a file, one after another."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = b""  # read, and behind the last member

    def next(self, most: int, piece: int) -> bytes:
        """Return the next member, of at most so many bytes, read piece by piece."""
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
                # However much is behind a few bytes, no more than this comes out of them at a time.
                parts.append(machine.decompress(data, min(left + 1, _PIECE_BYTES)))
            except zlib.error as error:
                raise ValueError(f"it is not sound gzip: {error}") from error
            left -= len(parts[-1])
            if left < 0 or packed_left < 0:  # gzip can also be long and hold nothing
                raise ValueError(f"a part of it is larger than {most} bytes")
        self._rest = machine.unused_data
        return b"".join(parts)

    def at_end(self) -> bool:
        """Return whether nothing follows."""
        return not (self._rest or self._read(1))
