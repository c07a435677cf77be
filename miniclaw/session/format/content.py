"""The content that a save writes: a session's bytes, whole or in pieces. A session that is too large is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from miniclaw.errors import SessionTooLargeError
from miniclaw.session.disk.atomic import Content
from miniclaw.session.format import codec
from miniclaw.session.format.footprint import session_bytes
from miniclaw.session.types import Session

_MOST_ENCODED: Final = 6  # bytes in a file for each in memory: a control character becomes \u00XX


def content_of(session: Session, folder: Path, name: str) -> Content:
    """Return the content of a session's file: all of it, or for a large one the pieces, encoded while they are written.

    Args:
        session: Not to be changed until it is written.
        folder: The folder of the file, for the error.
        name: The name of the file, likewise.

    Raises:
        SessionTooLargeError: The file could not be loaded again. This is checked before anything is written, because
            every autosave tries a session that does not fit again.
    """
    pieces = codec.encode_in_pieces(session)
    first = next(pieces)
    second = next(pieces, None)
    if second is None:
        _check(len(first), folder, name)
        return first
    if session_bytes(session) <= codec.MAX_SESSION_BYTES // _MOST_ENCODED:
        return _bounded(chain((first, second), pieces), folder, name)
    del pieces, first, second  # to free memory: a piece may be one large message
    _check(sum(map(len, codec.encode_in_pieces(session))), folder, name)
    return _bounded(codec.encode_in_pieces(session), folder, name)


def is_same_content(one: Session, other: Session) -> bool:
    """Return whether the files of two sessions have the same content. Digests are compared, to hold neither whole."""
    return _digest(one) == _digest(other)


def _digest(session: Session) -> bytes:
    from hashlib import blake2b  # noqa: PLC0415 - start-up time: few files are changed by another program

    digest = blake2b()
    for piece in codec.encode_in_pieces(session):
        digest.update(piece)
    return digest.digest()


def _bounded(pieces: Iterator[bytearray], folder: Path, name: str) -> Iterator[bytearray]:
    """Yield the pieces; raise if they are too large after all: a caller has changed the session around the manager."""
    size = 0
    for piece in pieces:
        size += len(piece)
        _check(size, folder, name)
        yield piece


def _check(size: int, folder: Path, name: str) -> None:
    if size > codec.MAX_SESSION_BYTES:
        raise SessionTooLargeError(folder / name, too_large(size))


def too_large(size: int) -> str:
    """Return the reason why a file of this size is neither read nor written."""
    return f"{size} bytes are more than the {codec.MAX_SESSION_BYTES} that a session may have"
