"""What the runtime takes from the machine stays the same however long it runs, and a disk that hangs takes nothing else.

At every commit with fewer ticks and cleanups; MINICLAW_SOAK makes it the full number, times the factor.
"""

from __future__ import annotations

import errno
import gc
import itertools
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from miniclaw.errors import UnsavedSessionsError
from miniclaw.session import names
from miniclaw.session.live import committer
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.runtime import GRACE_SECONDS, SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs, Gate
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.snapshots import SnapshotOs
from tests.fakes.threads import settle, until, wait_in_thread
from tests.fakes.work_folder import left_in_work

SOAK = int(os.environ.get("MINICLAW_SOAK", "0"))  # 0: not set
TICKS = 10_000 * SOAK or 1_000
CLEANUPS = 500 * SOAK or 100

TICK_DAYS = PERSISTENCE_INTERVAL_SECS / (24 * 60 * 60)
SPANS = 4
NOISE_BLOCKS = 80
MAX_BLOCKS_PER_ROUND = 0.25  # of Python's memory; a leak of one object a round would be more than one
THREADS = 8  # that trio may keep for the next work, whatever has been


@dataclass(frozen=True)
class Taken:
    """What the process has at one moment."""

    descriptors: int
    threads: int
    blocks: int


def look(logs: LogRecorder) -> Taken:
    """Count, after the log is read and forgotten: it is the test that keeps it."""
    errors = [event for event in logs.events if event["level"] not in {"debug", "info"}]
    assert not errors, errors[0]
    logs.events.clear()
    names.file_name_of_live.cache_clear()  # bounded, and filled by the new chat of each day
    gc.collect()
    return Taken(len(os.listdir("/proc/self/fd")), threading.active_count(), sys.getallocatedblocks())


