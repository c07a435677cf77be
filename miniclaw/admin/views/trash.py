"""Entries of the trash, as they are shown."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from miniclaw.formats import printable
from miniclaw.session.trash_rows import TrashEntry


def entry_as_dict(entry: TrashEntry) -> dict[str, Any]:
    """Return an entry as JSON has it."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in asdict(entry).items()}
