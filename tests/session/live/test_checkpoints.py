"""When the files of sessions are written that the journal holds, and what a crash finds at each moment."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.session.journal.index import MAX_SEGMENTS
from miniclaw.session.live.committer import MAX_NEWS_BYTES
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.loader import PAUSE_SECONDS
from miniclaw.session.live.memory import MAX_CHECKPOINT_SECONDS, SessionMemory
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message, Session
from tests.fakes.by_hand import edit, quarantined
from tests.fakes.clock import WallClock
from tests.fakes.crash import contents_after, leave_behind, operations, restarted, segments
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import settle, wait_in_thread

ID = "web_a"


@asynccontextmanager
async def running(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, *, seconds: float = PERSISTENCE_INTERVAL_SECS, live: int = 1000
) -> AsyncIterator[SessionRuntime]:
    async with open_runtime(
        sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None, persistence_interval_seconds=seconds,
        max_live_sessions=live,
    ) as runtime:  # fmt: skip
        await runtime.manager.get_or_create_session("web", "a")
        yield runtime


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    return sessions_dir / f"{ID}.json"


def write_large(sessions_dir: Path, clock: WallClock, size: int = 400_000) -> None:
    """Write a session that is not due at each tick."""
    said = {"role": "user", "content": "x" * size, "timestamp": clock.now.isoformat().replace("+00:00", "Z")}
    write_session(sessions_dir, ID, clock.now, messages=[said])


async def say(manager: SessionManager, text: str, session_id: str = ID) -> None:
    await manager.add_message(session_id, Message("user", text, manager.clock()), durable=True)


async def test_tick_writes_a_small_session_and_records_that(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """Each tick writes the file of what was said, so that it is as new as ever to those who read files."""
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "one")
        assert not path.exists()
        await runtime.persistence.tick()
        assert read_contents(path) == ["one"]
        assert operations(sessions_dir, ID) == ["add", "saved"]


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(5_000, 0), (100_000, 0), (400_000, 97), (5_000_000, 1220), (64_000_000, MAX_CHECKPOINT_SECONDS)],
)
def test_due_in_proportion_to_the_size_and_at_most_after_half_an_hour(
    clock: WallClock, size: int, seconds: int
) -> None:
    """A small session is due at each tick; what the journal holds of a large one waits, the longer the larger it is."""
    memory = SessionMemory(10, 10**9)
    entry = Entry(Session(ID, "web", "a", clock.now, clock.now), saved=False)
    memory.add(entry)
    memory.append(entry, Message("user", "x" * size, clock.now), size)
    began = 1000.0
    assert memory.due(began, PERSISTENCE_INTERVAL_SECS) == (set() if seconds else {ID})
    if seconds:
        assert memory.due(began + seconds - 1, PERSISTENCE_INTERVAL_SECS) == set()
        assert memory.due(began + seconds + 2, PERSISTENCE_INTERVAL_SECS) == {ID}
    entry.saved(entry.revision, 1)
    assert memory.due(began + 10_000, PERSISTENCE_INTERVAL_SECS) == set()
    entry.revision += 1
    assert memory.due(began + 10_000, PERSISTENCE_INTERVAL_SECS) == (set() if seconds else {ID})


async def test_tick_writes_a_large_session_at_once_that_the_journal_does_not_hold(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A change that nobody has waited for is durable after the tick, in the journal or else in the file."""
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    write_large(sessions_dir, clock)
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.persistence.tick()
        await runtime.manager.add_message(ID, Message("user", "journal", clock.now))
        await runtime.persistence.tick()
        assert len(read_contents(path)) == 1
        assert (await contents_after(sessions_dir, clock, ID))[-1] == "journal"
        await runtime.manager.add_message(ID, Message("user", "file", clock.now))
        fs.fail("pwrite", errno.ENOSPC)
        await runtime.persistence.tick()
        assert read_contents(path)[-2:] == ["journal", "file"]
        fs.clear()


async def test_early_tick_writes_all(sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs) -> None:
    """Memory that is overfull makes room for what is not due, too."""
    write_large(sessions_dir, clock)
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.persistence.tick()
        await say(runtime.manager, "more")
        await runtime.persistence.tick(early=True)
        assert read_contents(path)[-1] == "more"


