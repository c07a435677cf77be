"""What a killed removal has left, as somebody sees it who only looks: what will be in its place again counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.leftovers import list_leftovers
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.moments import at_once
from tests.fakes.samples import write_session
from tests.session.scans import scanned

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
FOLDER = Path(".work", "rm-0123456789abcdef")


@pytest.fixture
def stranded(sessions_dir: Path) -> Path:
    """A directory that nobody owns, with one session in its place and one in the middle of a removal."""
    write_session(sessions_dir, "web_here", OLD)
    write_session(sessions_dir / FOLDER, "web_there", OLD)
    return sessions_dir


def test_stranded_session_is_listed_found_and_loaded(stranded: Path) -> None:
    """Who asks for their data gets also what a killed removal has left captured, and nothing is changed by that."""
    with SessionDirectory.open(stranded) as reader:
        assert scanned(reader).keys() == {"web_here", "web_there"}
        assert reader.find("web_there").header.last_accessed == OLD
        assert reader.load("web_there").session_id == "web_there"
        assert list_leftovers(reader, now=NOW, trash=None) == []
    assert (stranded / FOLDER / "web_there.json").exists()


def test_captured_session_of_an_owner_is_not_seen(stranded: Path) -> None:
    """While somebody owns the directory, what is captured is going, or being put back: nobody else's business."""
    with SessionDirectory.open(stranded) as owner, SessionDirectory.open(stranded) as reader:
        owner.own()
        for directory in (owner, reader):
            assert scanned(directory).keys() == {"web_here"}
            with pytest.raises(SessionNotFoundError):
                directory.load("web_there")


def test_stranded_session_whose_place_is_taken_is_a_leftover(stranded: Path) -> None:
    """What stands in the place is the session; the captured one is told as unfinished."""
    write_session(stranded, "web_there", NOW)
    with SessionDirectory.open(stranded) as reader:
        assert reader.load("web_there").last_accessed == NOW
        assert scanned(reader).keys() == {"web_here", "web_there"}
        assert [each.kind for each in list_leftovers(reader, now=NOW, trash=None)] == ["unfinished"]


async def test_dry_run_after_a_kill_is_what_the_run_removes(stranded: Path, clock: WallClock) -> None:
    """The start of a run puts captured sessions back and judges them: a dry run has told so before."""
    clock.now = NOW
    with SessionDirectory.open(stranded) as reader:
        told = scan_sync(reader, RetentionPolicy(), at_once(NOW))
    result = await Cleanup(stranded, clock=clock).run()
    assert {row.session.header.session_id for row in told.removals} == {"web_here", "web_there"}
    assert result.sessions_deleted == 2
