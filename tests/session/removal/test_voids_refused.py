"""The journal cannot record that a session's records count no more: no file leaves its place, and nothing is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import MiniclawError, StoreError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.names import file_name, file_names
from tests.fakes.live_journal import LiveJournal, open_live, quarantined, texts_after
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.session.removal.test_voids import ADOPTED, LATER, OLD, hand_deleted, message

ID, OTHER = "web_1", "web_2"

Fault = Callable[[LiveJournal], None]
Way = Callable[[LiveJournal], Awaitable[object]]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveJournal]:
    async with open_live(tmp_path) as live:
        yield live


def no_sync(live: LiveJournal) -> None:
    """Have every sync of a segment fail."""
    live.fs.fail("sync_data", errno.EIO)


def full(live: LiveJournal) -> None:
    """Have no room in the journal: neither in its segment nor for another one, which is filled with line feeds."""

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name == "pwrite" or (name == "write" and bytes(args[1][:1]) == b"\n"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    live.fs.on(hook)


@pytest.fixture(params=[no_sync, full])
def fault(request: pytest.FixtureRequest) -> Fault:
    fault: Fault = request.param
    return fault


async def by_cleanup(live: LiveJournal) -> None:
    removal = await live.clean_up(ID)
    assert (removal.outcome, removal.header is not None) == ("failed", True)
    raise StoreError(removal.reason)


WAYS: dict[str, Way] = {
    "cleanup": by_cleanup,
    "S10": lambda live: Cleanup(live.path, manager=live.manager, clock=lambda: LATER).delete_session(live.row(ID)),
    "delete": lambda live: live.manager.delete_session(ID),
    "erase": lambda live: live.manager.delete_session(ID, erase=True),
    "move": lambda live: live.manager.move_session(ID, OTHER),
}


@pytest.mark.parametrize("way", WAYS)
async def test_session_stays_with_all_that_it_had(live: LiveJournal, fault: Fault, way: str) -> None:
    """The caller gets an error; a later try removes it."""
    await live.save(ID, "one", "two")
    before = live.file(ID).read_bytes()
    fault(live)
    with pytest.raises(MiniclawError):
        await WAYS[way](live)
    live.fs.clear()
    assert live.file(ID).read_bytes() == before
    assert live.file(ID).stat().st_nlink == 1
    assert await texts_after(live.crash(), ID) == ["one", "two"]
    session = await live.manager.get_session(ID)
    assert session is not None
    assert [each.content for each in session.messages] == ["one", "two"]
    await live.say(ID, "three")
    assert await texts_after(live.crash(), ID) == ["one", "two", "three"]
    if way != "move":
        await live.manager.delete_session(ID)
        assert await texts_after(live.crash(), ID) is None


async def test_journal_only_session_stays(live: LiveJournal, logs: LogRecorder, fault: Fault) -> None:
    """There is no file to be put back, and still the deletion has failed, and the session is in memory."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    await live.say(ID, "one")
    live.fs.fail("rename", errno.ENOSPC, path="tmp-")
    fault(live)
    with pytest.raises(MiniclawError):
        await live.manager.delete_session(ID, erase=True)
    live.fs.clear()
    assert await live.manager.get_session(ID)
    await live.say(ID, "two")
    assert await texts_after(live.crash(), ID) == ["one", "two"]


# Places that would get another file -----------------------------------------------------------------------------


async def before_restore(live: LiveJournal) -> None:
    await live.say(ID, "one")
    await live.manager.delete_session(ID)
    await hand_deleted(live, ID)


async def before_move(live: LiveJournal) -> None:
    await live.save(OTHER, "one")
    await hand_deleted(live, ID)


async def before_quarantine_restore(live: LiveJournal) -> None:
    kept = live.path / ".quarantine" / f"{file_name(ID)}.20261001T083015Z-0a1b2c3d"
    write_session(kept.parent, ID, OLD, messages=[message("one")]).rename(kept)
    await hand_deleted(live, ID)


PLACED: dict[str, tuple[Way, Way]] = {
    "trash": (before_restore, lambda live: live.manager.restore_session(ID)),
    "quarantine": (before_quarantine_restore, lambda live: live.operations.quarantine.restore(file_name(ID))),
    "move": (before_move, lambda live: live.manager.move_session(OTHER, ID)),
}


@pytest.mark.parametrize("way", PLACED)
async def test_place_stays_vacant(live: LiveJournal, fault: Fault, way: str) -> None:
    """And the session that was to get it is where it was; a later try succeeds."""
    before, put = PLACED[way]
    await before(live)
    fault(live)
    with pytest.raises(StoreError):
        await put(live)
    live.fs.clear()
    assert not live.file(ID).exists()
    await put(live)
    assert await texts_after(live.crash(), ID) == ["one"]


async def test_file_of_an_earlier_name_keeps_it(live: LiveJournal, fault: Fault) -> None:
    """The session cannot be used before the records of its earlier life count no more."""
    await hand_deleted(live, ADOPTED)
    await live.evict(ADOPTED)
    bare = live.path / file_names(ADOPTED)[1]
    write_session(live.path, ADOPTED, datetime(2026, 1, 1, tzinfo=UTC), messages=[message("one")]).rename(bare)
    fault(live)
    with pytest.raises(StoreError):
        await live.manager.get_session(ADOPTED)
    live.fs.clear()
    assert bare.exists()
    assert await live.manager.get_session(ADOPTED)


@pytest.mark.parametrize("by_command", [True, False])
async def test_damaged_file_stays_in_its_place(live: LiveJournal, fault: Fault, by_command: bool) -> None:
    """Neither the next message nor a command moves it."""
    await live.save(ID, "one")
    await live.evict(ID)
    live.file(ID).write_text("{")
    fault(live)
    if by_command:
        (done,) = await live.operations.quarantine.add([file_name(ID)])
        assert isinstance(done.error, StoreError)
    else:
        with pytest.raises(StoreError):
            await live.manager.get_or_create_session("web", "1")
    live.fs.clear()
    assert live.file(ID).read_text() == "{"
    assert quarantined(live.path) == []