async def test_tick_writes_what_keeps_more_than_so_many_segments(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A start is bounded: the session that keeps the oldest segment is saved before its time."""
    write_large(sessions_dir, clock)
    async with running(sessions_dir, clock, fs) as runtime:
        await runtime.persistence.tick()
        await say(runtime.manager, "more")
        for number in range(2 * MAX_SEGMENTS):
            await runtime.manager.get_or_create_session("web", str(number))
            await say(runtime.manager, "x" * (MAX_NEWS_BYTES - 1000), f"web_{number}")
        await settle()  # while the next segment is made, none is deleted
        await runtime.persistence.tick()
        assert read_contents(path)[-1] == "more"
        assert len(segments(sessions_dir)) <= MAX_SEGMENTS + 1


async def test_eviction_frees_a_session_whose_records_a_segment_has(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """The bound on memory holds, however long a segment is kept for another session."""
    async with running(sessions_dir, clock, fs, live=1) as runtime:
        session = await runtime.manager.get_session(ID)
        assert session is not None
        ref = weakref.ref(session)
        del session
        await say(runtime.manager, "one")
        await runtime.manager.get_or_create_session("web", "b")
        await say(runtime.manager, "two", "web_b")
        await runtime.manager.save_sessions([ID])
        await settle()
        gc.collect()
        assert ref() is None
        assert segments(sessions_dir)


async def test_message_between_a_save_and_its_record_survives(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A record that a file was written takes only what was said before the copy was made."""
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        await say(manager, "before")
        gate = fs.block("rename", path=path.name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.persistence.tick)
            await wait_in_thread(gate.reached)
            await say(manager, "during")
            gate.opened.set()
        assert read_contents(path) == ["before"]
        assert operations(sessions_dir, ID) == ["add", "add", "saved"]
        assert await contents_after(sessions_dir, clock, ID) == ["before", "during"]
        await say(manager, "after")
        assert await contents_after(sessions_dir, clock, ID) == ["before", "during", "after"]


# Pins ------------------------------------------------------------------------------------------------------------


async def pin_after(sessions_dir: Path, clock: WallClock) -> bool:
    copy = leave_behind(sessions_dir, "pinned")
    async with restarted(copy, clock) as runtime:
        session = await runtime.manager.get_session(ID)
        assert session is not None
        pinned = session.pinned
    for file in sorted(copy.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    copy.rmdir()
    return pinned


@pytest.mark.parametrize(
    "steps", ["PCS", "PSC", "CPS", "PCUS", "PCUC", "PCSUS", "PCSUSC", "PCESUS", "PCeUe", "PSCUSPC"]
)
async def test_pin_is_right_after_a_crash_in_every_order(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, steps: str
) -> None:
    """A pin that a file has is not undone by an older record, whatever was committed, saved or evicted before.

    P pins, U unpins, C commits, S saves the file, E saves and evicts, and e does so without a tick after it.
    """
    async with running(sessions_dir, clock, fs, live=1) as runtime:
        manager = runtime.manager
        await say(manager, "one")
        pinned = durable = False
        for step in steps:
            match step:
                case "P" | "U":
                    pinned = step == "P"
                    await manager.set_pinned(ID, pinned)
                    continue
                case "C":
                    await manager.durable(ID)
                case "S":
                    await manager.save_sessions([ID])
                case _:
                    await manager.get_or_create_session("web", "b")
                    await manager.save_all_sessions()
                    if step == "E":
                        await runtime.persistence.tick()
            durable = pinned
            assert await pin_after(sessions_dir, clock) == durable, step


async def test_pin_that_the_journal_refuses_leaves_the_file_as_it_was(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A file gets no pin that an older record would undo; the session stays unsaved until the journal has it."""
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    async with running(sessions_dir, clock, fs) as runtime:
        await say(runtime.manager, "one")
        await runtime.manager.set_pinned(ID, True)
        fs.fail("pwrite", errno.ENOSPC)
        for _ in range(2):
            assert (await runtime.manager.save_all_sessions()).failed == (ID,)
        assert not path.exists()
        fs.clear()
        await runtime.persistence.tick()
        assert read_contents(path) == ["one"]
        assert await pin_after(sessions_dir, clock)


async def test_pin_of_a_failed_commit_that_got_to_the_disk_is_not_given_to_the_file(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A record that nobody was told of counts at the next start all the same, so a later one has to follow it."""
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    async with running(sessions_dir, clock, fs) as runtime:
        manager = runtime.manager
        await say(manager, "one")
        await manager.set_pinned(ID, True)
        fs.fail("sync_data", errno.EIO)
        await manager.saver.committer.commit([ID])
        fs.clear()
        await manager.set_pinned(ID, False)
        await manager.save_sessions([ID])
        assert not await pin_after(sessions_dir, clock)


# Another program -------------------------------------------------------------------------------------------------


async def saved_with_more(runtime: SessionRuntime) -> None:
    """Leave a session with one message in its file and one in the journal."""
    await say(runtime.manager, "secret")
    await runtime.persistence.tick()
    await say(runtime.manager, "in the journal")


async def test_file_deleted_by_hand_is_noticed_after_a_pause(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """The deleted messages do not return, neither now nor after a crash; what the file never had is kept."""
    async with running(sessions_dir, clock, fs, seconds=10_000) as runtime:
        await saved_with_more(runtime)
        path.unlink()
        mock_clock.jump(PAUSE_SECONDS + 1)
        session = await runtime.manager.get_session(ID)
        assert session is not None
        assert [message.content for message in session.messages] == ["in the journal"]
        await say(runtime.manager, "later")
        assert await contents_after(sessions_dir, clock, ID) == ["in the journal", "later"]


async def test_file_deleted_by_hand_is_noticed_by_a_save(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """The same at the next tick."""
    async with running(sessions_dir, clock, fs) as runtime:
        await saved_with_more(runtime)
        path.unlink()
        await runtime.persistence.tick()
        assert read_contents(path) == ["in the journal"]
        assert await contents_after(sessions_dir, clock, ID) == ["in the journal"]


async def test_file_deleted_by_hand_does_not_return_after_a_crash(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """What the journal has beyond the deleted file goes to quarantine, and the session is not made again."""
    logs.expect_error(
        "Messages in the journal do not fit their session file, which was changed or deleted; they are in "
        "quarantine, as a session"
    )
    async with running(sessions_dir, clock, fs) as runtime:
        await saved_with_more(runtime)
        copy = leave_behind(sessions_dir)
        (copy / path.name).unlink()
        async with restarted(copy, clock) as other:
            assert await other.manager.get_session(ID) is None
        (kept,) = quarantined(copy / path.name)
        assert b"in the journal" in (copy / ".quarantine" / kept).read_bytes()


@pytest.mark.parametrize("wait", [True, False])
async def test_file_changed_by_hand_loses_no_message_that_was_confirmed(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock, wait: bool
) -> None:
    """A file that another program has changed goes to quarantine, and the session with all that was said is saved."""
    async with running(sessions_dir, clock, fs, seconds=10_000) as runtime:
        await saved_with_more(runtime)
        edit(path)
        if wait:
            mock_clock.jump(PAUSE_SECONDS + 1)
            await say(runtime.manager, "later")
        await runtime.persistence.tick()
        expected = ["secret", "in the journal", *(["later"] if wait else [])]
        assert read_contents(path) == expected
        assert len(quarantined(path)) == 1
        assert await contents_after(sessions_dir, clock, ID) == expected


async def test_session_that_follows_another_file_keeps_what_is_confirmed_then(
    sessions_dir: Path, path: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """A record that the file is another one takes nothing that was said since."""
    async with running(sessions_dir, clock, fs, seconds=10_000) as runtime:
        await say(runtime.manager, "secret")
        await runtime.persistence.tick()
        edit(path)
        texts = read_contents(path)
        await say(runtime.manager, "two")
        assert await contents_after(sessions_dir, clock, ID) == [*texts, "two"]
        await runtime.persistence.tick()
        assert await contents_after(sessions_dir, clock, ID) == [*texts, "two"]
