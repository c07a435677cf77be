"""A removal that outlasts its caller: called off and nothing happened, or told when it ends; the manager and above it."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from miniclaw.errors import MiniclawError, RemovalPendingError, SessionFileError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import FileTally, StoredSession
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.operations.operations import Deleted
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.threads import PATIENCE_SECONDS
from miniclaw.session.trash.entries import TrashRemoval
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.desk import Desk
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import ages_at
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs
from tests.fakes.samples import write_session
from tests.fakes.threads import until, wait_in_thread
from tests.fakes.work_folder import left_in_work

ID = "telegram_1"
PLAIN = RetentionPolicy()


@pytest.fixture
def path(sessions_dir: Path, store: FileSessionStore, clock: WallClock) -> Path:
    """The file of a session that expired a day ago."""
    return write_session(sessions_dir, ID, clock.ago(days=31))


class Hanging:
    """Runs something while a system call hangs, for longer than anybody waits."""

    def __init__(self, fs: FaultyOs, clock: MockClock) -> None:
        self._fs = fs
        self._clock = clock
        self.result: Any = None

    async def run(self, work: Callable[[], Awaitable[Any]], call: str, path: str = "") -> Callable[[], None]:
        """Run it until its caller has left; return a function that lets the system call go on."""
        gate = self._fs.block(call, path=path)

        async def keep() -> None:
            try:
                self.result = await work()
            except MiniclawError as error:
                self.result = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            await wait_in_thread(gate.reached)
            self._clock.jump(PATIENCE_SECONDS)
        return gate.opened.set


# The manager ----------------------------------------------------------------------------------------------------


def remove(
    manager: SessionManager, path: Path, clock: WallClock, late: list[Removal]
) -> Callable[[], Awaitable[list[Removal]]]:
    async def work() -> list[Removal]:
        row = StoredSession(path.name, path.stat().st_size, await manager.store.header(ID))
        return await manager.remover.remove([row], lambda s: PLAIN.is_expired(s, ages_at(clock.now)), late=late.extend)

    return work


async def test_remove_that_hangs_before_its_consent_is_called_off(
    manager: SessionManager, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """What is told as not removed is not removed later: the session is put back, and serves its person."""
    hanging = Hanging(fs, mock_clock)
    late: list[Removal] = []
    go_on = await hanging.run(remove(manager, path, clock, late), "rename", path.name)
    (removal,) = hanging.result
    assert removal.outcome == "unanswered"
    assert "nothing was removed" in removal.reason
    go_on()
    session = await manager.get_session(ID)  # waits for the lock, which the thread gives up when it has put it back
    assert session is not None
    assert [removal.outcome for removal in late] == ["kept"]
    assert path.exists()
    assert left_in_work(path.parent) == []


async def test_remove_that_hangs_behind_its_consent_is_told_when_it_ends(
    manager: SessionManager, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """What can no longer be called off is pending, and its outcome is told once it is known."""
    hanging = Hanging(fs, mock_clock)
    late: list[Removal] = []
    go_on = await hanging.run(remove(manager, path, clock, late), "unlink", path.name)
    assert [removal.outcome for removal in hanging.result] == ["pending"]
    assert manager._locks.is_held(ID)
    assert late == []
    go_on()
    assert await manager.get_session(ID) is None
    assert [removal.outcome for removal in late] == ["removed"]


async def test_delete_that_hangs_before_its_consent_leaves_the_session_as_it_was(
    manager: SessionManager, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """A deletion that is told as failed never happens; what is said to the session meanwhile and later is kept."""
    hanging = Hanging(fs, mock_clock)
    await manager.add_message(ID, Message("user", "before", clock.now))
    go_on = await hanging.run(lambda: manager.delete_session(ID), "rename", path.name)
    assert isinstance(hanging.result, SessionFileError)
    assert "nothing was removed" in str(hanging.result)
    await manager.add_message(ID, Message("user", "while it hangs", clock.now))  # memory goes on
    go_on()
    assert (await manager.save_all_sessions()).saved == 1
    assert b"before" in path.read_bytes()
    assert b"while it hangs" in path.read_bytes()


async def test_delete_that_hangs_behind_its_consent_is_pending_and_told_when_it_ends(
    manager: SessionManager, path: Path, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """The caller hears that it goes on; log and statistics have it when it has ended, and not before."""
    hanging = Hanging(fs, mock_clock)
    go_on = await hanging.run(lambda: manager.delete_session(ID, by="command"), "unlink", path.name)
    assert isinstance(hanging.result, RemovalPendingError)
    assert logs.named("Session deleted") == []
    go_on()
    assert await manager.get_session(ID) is None
    assert logs.one("Session deleted")["by"] == "command"
    assert manager.stats.cleanups.removed["deleted"] == 1


async def test_delete_beside_a_session_of_another_normal_form_is_told_when_it_ends(
    manager: SessionManager, sessions_dir: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """The bare file of the other session is put back, and counts neither as a refusal nor as deleted."""
    mine, other = "web_\u00e9", "web_e\u0301"
    path = write_session(sessions_dir, mine, clock.now)
    write_session(sessions_dir, other, clock.now).rename(sessions_dir / f"{other}.json")
    hanging = Hanging(fs, mock_clock)
    late: list[Removal] = []
    go_on = await hanging.run(lambda: manager.delete_session(mine, late=late.append), "unlink", path.name)
    assert isinstance(hanging.result, RemovalPendingError)
    assert manager._locks.is_held(other)  # no message begins it anew while its file is aside
    go_on()
    assert await manager.get_session(other) is not None
    assert [removal.outcome for removal in late] == ["removed"]
    assert not path.exists()


async def test_delete_that_fails_late_is_an_error_and_the_session_is_kept(
    manager: SessionManager, path: Path, clock: WallClock, mock_clock: MockClock, logs: LogRecorder, fs: FaultyOs
) -> None:
    """A late failure is told, and what memory has of the session is saved."""
    hanging = Hanging(fs, mock_clock)
    logs.expect_error("Deletion that outlasted its caller has failed")
    await manager.add_message(ID, Message("user", "kept", clock.now))
    go_on = await hanging.run(lambda: manager.delete_session(ID), "fsync")
    fs.fail("unlink", errno.EIO, path=path.name)
    go_on()
    session = await manager.get_session(ID)
    assert session is not None
    fs.clear()
    assert logs.one("Deletion that outlasted its caller has failed")["session_id"] == ID
    await manager.save_all_sessions()
    assert b"kept" in path.read_bytes()
    assert manager.stats.cleanups.removed["deleted"] == 0


# The cleanup ----------------------------------------------------------------------------------------------------


async def test_run_with_a_batch_that_hangs_ends_and_tells_the_rest_when_it_comes(
    runs: Runs, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """The result counts what is pending; log, statistics and history count it as removed once it is, and only then."""
    hanging = Hanging(fs, mock_clock)
    logs.expect_error("Session not removed yet")
    runs.write(40)
    go_on = await hanging.run(runs.by(PLAIN).run, "unlink", "telegram_40")
    result = hanging.result
    assert (result.sessions_deleted, result.pending, result.failed, result.interrupted) == (0, 1, 0, True)
    assert runs.manager.stats.cleanups.removed["ttl"] == 0
    go_on()
    await until(lambda: len(runs.told()) == 2)
    assert runs.left() == []
    first, late = runs.told()
    assert (first.event, first.sessions) == ("interrupted", [])
    assert first.because == "still being removed when the run ended: telegram_40"
    assert (late.event, [session.session_id for session in late.sessions]) == ("late", ["telegram_40"])
    assert runs.manager.stats.cleanups.removed["ttl"] == 1
    assert logs.one("Session cleanup has removed more after its end")["sessions_deleted"] == 1


async def test_run_on_a_disk_that_hangs_before_any_consent_removes_nothing_later(
    runs: Runs, fs: FaultyOs, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """A run that reports failures has removed none of them, and there is nothing to add to its history."""
    hanging = Hanging(fs, mock_clock)
    logs.expect_error("Session not removed")
    runs.write(40)
    go_on = await hanging.run(runs.by(PLAIN).run, "rename", "telegram_40")
    assert (hanging.result.failed, hanging.result.pending) == (1, 0)
    go_on()
    assert await runs.manager.get_session("telegram_40") is not None
    assert runs.left() == [40]
    assert [event.event for event in runs.told()] == ["interrupted"]


async def test_run_on_a_slow_disk_reports_what_it_removed(runs: Runs, fs: FaultyOs, mock_clock: MockClock) -> None:
    """A disk that takes many seconds for a batch makes a slow run, and not a failed one."""
    runs.write(40)
    gate = fs.block("fsync")
    results = []

    async def run() -> None:
        results.append(await runs.by(PLAIN).run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        mock_clock.jump(PATIENCE_SECONDS - 1)
        await trio.testing.wait_all_tasks_blocked()
        gate.opened.set()
    assert (results[0].sessions_deleted, results[0].interrupted) == (1, False)


async def test_cleanup_delete_session_that_hangs_is_pending_and_counted_when_it_ends(
    manager: SessionManager, store: FileSessionStore, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """Removing one expired session is no exception."""
    hanging = Hanging(fs, mock_clock)
    cleanup = Cleanup(path.parent, manager=manager, clock=clock)
    row = (await cleanup.scan_expired_sessions())[0]
    go_on = await hanging.run(lambda: cleanup.delete_session(row), "unlink", path.name)
    assert isinstance(hanging.result, RemovalPendingError)
    go_on()
    assert await manager.get_session(ID) is None
    assert manager.stats.cleanups.removed["ttl"] == 1


# The operations -------------------------------------------------------------------------------------------------


async def test_operations_delete_that_hangs_is_written_down_when_it_ends(desk: Desk, mock_clock: MockClock) -> None:
    """The receipt comes late, and it comes."""
    hanging = Hanging(desk.fs, mock_clock)
    go_on = await hanging.run(lambda: desk.do.delete([ID]), "unlink", f"{ID}.json")
    (deleted,) = hanging.result
    assert isinstance(deleted, Deleted)
    assert isinstance(deleted.error, RemovalPendingError)
    (pending,) = desk.history.read()[0]
    assert (pending.event, pending.because, pending.sessions[0].session_id) == ("pending", "deleted", ID)
    go_on()
    await until(lambda: len(desk.history.read()[0]) == 2)
    late = desk.history.read()[0][1]
    assert (late.event, late.because, late.sessions[0].session_id) == ("late", "deleted", ID)
    assert late.reasons["deleted"].sessions == 1


async def test_operations_empty_trash_that_hangs_is_written_down_when_it_ends(
    desk: Desk, mock_clock: MockClock
) -> None:
    """An entry whose removal hangs is pending, and counted once it is gone."""
    (deleted,) = await desk.do.delete([ID])
    hanging = Hanging(desk.fs, mock_clock)
    go_on = await hanging.run(lambda: desk.do.empty_trash([deleted.entry_id]), "unlink", ".gz")
    (removal,) = hanging.result
    assert isinstance(removal, TrashRemoval)
    assert removal.outcome == "pending"
    go_on()
    await until(lambda: desk.history.read()[0][-1].event == "late")
    late = desk.history.read()[0][-1]
    assert late.leftovers == {"trash": FileTally(1, late.bytes_freed)}
    assert desk.manager.stats.cleanups.leftovers["trash"] == 1
