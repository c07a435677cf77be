"""What a killed process leaves behind, and the start after it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.runtime import SessionRuntime, open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.samples import read_contents


def leave_behind(sessions_dir: Path, name: str = "after") -> Path:
    """Return a copy of a sessions directory as a process would leave it that is killed now."""
    copy = sessions_dir.with_name(name)
    subprocess.run(["cp", "-a", sessions_dir, copy], check=True)
    return copy


def segments(sessions_dir: Path) -> list[Path]:
    """Return the segments of a journal, oldest first."""
    folder = sessions_dir / JOURNAL_NAME
    return sorted(folder.iterdir()) if folder.exists() else []


def wipe(segment: Path) -> None:
    """Take from a segment all that was written, as a disk may whose sync has failed."""
    segment.write_bytes(b"\n" * segment.stat().st_size)


def operations(sessions_dir: Path, session_id: str) -> list[str]:
    """Return the operations that the journal has recorded of a session, in their order."""
    lines = [line for path in segments(sessions_dir) for line in path.read_bytes().split(b"\n") if line]
    return [record["op"] for record in map(json.loads, lines) if record.get("s") == session_id]


@asynccontextmanager
async def restarted(sessions_dir: Path, clock: WallClock) -> AsyncIterator[SessionRuntime]:
    """Start anew in a sessions directory, and leave no segment at the end."""
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        yield runtime
    assert segments(sessions_dir) == []


async def contents_after(sessions_dir: Path, clock: WallClock, session_id: str) -> list[str]:
    """Return the texts of a session after a start in a copy of the directory; none if there is no such session."""
    copy = leave_behind(sessions_dir)
    try:
        async with restarted(copy, clock):
            pass
        path = copy / f"{session_id}.json"
        return read_contents(path) if path.exists() else []
    finally:
        shutil.rmtree(copy)
