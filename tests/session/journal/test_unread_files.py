"""A session file that the system does not let be read at the start, with messages that only the journal has."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from miniclaw.errors import SessionFileError, StoreIOError
from miniclaw.session.journal.overlay import segment_name
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.journalled import NOW, Journalled, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.replayed import DAMAGED, SIX, THREE, file_texts, quarantined, segments

UNREAD = "Session file cannot be read; the journal keeps the messages that the file lacks until it can"
ID = "web_a"


@pytest.fixture(params=[errno.EACCES, errno.EIO])
def unreadable(request: pytest.FixtureRequest, sessions_dir: Path, logs: LogRecorder) -> FaultyOs:
    """Return calls that do not open the file of a session that has three messages, and three in the journal."""
    logs.expect_error(UNREAD)
    told = Journalled().add(*THREE).forget_records()
    told.save(sessions_dir)
    write_segment(sessions_dir, *[told.add(text, at=NOW).take() for text in SIX[3:]])
    fs = FaultyOs()
    fs.fail("open", request.param, path="web_a.json")
    return fs


def texts(runtime: SessionRuntime) -> list[str]:
    session = runtime.manager.peek(ID)
    return [] if session is None else [message.content for message in session.messages]


async def test_session_is_refused_until_a_start_can_read_its_file(
    sessions_dir: Path, clock: WallClock, unreadable: FaultyOs
) -> None:
    """Its records stay in the journal over any number of starts; nothing is in quarantine, and then it is whole."""
    for _ in range(2):
        async with open_runtime(sessions_dir, clock=clock, fs=unreadable, cleanup_interval_seconds=None) as runtime:
            with pytest.raises(StoreIOError):
                await runtime.manager.get_or_create_session("web", "a")
            session = await runtime.manager.get_or_create_session("web", "b")
            await runtime.manager.add_message(session.session_id, Message("user", "one", clock.now), durable=True)
        assert quarantined(sessions_dir) == []
        assert file_texts(sessions_dir) == THREE
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None):
        assert file_texts(sessions_dir) == SIX
    assert segments(sessions_dir) == []


async def test_session_is_whole_as_soon_as_its_file_can_be_read(
    sessions_dir: Path, clock: WallClock, unreadable: FaultyOs
) -> None:
    """Its first use adds what the journal has; the file gets it with the next save, and the segments are deleted."""
    async with open_runtime(sessions_dir, clock=clock, fs=unreadable, cleanup_interval_seconds=None) as runtime:
        unreadable.clear()
        with pytest.raises(SessionFileError, match="could not be read at the start"):
            await runtime.manager.delete_session(ID)
        await runtime.manager.get_or_create_session("web", "a")
        assert texts(runtime) == SIX
        await runtime.manager.add_message(ID, Message("user", "seven", clock.now), durable=True)
        await runtime.persistence.tick()
        assert file_texts(sessions_dir) == [*SIX, "seven"]
    assert quarantined(sessions_dir) == []
    assert segments(sessions_dir) == []


async def test_session_that_expired_by_its_file_alone_is_kept(
    sessions_dir: Path, clock: WallClock, unreadable: FaultyOs
) -> None:
    """The journal has a later use; a cleanup that reads the file, which a start could not, does not see that."""
    clock.now = NOW
    async with open_runtime(
        sessions_dir, clock=clock, fs=unreadable, cleanup_interval_seconds=None, notice=False
    ) as runtime:
        unreadable.clear()
        assert (await runtime.cleanup.run()).sessions_deleted == 0
        await runtime.manager.get_or_create_session("web", "a")
        assert texts(runtime) == SIX
        await runtime.manager.delete_session(ID, erase=True)
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        assert file_texts(sessions_dir) is None
    assert quarantined(sessions_dir) == []


async def test_segment_that_could_not_be_read_has_a_way_back(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Moved from quarantine to its earlier name while no gateway runs, the next start applies it (docs/session-files.md)."""
    logs.expect_error(DAMAGED)
    told = Journalled().add(*THREE).forget_records()
    told.save(sessions_dir)
    write_segment(sessions_dir, *[told.add(text, at=NOW).take() for text in SIX[3:]])
    fs = FaultyOs()
    fs.fail("open", errno.EIO, path=segment_name(1))
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None):
        assert file_texts(sessions_dir) == THREE
    (kept,) = (sessions_dir / ".quarantine").glob(f"{segment_name(1)}*")
    kept.rename(sessions_dir / JOURNAL_NAME / segment_name(1))
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None):
        assert file_texts(sessions_dir) == SIX
    assert quarantined(sessions_dir) == []
    assert segments(sessions_dir) == []
