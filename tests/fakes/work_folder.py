"""The folder in which removals and saves happen, as a start-up has to leave it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from miniclaw.session.files.stranded import WORK_NAME


def left_in_work(sessions_dir: Path) -> list[str]:
    """Return all that lies in the work folder, however deep, but for one empty folder that waits for removals."""
    work = sessions_dir / WORK_NAME
    return left_over((str(path), path.is_dir() and not path.is_symlink()) for path in work.rglob("*"))


def left_over(found: Iterable[tuple[str, bool]]) -> list[str]:
    """Return what is left over of paths in the work folder, each with whether it is a directory."""
    files: list[str] = []
    folders: list[str] = []
    for path, is_directory in found:
        (folders if is_directory else files).append(path)
    return sorted([*files, *sorted(folders)[1:]])
