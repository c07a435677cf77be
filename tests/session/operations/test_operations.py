"""What an administrator does, each with a receipt in the history that says truly what was done."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import pytest
import trio

from miniclaw.errors import (
    CorruptSessionError,
    InvalidSessionIdError,
    SessionFileError,
    SessionNotFoundError,
    WorkspaceHeldError,
)
from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.ownership import patience
from miniclaw.session.retention.notice import LastRun
from miniclaw.session.trash.entries import Restored
from tests.fakes.clock import WallClock
from tests.fakes.desk import IDS, POLICY, Desk
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import rules_of
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread
from tests.session.records.test_state_files import noted

UNWRITTEN = "Event could not be written into the history"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"


# Deleting -------------------------------------------------------------------------------------------------------


async def test_delete_is_told_once_for_all(desk: Desk) -> None:
    """One receipt names every session, its size and when it was last used; each can be restored by what was said."""
    done = await desk.do.delete(IDS)
    event = desk.only()
    assert (event.event, event.because) == ("deleted", "")
    assert [(row.session_id, row.last_accessed, row.size, row.reason) for row in event.sessions] == [
        (session_id, desk.clock.ago(days=2), desk.sizes[session_id], "deleted") for session_id in IDS
    ]
    assert (event.reasons["deleted"].sessions, event.reasons["deleted"].bytes) == (2, sum(desk.sizes.values()))
    assert event.bytes_freed == sum(each.bytes_freed for each in done)
    assert [each.error for each in done] == [None, None]
    assert desk.left() == []
    for each in done:
        assert (await desk.do.restore(each.entry_id)).session_id == each.session_id


async def test_delete_of_some_that_fail_tells_of_the_others(desk: Desk) -> None:
    """An id that is none, one that is nobody's and a damaged file are errors of their own and hinder no other."""
    (desk.store.directory.path / "telegram_3.json").write_text("damaged")
    done = await desk.do.delete(["nonsense", "telegram_9", "telegram_3", *IDS])
    kinds = [type(each.error) for each in done]
    assert kinds == [InvalidSessionIdError, SessionNotFoundError, CorruptSessionError, type(None), type(None)]
    assert [row.session_id for row in desk.only().sessions] == [*IDS]
    assert desk.left() == ["telegram_3"]


async def test_delete_of_nothing_is_not_told(desk: Desk) -> None:
    """Where nothing happened there is no receipt."""
    assert await desk.do.delete([]) == []
    await desk.do.delete(["telegram_9"], erase=True)
    assert desk.told() == []


