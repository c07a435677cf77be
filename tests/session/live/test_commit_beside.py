"""Commits beside other work on the same session: a removal, another program's file, a save as a whole."""

from __future__ import annotations

import errno
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.session.live.committer import MAX_NEWS_BYTES
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.by_hand import edit
from tests.fakes.clock import WallClock
from tests.fakes.crash import contents_after, leave_behind, operations, restarted
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import wait_in_thread

ID = "web_a"


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    return sessions_dir / f"{ID}.json"


def running(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> AbstractAsyncContextManager[SessionRuntime]:
    return open_runtime(
        sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None, persistence_interval_seconds=10_000
    )


async def say(manager: SessionManager, text: str, session_id: str = ID, *, durable: bool = True) -> None:
    await manager.add_message(session_id, Message("user", text, manager.clock()), durable=durable)


async def saved_one(runtime: SessionRuntime) -> None:
    await runtime.manager.get_or_create_session("web", "a")
    await say(runtime.manager, "one")
    await runtime.persistence.tick()


async def is_pinned_after(sessions_dir: Path, clock: WallClock) -> bool:
    async with restarted(leave_behind(sessions_dir, "pinned"), clock) as runtime:
        session = await runtime.manager.get_session(ID)
        assert session is not None
        return session.pinned


async def test_commit_during_a_deletion_for_good_writes_nothing_of_the_session(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A session whose records have been voided gets no later ones, which a crash would bring back."""
    write_session(sessions_dir, ID, clock.now)
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        await say(manager, "secret", durable=False)
        gate = fs.block("unlink", path=f"{ID}.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(manager.delete_session, ID, erase=True))
            await wait_in_thread(gate.reached)
            await manager.saver.committer.commit([ID])
            gate.opened.set()
        assert operations(sessions_dir, ID) == []
        assert await contents_after(sessions_dir, clock, ID) == []


async def test_pin_confirmed_after_another_programs_file_survives_the_record_of_that_file(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """The record that all earlier ones count no more stands before the news, also if these are no message."""
    async with running(sessions_dir, clock, fs) as runtime:
        await saved_one(runtime)
        edit(path)
        await runtime.manager.set_pinned(ID, True)
        await runtime.manager.durable(ID)
        await runtime.manager.saver.committer.tidy()
        assert await is_pinned_after(sessions_dir, clock)


@pytest.mark.parametrize("durable", [True, False])
async def test_changed_pin_and_more_news_than_the_journal_takes_are_saved(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, durable: bool
) -> None:
    """The journal gets the pin alone, which an older record would undo, and the file the rest."""
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.manager.get_or_create_session("web", "a")
        await say(runtime.manager, "one")
        await runtime.manager.set_pinned(ID, True)
        await say(runtime.manager, "x" * (MAX_NEWS_BYTES + 1), durable=durable)
        if not durable:
            assert await contents_after(sessions_dir, clock, ID) == ["one"]
            assert (await runtime.manager.save_all_sessions()).failed == ()
        assert len(read_contents(path)) == 2
        assert await is_pinned_after(sessions_dir, clock)


async def test_pin_that_is_saved_during_the_first_commit_is_not_undone_by_it(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A record that is under way counts as one of the journal, though no segment has it yet."""
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        await manager.get_or_create_session("web", "a")
        gate = fs.block("write")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, manager, "one")
            await wait_in_thread(gate.reached)
            await manager.set_pinned(ID, True)
            nursery.start_soon(manager.save_sessions, [ID])
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        assert await is_pinned_after(sessions_dir, clock)


async def test_message_during_a_save_that_finds_the_file_deleted_begins_the_session_anew(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """It is there after a crash, in a session of its own, and the deleted ones are not."""
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        await saved_one(runtime)
        await manager.get_session(ID)
        path.unlink()
        gate = fs.block("stat", path=path.name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.save_all_sessions)
            await wait_in_thread(gate.reached)
            await say(manager, "later")
            gate.opened.set()
        assert not path.exists()
        await manager.durable(ID)
        assert await contents_after(sessions_dir, clock, ID) == ["later"]


# Removal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("erase", [True, False])
@pytest.mark.parametrize("prepare", ["journal", "file", "both"])
async def test_deleted_session_does_not_return_after_a_crash(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, erase: bool, prepare: str
) -> None:
    """Wherever its messages are: in the journal alone, in the file alone, or in both."""
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.manager.get_or_create_session("web", "a")
        await say(runtime.manager, "one")
        if prepare != "journal":
            await runtime.persistence.tick()
        if prepare == "both":
            await say(runtime.manager, "two")
        await runtime.manager.delete_session(ID, erase=erase)
        assert await contents_after(sessions_dir, clock, ID) == []
        await runtime.manager.get_or_create_session("web", "a")
        await say(runtime.manager, "anew")
        assert await contents_after(sessions_dir, clock, ID) == ["anew"]


@pytest.mark.parametrize("noted", [False, True], ids=["no record", "a record that it was saved"])
async def test_changed_session_whose_records_are_deleted_before_its_commit_is_saved_and_deleted(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, noted: bool
) -> None:
    """What keeps older records from undoing a save is not missed where there are none any more."""
    async with running(sessions_dir, clock, fs) as runtime:
        manager, journal = runtime.manager, runtime.manager.store.journal
        for session_id in (ID, "web_b"):  # each in a segment of its own
            await manager.get_or_create_session("web", session_id[-1])
            await say(manager, "one", session_id)
            journal.begin_segment()
        await manager.get_or_create_session("web", "c")
        commit = fs.block("sync_data")
        # If noted, the segment of the session is deleted while the record that it was saved still waits.
        deletion = fs.block("unlink", path=journal.path_of(2).name) if noted else None
        async with trio.open_nursery() as tidying:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, manager, "one", "web_c")
                await wait_in_thread(commit.reached)
                await manager.save_sessions([ID, "web_b"])
                await runtime.pop_messages(ID, 1)
                nursery.start_soon(manager.delete_session, ID)
                await trio.testing.wait_all_tasks_blocked()
                if deletion is None:
                    await manager.saver.committer.tidy()
                else:
                    tidying.start_soon(manager.saver.committer.tidy)
                    await wait_in_thread(deletion.reached)
                assert not journal.holds(f"{ID}.json")
                commit.opened.set()
            if deletion is not None:
                deletion.opened.set()
        assert await contents_after(sessions_dir, clock, ID) == []


@pytest.mark.parametrize("call", ["rename", "unlink"])
async def test_deletion_that_fails_keeps_what_was_confirmed(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, call: str
) -> None:
    """Records that a deletion has made void are written again with the next message."""
    if call == "rename":
        logs.expect_error("Session could not be saved; it stays in memory for the next try")
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.manager.get_or_create_session("web", "a")
        await say(runtime.manager, "one")
        await runtime.persistence.tick()
        await say(runtime.manager, "two")
        fs.fail(call, errno.EIO, path="web_a.json")
        with pytest.raises(Exception, match="web_a"):
            await runtime.manager.delete_session(ID, erase=True)
        fs.clear()
        await say(runtime.manager, "three")
        assert await contents_after(sessions_dir, clock, ID) == ["one", "two", "three"]


async def test_erase_on_a_full_disk_of_a_session_without_a_file_takes_its_records(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """The file that could not be written is not needed to forget the session for good."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.manager.get_or_create_session("web", "a")
        await say(runtime.manager, "one")
        fs.fail("write", errno.ENOSPC)
        await runtime.manager.delete_session(ID, erase=True)
        fs.clear()
        assert await contents_after(sessions_dir, clock, ID) == []


async def test_file_of_another_program_outlasts_a_commit_from_before_it(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """Records that get their numbers late count no more, though a second save comes in between."""
    one = {"role": "user", "content": "one", "timestamp": clock.now.isoformat()}
    write_session(sessions_dir, ID, clock.now, messages=[one])
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        gate = fs.block("write")  # of the first segment: no record has a number yet
        await say(manager, "two", durable=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.durable, ID)
            await wait_in_thread(gate.reached)
            path.unlink()
            await manager.save_sessions([ID])
            await say(manager, "three", durable=False)
            await manager.save_sessions([ID])
            assert read_contents(path) == ["two", "three"]
            gate.opened.set()
        await manager.saver.committer.tidy()
        assert await contents_after(sessions_dir, clock, ID) == ["two", "three"]
