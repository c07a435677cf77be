"""The fields of a session's file that a list shows and retention does not need, read from its beginning.

Our own files have them before the messages. Metadata that another program has put behind them is not listed before the
session is saved here; a file whose beginning does not suffice otherwise is read whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from miniclaw.errors import StoreError
from miniclaw.session.disk.atomic import READ_FLAGS, opened
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import metadata
from miniclaw.session.format.metadata import MAX_METADATA_BYTES
from miniclaw.session.types import JSON, AwareDatetime

_PREFIXES: Final = (4096, 4096 + MAX_METADATA_BYTES)
"""Bytes that are read of a file: of most, and of one with large metadata."""

_MESSAGES: Final = b'"messages"'


class Details(Struct, frozen=True):
    """The creation and the metadata of a session."""

    created_at: datetime
    metadata: dict[str, JSON] = field(default_factory=dict)


class _Head(Struct):
    created_at: AwareDatetime
    metadata: Raw | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


def read_details(directory: SessionDirectory, sessions: Sequence[tuple[str, str]]) -> list[Details | None]:
    """Return the details of sessions, each given by its file's name and its id; None: it is gone or cannot be read."""
    return [_read(directory, name, session_id) for name, session_id in sessions]


def _read(directory: SessionDirectory, name: str, session_id: str) -> Details | None:
    try:
        with opened(directory.fs, name, READ_FLAGS, dir_fd=directory.fd) as fd:
            for size in _PREFIXES:
                prefix = directory.fs.pread(fd, size, 0)
                if (cut := prefix.find(_MESSAGES)) >= 0 or len(prefix) < size:
                    break
        if cut >= 0:
            with suppress(ValueError, RecursionError):
                head = _decode_head(prefix[:cut].rstrip(b" \t\r\n,") + b"}")
                return Details(head.created_at, metadata.read(head.metadata) if head.metadata is not None else {})
        session = directory.load(session_id)
    except (OSError, StoreError):
        return None
    return Details(session.created_at, session.metadata)