async def test_delete_cancelled_tells_what_was_done(desk: Desk) -> None:
    """A deletion that is cut short is completed for the session that it is at, and told; no other one begins."""
    gate = desk.fs.block("unlink", path="telegram_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.delete, IDS)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert [row.session_id for row in desk.only().sessions] == ["telegram_1"]
    assert desk.left() == ["telegram_2"]


async def test_history_that_cannot_be_written_stops_nothing(desk: Desk, logs: LogRecorder) -> None:
    """What was ordered is done, and an ERROR says that there is no receipt."""
    logs.expect_error(UNWRITTEN)
    desk.state.path.write_text("in the way")
    (done,) = await desk.do.delete(IDS[:1])
    assert await desk.do.restore(done.entry_id) == Restored("telegram_1")
    await desk.do.empty_trash([])
    assert [event["event_kind"] for event in logs.named(UNWRITTEN)] == ["deleted", "restored"]


# Restoring and emptying -----------------------------------------------------------------------------------------


async def test_restore_is_told(desk: Desk) -> None:
    """The receipt names the session that came back."""
    (done,) = await desk.do.delete(IDS[:1])
    await desk.do.restore("telegram_1")
    event = desk.told()[-1]
    assert event.event == "restored"
    assert [(row.session_id, row.reason) for row in event.sessions] == [("telegram_1", "restored")]
    with pytest.raises(LookupError):
        await desk.do.restore(done.entry_id)
    assert len(desk.told()) == 2


async def test_empty_trash_is_told_with_its_bytes(desk: Desk) -> None:
    """The receipt counts what is gone, and only that."""
    one, two = await desk.do.delete(IDS)
    removals = await desk.do.empty_trash([one.entry_id, "telegram_9.20260101T000000Z-00000000", two.entry_id])
    assert [removal.outcome for removal in removals] == ["removed", "vanished", "removed"]
    event = desk.told()[-1]
    assert event.event == "trash_emptied"
    assert event.bytes_freed == sum(removal.bytes_freed for removal in removals) > 0
    assert (event.leftovers["trash"].files, event.leftovers["trash"].bytes) == (2, event.bytes_freed)
    await desk.do.empty_trash([one.entry_id])
    assert len(desk.told()) == 2


async def test_empty_trash_cancelled_tells_what_was_done(desk: Desk) -> None:
    """Cut short, it ends after a batch, and what went until then is told."""
    ids = [f"telegram_{number}" for number in range(REMOVAL_BATCH + 1)]
    for session_id in ids:
        write_session(desk.store.directory.path, session_id, desk.clock.now)
    entries = [each.entry_id for each in await desk.do.delete(ids)]
    gate = desk.fs.block("unlink", path=entries[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.empty_trash, entries)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert desk.told()[-1].leftovers["trash"].files == REMOVAL_BATCH
    assert [entry.id for entry in desk.store.trash.entries()] == [entries[-1]]


# Pins and cleaning up -------------------------------------------------------------------------------------------


async def test_pin_is_on_the_disk_and_needs_no_receipt(desk: Desk) -> None:
    """A pin removes nothing, so the history says nothing; it is saved when the command is done."""
    assert await desk.do.set_pinned("telegram_1", True)
    assert desk.store.directory.header("telegram_1").pinned
    assert not await desk.do.set_pinned("telegram_1", True)
    assert desk.told() == []


async def test_pin_that_cannot_be_saved_is_an_error_until_it_is(desk: Desk, logs: LogRecorder) -> None:
    """Nobody is told of a pin that is in memory only, the second time neither."""
    logs.expect_error(NOT_SAVED)
    desk.fs.fail("write", errno.ENOSPC)
    for _ in range(2):
        with pytest.raises(SessionFileError, match=r"telegram_1\.json"):
            await desk.do.set_pinned("telegram_1", True)
    desk.fs.clear()
    assert not await desk.do.set_pinned("telegram_1", True)
    assert desk.store.directory.header("telegram_1").pinned


async def test_cleanup_by_command_acts_at_once(desk: Desk) -> None:
    """A run that somebody has ordered waits for no notice; one that was held goes when that is confirmed."""
    for number in range(30, 60):
        write_session(desk.store.directory.path, f"telegram_{number}", desk.clock.ago(days=number))
    assert (await desk.do.cleanup()).held
    result = await desk.do.cleanup(confirmed=True)
    assert (result.sessions_deleted, result.held) == (29, "")
    assert [event.event for event in desk.told()] == ["held", "cleanup"]


async def test_cleanup_by_command_is_not_the_run_of_the_day(tmp_path: Path, clock: WallClock) -> None:
    """It announces nothing: the daily run has still to, and what it has announced stays announced."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    async with open_operations(sessions, policy=POLICY, clock=clock):
        state = state_in(sessions)
    known = state.load()
    assert known is not None
    known.last_run = LastRun(1, 2, 3, rules_of(POLICY))
    state.write(known)
    state.write_due(known.id, noted({7: 60}), noted({}))
    write_session(sessions, "telegram_3", clock.ago(days=40))
    write_session(sessions, "telegram_4", clock.ago(days=28))
    async with open_operations(sessions, policy=POLICY, clock=clock) as operations:
        assert (await operations.cleanup()).sessions_deleted == 1
    after = state.load()
    assert after is not None
    assert (after.last_run, after.id) == (known.last_run, known.id)
    assert [len(each) for each in state.read_due(after)] == [1, 0]


async def test_cleanup_by_command_that_is_stopped_removes_nothing(desk: Desk) -> None:
    """A stop in the middle of the listing comes before all removals."""
    write_session(desk.store.directory.path, "telegram_3", desk.clock.ago(days=40))
    stops = []
    result = await desk.do.cleanup(on_progress=lambda _: stops.append(desk.do.stop_cleanup()))
    assert stops == [True]
    assert not desk.do.stop_cleanup()
    assert (result.interrupted, result.sessions_deleted) == (True, 0)


async def test_open_operations_owns_the_workspace(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the block nobody else owns it; what is done in it lies where the gateway looks for it."""
    monkeypatch.setattr(patience, "STOPPING_SECONDS", 0)  # commands wait for one another, as each soon stops
    sessions = tmp_path / "sessions"
    write_session(sessions, "telegram_1", clock.ago(days=2))
    opening = partial(open_operations, sessions, policy=POLICY)
    async with opening(clock=clock) as operations:
        with pytest.raises(WorkspaceHeldError):
            async with opening():
                pass
        await operations.delete(["telegram_1"])
    names = {path.name for path in (sessions / ".state").iterdir()}
    assert names == {"history.jsonl", "landmark", "retention.json"}
    assert len(list((sessions / ".trash").iterdir())) == 1
