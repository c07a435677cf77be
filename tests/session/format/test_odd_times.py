"""Sessions without a last use, and files whose own times lie outside of the calendar."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import StoredSession, always, modified_at
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.restore import restore
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.clock import WallClock

DOCUMENT = '{"session_id":"web_1","channel":"web","chat_id":"1",%s"messages":[]}'
NO_LAST_USE = ["", '"last_accessed":"soon",', '"last_accessed":"0001-01-01T00:00:00Z",']


def write(sessions_dir: Path, times: str, modified: datetime) -> Path:
    sessions_dir.mkdir(parents=True, exist_ok=True)
    path = sessions_dir / "web_1.json"
    path.write_text(DOCUMENT % times)
    os.utime(path, (modified.timestamp(), modified.timestamp()))
    return path


@pytest.mark.parametrize("times", NO_LAST_USE)
def test_session_without_last_use_was_used_when_its_file_was_written(
    directory: SessionDirectory, times: str, clock: WallClock
) -> None:
    """A scan, a removal's check of the whole file and a load agree on it, and a save keeps it."""
    modified = clock.ago(days=3)
    write(directory.path, times + '"created_at":"2026-01-01T00:00:00Z",', modified)
    for verify in (None, always):
        row = directory.read_row("web_1.json", verify=verify)
        assert isinstance(row, StoredSession)
        assert row.header.last_accessed == modified
    session = directory.load("web_1")
    assert session.last_accessed == modified
    directory.write(session)
    assert directory.load("web_1").last_accessed == modified


@pytest.mark.parametrize("times", NO_LAST_USE)
async def test_cleanup_judges_a_session_without_last_use_by_its_file(
    sessions_dir: Path, clock: WallClock, times: str
) -> None:
    """It is as any other session: kept while its file is young, and removed when that is older than the TTL."""
    path = write(sessions_dir, times, clock.ago(days=29))
    assert (await Cleanup(sessions_dir, clock=clock).run()).sessions_deleted == 0
    write(sessions_dir, times, clock.ago(days=31))
    assert (await Cleanup(sessions_dir, clock=clock).run()).sessions_deleted == 1
    assert not path.exists()


@pytest.mark.parametrize("times", NO_LAST_USE)
def test_restore_session_without_any_time(
    directory: SessionDirectory, trash: Trash, times: str, clock: WallClock
) -> None:
    """A removed session can be restored, whatever times it has."""
    path = write(directory.path, times, clock.now)
    header, week = SessionHeader("web_1", "web", "1", clock.now), timedelta(days=7)
    prepared = trash.prepare(
        path.name, header, dir_fd=directory.fd, reason="ttl", by="service", now=clock.now, keep_for=week
    )
    trash.commit([prepared])
    path.unlink()
    assert restore(directory, trash, prepared.entry_id, clock.now) == "web_1"
    assert directory.load("web_1").last_accessed == clock.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-(10**11), datetime.min.replace(tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (10**12, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_modified_at_outside_of_the_calendar_is_its_nearer_end(seconds: int, expected: datetime) -> None:
    """A file from before the year 1 is old, and one from after the year 9999 is not."""
    status = SimpleNamespace(st_mtime_ns=seconds * 10**9)
    assert modified_at(cast("os.stat_result", status)) == expected
