"""The folders in which removals and saves happen, as a start-up has to leave them."""

from __future__ import annotations

from pathlib import Path

from miniclaw.session.directory import WORK_NAME

_RESERVE_NAME = ".reserve"  # for removals on a disk too full to make a folder; it stays, empty


def left_in_work(sessions_dir: Path) -> list[str]:
    """Return all that lies in these folders, however deep."""
    return sorted(str(path) for folder in (WORK_NAME, _RESERVE_NAME) for path in (sessions_dir / folder).rglob("*"))
