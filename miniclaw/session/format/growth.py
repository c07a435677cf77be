"""The bound on a session's growth, and the size of its file, by which it is judged.

The size is counted once, and each message adds its own encoded size, so no session is encoded for it. A loaded session
has the size of its file; a session that was begun here is encoded while it is short. The count differs from the next
file by the header, some bytes, and after another program's file also by what a save leaves out (indentation, UTF-16),
until the session is loaded again.

Only a person's message is refused at the bound. An answer belongs to a message that was accepted, and is added beyond
it; a session therefore exceeds the bound by one answer at most. Every message is refused that would make the file too
large to be loaded; a mark, of the role ``system``, finds room behind an answer that does not.
"""

from __future__ import annotations

from typing import Final

from miniclaw.errors import SessionFullError
from miniclaw.session.format.footprint import (
    FILE_BYTES,
    forget_counts,
    message_bytes,
    metadata_bytes,
    session_bytes,
    set_session_bytes,
)
from miniclaw.session.format.metadata import encoded_bytes
from miniclaw.session.types import JSON, Message, Session

GROWTH_BYTES: Final = 64 * 1024 * 1024
"""Default bound, in bytes, inclusive."""

MOST_GROWTH_BYTES: Final = 192 * 1024 * 1024
"""Largest bound, in bytes, inclusive: the longest answer fits between it and `codec.MAX_SESSION_BYTES`."""

_HEADER_BYTES: Final = 1024  # by which the header may grow: a pin, or a time with microseconds
_MARKS_BYTES: Final = 64 * 1024  # of the largest file: for marks alone


def check_bound(bound: int) -> None:
    """Refuse a bound that is none.

    Raises:
        ValueError: It is no whole number from 1 to `MOST_GROWTH_BYTES`.
    """
    # A bool is an int, but no count.
    if not isinstance(bound, int) or isinstance(bound, bool) or not 1 <= bound <= MOST_GROWTH_BYTES:
        raise ValueError(f"max_session_bytes is a whole number from 1 to {MOST_GROWTH_BYTES}, not {bound!r}")


def file_bytes(session: Session) -> int:
    """Return the size of a session's file, as counted."""
    size: int | None = vars(session).get(FILE_BYTES)
    if size is None:
        from miniclaw.session.format.codec import encode_in_pieces  # noqa: PLC0415 - start-up time of the configuration

        size = vars(session)[FILE_BYTES] = sum(map(len, encode_in_pieces(session)))
    return size


def set_file_bytes(session: Session, size: int) -> None:
    """Store the size of a session's file with the session."""
    vars(session)[FILE_BYTES] = size


def remove_last(session: Session, count: int | None) -> tuple[list[Message], int]:
    """Remove the newest messages of a session, or all; return them, and by how many bytes it shrinks in memory."""
    before = session_bytes(session)
    keep = 0 if count is None else max(0, len(session.messages) - count)
    size = file_bytes(session) if keep else 0
    removed = session.messages[keep:]
    del session.messages[keep:]
    if keep:
        from miniclaw.session.format.codec import encoded_size  # noqa: PLC0415 - as above

        set_session_bytes(session, before - sum(map(message_bytes, removed)))
        set_file_bytes(session, size - sum(map(encoded_size, removed)))
    else:
        forget_counts(session)  # an empty session is counted anew sooner than all that it had
    return removed, before - session_bytes(session)


def replace_metadata(session: Session, metadata: dict[str, JSON]) -> int:
    """Replace the metadata of a session, and return by how many bytes it grows in memory."""
    before, more = session_bytes(session), encoded_bytes(metadata) - encoded_bytes(session.metadata)
    set_file_bytes(session, file_bytes(session) + more)
    grown = metadata_bytes(metadata or None) - metadata_bytes(session.metadata or None)
    session.metadata = metadata
    set_session_bytes(session, before + grown)
    return grown


def check_room(session: Session, message: Message, size: int, bound: int, *, earlier: int = 0) -> None:
    """Refuse a message for which a session has no room.

    Args:
        session: The session.
        message: The message.
        size: Its encoded size.
        bound: The bound in force.
        earlier: The encoded size of messages that precede it, and are not in the session yet.

    Raises:
        SessionFullError: The message would make the session's file larger than the bound, or too large to be loaded.
    """
    from miniclaw.session.format.codec import MAX_SESSION_BYTES  # noqa: PLC0415 - as above

    before = file_bytes(session) + earlier
    most = MAX_SESSION_BYTES - _HEADER_BYTES - (0 if message.role == "system" else _MARKS_BYTES)
    if message.role == "user":
        most = min(most, bound)
    if before + size > most:
        raise SessionFullError(session.session_id, before, most, is_configured=message.role == "user")