async def rounds(number: int, one: Callable[[], Awaitable[None]], logs: LogRecorder) -> None:
    """Do something often, and prove that nothing grows by it."""
    others = threading.active_count()  # of fixtures, and those that trio keeps from before
    warm_up = max(40, number // 10)  # longer than the thirty days in which sessions gather
    span = (number - warm_up) // SPANS
    for _ in range(number - SPANS * span):
        await one()
    spans = [look(logs)]
    for _ in range(SPANS):
        for _ in range(span):
            await one()
        spans.append(look(logs))
    assert {taken.descriptors for taken in spans} == {spans[0].descriptors}
    assert max(taken.threads for taken in spans) <= others + THREADS + 2
    # What leaks grows in every span; a cache that is filled, or a new thread, in some.
    growth = [after.blocks - before.blocks for before, after in itertools.pairwise(spans)]
    bound = NOISE_BLOCKS + MAX_BLOCKS_PER_ROUND * span
    assert min(growth) < bound, f"{growth} blocks in {SPANS} spans of {span} rounds"


async def test_ticks_take_nothing_that_they_keep(
    sessions_dir: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """Over very many autosave ticks, each with something to save, descriptors, threads and memory stay the same."""
    async with open_runtime(sessions_dir, clock=clock, fs=SnapshotOs()) as runtime:
        chats = [await runtime.manager.get_or_create_session("web", str(number)) for number in range(3)]

        async def tick() -> None:
            assert await runtime.manager.get_session("web_none") is None
            for chat in chats:
                await runtime.manager.get_session(chat.session_id)
            await days_pass(TICK_DAYS)

        await rounds(TICKS, tick, logs)
        assert runtime.persistence.ticks == TICKS
        assert not runtime.manager.dirty_sessions()


async def test_cleanups_take_nothing_that_they_keep(
    sessions_dir: Path, clock: WallClock, days_pass: DaysPass, logs: LogRecorder
) -> None:
    """Over very many daily cleanups, each of which removes something, descriptors, threads and memory stay the same."""
    async with open_runtime(sessions_dir, clock=clock, fs=SnapshotOs(), notice=False) as runtime:
        await settle()
        runs = runtime.cleanup_service.runs

        async def day() -> None:
            for number in range(5):
                write_session(sessions_dir, f"web_{number}", clock.ago(days=31 if number else 1))
            await runtime.manager.get_or_create_session("telegram", clock.now.isoformat())
            await days_pass(1)
            assert runtime.cleanup_service.last_result is not None
            assert runtime.cleanup_service.last_result.sessions_deleted >= 4

        await rounds(CLEANUPS, day, logs)
        assert runtime.cleanup_service.runs - runs == CLEANUPS
        # Chats of the last thirty days, web_0, and what is in memory; the rest is gone from both.
        assert len(list(sessions_dir.glob("*.json"))) <= 33
    assert left_in_work(sessions_dir) == []


def hang_fsync(fs: FaultyOs, text: bytes) -> Gate:
    """Have the sync of the first file that contains a text hang until the gate is opened."""
    gate = Gate()
    suspects: set[int] = set()

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name == "write" and text in bytes(args[1]):
            suspects.add(args[0])
        if name == "fsync" and args[0] in suspects and not gate.reached.is_set():
            gate.reached.set()
            assert gate.opened.wait(PATIENCE_SECONDS), "nobody opened the gate"

    fs.on(hook)
    return gate


async def end_unsaved(run: Callable[[], Awaitable[None]], session_id: str, ended: trio.Event) -> None:
    with pytest.raises(UnsavedSessionsError, match=session_id):
        await run()
    ended.set()


async def test_hung_fsync_holds_up_neither_chat_nor_saves_nor_cleanup_nor_the_end(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one file's sync hangs all else goes on; the end comes at its deadline and names what was not saved."""
    monkeypatch.setattr(committer, "WAIT_SECONDS", float("inf"))  # the clock jumps while a commit is under way
    logs.expect_error("Sessions could not be saved before the end")
    fs = FaultyOs()
    gate = hang_fsync(fs, b"web_hung")
    runtimes: list[SessionRuntime] = []
    ending, ended = trio.Event(), trio.Event()

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
            runtimes.append(runtime)
            await ending.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_unsaved, run, "web_hung", ended)
        await settle()
        manager = runtimes[0].manager
        write_session(sessions_dir, "web_old", clock.ago(days=31))
        write_session(sessions_dir, "web_stored", clock.now)
        await manager.get_or_create_session("web", "hung")
        mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
        await wait_in_thread(gate.reached)
        # Chat, with the session that hangs and with others, new and stored.
        await manager.add_message("web_hung", Message("user", "said while it hung", clock.now))
        for number in range(20):
            await manager.get_or_create_session("web", str(number))
        assert await manager.get_session("web_stored") is not None
        mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
        await until(lambda: manager.dirty_sessions() == ["web_hung"])
        assert (await runtimes[0].cleanup.run()).sessions_deleted == 1
        assert (await manager.delete_session("web_0")).bytes_freed > 0
        ending.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        while (
            not ended.is_set()
        ):  # first the grace of the services, if one of them is at a save, then that of the flush
            mock_clock.jump(GRACE_SECONDS)
            await trio.testing.wait_all_tasks_blocked()
    assert logs.one("Sessions could not be saved before the end")["session_ids"] == ("web_hung",)
    assert (sessions_dir / "web_19.json").exists()
    assert not (sessions_dir / "web_hung.json").exists()
    gate.opened.set()
    await settle()


async def test_hung_sync_of_the_directory_lets_chat_go_on_and_the_end_come(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """A save whose last step hangs is not called saved; the runtime ends by its deadline, and the file is whole."""
    logs.expect_error("Sessions could not be saved before the end")
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    fs = FaultyOs()
    ended = trio.Event()

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
            await runtime.manager.get_or_create_session("web", "1")
            fs.on(hook)

    gate = Gate()

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name == "pwrite":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the journal has no room
        is_ours = name == "fsync" and os.readlink(f"/proc/self/fd/{args[0]}") == str(sessions_dir)
        if is_ours and (sessions_dir / "web_1.json").exists() and not gate.reached.is_set():
            gate.reached.set()
            assert gate.opened.wait(PATIENCE_SECONDS), "nobody opened the gate"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_unsaved, run, "web_1", ended)
        await wait_in_thread(gate.reached)
        mock_clock.jump(GRACE_SECONDS)
        await ended.wait()
    assert (sessions_dir / "web_1.json").read_bytes().endswith(b"}")
    gate.opened.set()
    await settle()
