"""Commits of a runtime: what is confirmed is there after a crash, and what is not is said."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.errors import NotConfirmedError, SessionNotFoundError, UnsavedSessionsError
from miniclaw.session.journal.journal import SEGMENT_BYTES, WAIT_SECONDS
from miniclaw.session.live.committer import MAX_NEWS_BYTES
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.runtime import GRACE_SECONDS, SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.crash import contents_after, leave_behind, restarted, segments, wipe
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, Gate
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import read_contents
from tests.fakes.threads import settle, until, wait_in_thread

ID = "web_a"
REFUSED = "Journal could not be written; sessions are saved as a whole"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"
SILENT = "Journal does not answer; messages are not confirmed"
UNSAVED = "Sessions could not be saved before the end"


@asynccontextmanager
async def running(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> AsyncIterator[SessionRuntime]:
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
        await runtime.manager.get_or_create_session("web", "a")
        yield runtime


async def say(manager: SessionManager, text: str, session_id: str = ID, *, durable: bool = True) -> None:
    await manager.add_message(session_id, Message("user", text, manager.clock()), durable=durable)


def syncs(fs: FaultyOs) -> int:
    return [name for name, _ in fs.calls].count("sync_data")


async def test_durable_message_is_there_after_a_kill_and_no_file_was_written(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """The acknowledgement costs the message, not the session."""
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "one")
        assert list(sessions_dir.glob("*.json")) == []
        assert await contents_after(sessions_dir, clock, ID) == ["one"]
        await say(runtime.manager, "two", durable=False)
        await runtime.manager.durable(ID)
        assert await contents_after(sessions_dir, clock, ID) == ["one", "two"]
    assert segments(sessions_dir) == []


async def test_durable_for_many_waiters_is_one_sync(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """While one commit is under way, all others gather for the next."""
    async with running(sessions_dir, clock, fs) as runtime:
        gate = fs.block("sync_data")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, runtime.manager, "first")
            await wait_in_thread(gate.reached)
            before = syncs(fs)
            for number in range(100):
                nursery.start_soon(say, runtime.manager, str(number))
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        assert syncs(fs) == before + 1
        assert len(await contents_after(sessions_dir, clock, ID)) == 101


async def test_durable_session_deleted_meanwhile_is_said(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """A session that is gone for good is not confirmed."""
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "one")
        await runtime.manager.delete_session(ID, erase=True)
        with pytest.raises(SessionNotFoundError):
            await say(runtime.manager, "two")
        assert await contents_after(sessions_dir, clock, ID) == []


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("name", ["pwrite", "sync_data"])
async def test_commit_after_a_failed_one_has_the_message_of_both(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, name: str, lost: bool
) -> None:
    """A record that was confirmed never stands behind a gap, whatever became of the segment that failed."""
    logs.expect_error(REFUSED)
    logs.expect_error(NOT_SAVED)
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "one")
        fs.fail(name, errno.EIO)
        fs.fail("rename", errno.EIO, path="web_a.json")
        with pytest.raises(NotConfirmedError):
            await say(runtime.manager, "two")
        fs.clear()
        await say(runtime.manager, "three")
        copy = leave_behind(sessions_dir)
        if lost:
            for path in segments(copy)[1:-1]:
                wipe(path)
        async with restarted(copy, clock):
            assert read_contents(copy / "web_a.json") == ["one", "two", "three"]


async def test_durable_without_a_journal_is_in_the_file(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Where the journal refuses, the session is saved as a whole; the log says it once, until it works again."""
    logs.expect_error(REFUSED)
    async with running(sessions_dir, clock, fs) as runtime:
        fs.fail("pwrite", errno.ENOSPC)
        for text in ("one", "two"):
            await say(runtime.manager, text)
            assert await contents_after(sessions_dir, clock, ID) == ["one", "two"][: ["one", "two"].index(text) + 1]
        assert logs.one(REFUSED)
        fs.clear()
        await say(runtime.manager, "three")
        assert await contents_after(sessions_dir, clock, ID) == ["one", "two", "three"]
        fs.fail("pwrite", errno.ENOSPC)
        await say(runtime.manager, "four")
        assert len(logs.named(REFUSED)) == 2


