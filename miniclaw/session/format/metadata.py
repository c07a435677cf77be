"""The metadata of a session: values of JSON under names of the program's own, such as a title.

A dict of metadata is never changed, only replaced: copies of a session share it. `merged` has the rules of a change;
every store and runtime uses it. Metadata that a file has is read whatever its size, and may only become smaller then.
"""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any, Final

import msgspec
from msgspec import Raw

from miniclaw.errors import InvalidMetadataError
from miniclaw.session.format.footprint import SOURCE, SessionSource
from miniclaw.session.types import JSON, Session

MAX_METADATA_BYTES: Final = 16 * 1024
"""Largest metadata of a session, encoded as JSON, in bytes, inclusive."""

METADATA_KEY: Final = b'"metadata":'
"""The key before the metadata in a file."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def merged(metadata: Mapping[str, JSON], changes: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the metadata after some changes, as a copy that shares no list and no dict with either.

    Args:
        metadata: The metadata so far.
        changes: The value of each key that changes; None deletes the key.

    Raises:
        InvalidMetadataError: A key is not a text or is empty, a value is none of JSON, or the whole would take more
            than `MAX_METADATA_BYTES`.
    """
    after = {**metadata, **changes}
    for key, value in changes.items():
        if not isinstance(key, str) or not key:
            raise InvalidMetadataError(f"a key is a text that is not empty, not {short(key)}")
        if value is None:
            del after[key]
        else:
            after[key] = _copied(key, value)
    size = encoded_bytes(after)
    if size > max(MAX_METADATA_BYTES, encoded_bytes(metadata)):
        raise InvalidMetadataError(f"the whole takes at most {MAX_METADATA_BYTES:,} bytes as JSON, not {size:,}")
    return after


def check_replaceable(session: Session) -> None:
    """Raise `InvalidMetadataError` if the session's file has a `metadata` that miniclaw keeps but cannot use.

    A change would replace it, and lose what somebody wrote there. `null` and an empty object say nothing.
    """
    source: SessionSource | None = vars(session).get(SOURCE)
    if source is None or not source.odd_metadata or session.metadata:
        return
    text = source.odd_metadata.removeprefix(METADATA_KEY).translate(None, b" \t\r\n")
    if text not in {b"null", b"{}"}:
        raise InvalidMetadataError(
            f"the file of session {session.session_id} has a metadata that is no object of plain JSON, and the change "
            "would replace it; mend it in the file first, or remove it there"
        )


def encoded_bytes(metadata: Mapping[str, JSON]) -> int:
    """Return the bytes of some metadata in JSON; 0 without any."""
    return len(_encode(metadata)) if metadata else 0


def as_lines(metadata: Mapping[str, JSON]) -> list[tuple[str, str]]:
    """Return each key with its value for a reader: a text as it is, any other value in JSON."""
    return [(key, each if isinstance(each, str) else _encode(each).decode()) for key, each in metadata.items()]


def read(source: Raw) -> dict[str, JSON]:
    """Return the metadata in a file; empty: it is none that could be written as it was read."""
    try:
        metadata = _decode_object(source)
        if _decode(_encode(metadata)) == metadata:
            return metadata
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    return {}


def _copied(key: str, value: JSON) -> JSON:
    """Return the value as it will be read back."""
    try:
        copy = _decode(_encode({key: value}))[key]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidMetadataError(f"the value of {short(key)} is none of JSON: {short(value)}") from error
    if copy != value:  # such as a datetime, a tuple, a NaN, or a key that is a number
        raise InvalidMetadataError(f"the value of {short(key)} would be read back as {short(copy)}: {short(value)}")
    return copy
