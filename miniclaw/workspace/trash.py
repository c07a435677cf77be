"""Entries of the trash, as they are shown."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from miniclaw.formats import encodable
from miniclaw.session.trash.entries import TrashEntry


def shown_entry(entry: TrashEntry) -> TrashEntry:
    """Return an entry for JSON, with texts that are safe to show."""
    return replace(entry, **{key: encodable(value) for key, value in asdict(entry).items() if isinstance(value, str)})