async def test_durable_message_that_is_too_large_for_the_journal_is_in_the_file(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A segment keeps its bound."""
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "x" * (MAX_NEWS_BYTES + 1))
        assert len(read_contents(sessions_dir / "web_a.json")) == 1
        assert segments(sessions_dir) == []


async def test_durable_session_that_a_program_has_broken_says_why(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The disk is not blamed for what no disk could take."""
    logs.expect_error(NOT_SAVED)
    async with running(sessions_dir, clock, fs) as runtime:
        session = await runtime.manager.get_or_create_session("web", "a")
        session.messages.append("no message")  # type: ignore[arg-type]
        with pytest.raises(NotConfirmedError, match="could not encode it"):
            await runtime.manager.durable(ID)
        session.messages.clear()


async def test_save_whose_caller_is_cancelled_is_no_error(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """The log has no ERROR, and the session is in memory for the next save."""
    async with running(sessions_dir, clock, fs) as runtime:
        with trio.CancelScope() as scope:
            scope.cancel()
            await runtime.manager.save_all_sessions()
        assert scope.cancelled_caught
        assert runtime.manager.dirty_sessions() == [ID]
        assert runtime.manager.stats.saves.failed == 0


async def test_commit_of_more_than_a_batch_is_made_in_several(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """No session waits for ever, and no segment becomes larger than its bound."""
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        chats = [(await manager.get_or_create_session("web", str(number))).session_id for number in range(10)]
        for chat in chats:
            await say(manager, "x" * (MAX_NEWS_BYTES // 2), chat, durable=False)
        before = syncs(fs)
        await manager.saver.committer.commit(chats)
        assert syncs(fs) - before == 5
        assert len(segments(sessions_dir)) >= 5
        assert {path.stat().st_size for path in segments(sessions_dir)} == {SEGMENT_BYTES}
        for chat in chats:
            assert len(await contents_after(sessions_dir, clock, chat)) == 1


# A disk that hangs -----------------------------------------------------------------------------------------------


async def refused(say_it: Callable[[], object], told: list[float]) -> None:
    with pytest.raises(NotConfirmedError):
        await say_it()  # type: ignore[misc]
    told.append(trio.current_time())


@pytest.mark.parametrize("call", ["sync_data", "pwrite", "write"])
async def test_hung_commit_is_told_after_its_time_and_a_second_segment_goes_on(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, mock_clock: MockClock, call: str
) -> None:
    """Who waits for a commit that hangs is told; later messages are confirmed, and the first ones with them."""
    logs.expect_error(SILENT)
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        gate = fs.block(call)
        told: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, partial(say, manager, "one"), told)
            await wait_in_thread(gate.reached)
            assert told == []
            mock_clock.jump(WAIT_SECONDS)
        assert told == [WAIT_SECONDS]
        await say(manager, "two")
        assert trio.current_time() == WAIT_SECONDS
        assert await contents_after(sessions_dir, clock, ID) == ["one", "two"]
        gate.opened.set()
        await settle()
        await say(manager, "three")
        assert await contents_after(sessions_dir, clock, ID) == ["one", "two", "three"]
        await runtime.persistence.tick()  # saves what the suspect segment holds, and deletes it
        assert read_contents(sessions_dir / "web_a.json") == ["one", "two", "three"]
    assert segments(sessions_dir) == []


class HangingOs(FaultyOs):
    """Hangs in each sync of content while it is told to.

    Attributes:
        hangs: Whether a sync hangs.
        gates: The syncs that hang.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.gates: list[Gate] = []

    def sync_data(self, fd: int) -> None:
        if self.hangs:
            gate = Gate()
            self.gates.append(gate)
            assert gate.opened.wait(PATIENCE_SECONDS)
        super().sync_data(fd)

    def let_go(self) -> None:
        self.hangs = False
        for gate in self.gates:
            gate.opened.set()


async def test_both_commits_hang_nobody_is_confirmed_and_later_ones_are_told_at_once(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """Two threads hang and no third one begins; autosave and the end keep their deadlines; nothing confirmed is lost."""
    logs.expect_error(SILENT)
    logs.expect_error(UNSAVED)
    fs = HangingOs()
    gates = fs.gates
    file = fs.block("rename", path="web_a.json")
    told: list[float] = []
    inside, ended = trio.Event(), trio.Event()

    async def live() -> None:
        async with running(sessions_dir, clock, fs) as runtime:
            manager = runtime.manager
            await say(manager, "confirmed")
            fs.hangs = True
            async with trio.open_nursery() as nursery:
                for number, text in enumerate(["first", "second"]):
                    nursery.start_soon(refused, partial(say, manager, text), told)
                    await until(lambda number=number: len(gates) == number + 1)  # type: ignore[misc]
                    await trio.testing.wait_all_tasks_blocked()
                    mock_clock.jump(WAIT_SECONDS)
            await refused(partial(say, manager, "third"), told)
            assert trio.current_time() == 2 * WAIT_SECONDS
            mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
            await wait_in_thread(file.reached)
            for ticks in (1, 2):
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
                await until(lambda ticks=ticks: manager.stats.saves.failing_ticks == ticks)  # type: ignore[misc]
            inside.set()

    async def run() -> None:
        with pytest.raises(UnsavedSessionsError, match=ID):
            await live()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await inside.wait()
        while not ended.is_set():
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(GRACE_SECONDS)
    assert told == [WAIT_SECONDS, 2 * WAIT_SECONDS, 2 * WAIT_SECONDS]
    assert logs.named("Autosave has not ended when the next one is due; the disk is slow, or does not answer")
    assert len(gates) == 2
    assert (await contents_after(sessions_dir, clock, ID))[0] == "confirmed"
    fs.let_go()
    file.opened.set()
