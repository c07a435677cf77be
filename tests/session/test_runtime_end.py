"""The end of the runtime: what was accepted is on disk, or an error names it."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import miniclaw
from miniclaw.errors import RuntimeClosedError, UnsavedSessionsError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.maintenance.service import CleanupService
from miniclaw.session.records.state import StateDirectory
from miniclaw.session.runtime import GRACE_SECONDS, HANGING_SECONDS, SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import settle, wait_in_thread

ID = "telegram_1"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"
CLOCK_FAILED = "Clock failed; time stands still until it works again"
REFUSED = "Journal could not be written; sessions are saved as a whole"
UNSAVED = "Sessions could not be saved before the end"


def said(content: str, clock: WallClock) -> Message:
    return Message("user", content, clock.now)


async def speak(runtime: SessionRuntime, accepted: list[str], clock: WallClock) -> None:
    """Write messages until that is refused."""
    while True:
        content = str(len(accepted))
        try:
            await runtime.manager.add_message(ID, said(content, clock))
        except RuntimeClosedError:
            return
        accepted.append(content)


async def test_leave_with_tasks_that_go_on_writing_keeps_all_that_was_accepted(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Tasks that outlive the block are refused from its end on, and nothing that they were told is kept gets lost."""
    accepted: list[str] = []
    async with trio.open_nursery() as nursery, open_runtime(sessions_dir, clock=clock) as runtime:
        await runtime.manager.get_or_create_session("telegram", "1")
        nursery.start_soon(speak, runtime, accepted, clock)
        while len(accepted) < 50:
            await trio.lowlevel.checkpoint()
    assert read_contents(sessions_dir / f"{ID}.json") == accepted


async def test_leave_waits_for_a_message_whose_session_is_being_loaded(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation that has begun before the end is finished and saved, also where it waits for the disk."""
    path = write_session(sessions_dir, ID, clock.now)
    fs = FaultyOs()
    gate = fs.block("open", path=path.name)
    refused: list[bool] = []

    async def write(runtime: SessionRuntime) -> None:
        try:
            await runtime.manager.add_message(ID, said("late", clock))
        except RuntimeClosedError:
            refused.append(True)

    async with trio.open_nursery() as nursery:
        async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
            drain = runtime.manager.drain

            async def answer_and_drain() -> None:
                gate.opened.set()  # the disk answers only now that the runtime waits
                await drain()

            monkeypatch.setattr(runtime.manager, "drain", answer_and_drain)
            nursery.start_soon(write, runtime)
            await wait_in_thread(gate.reached)
        gate.opened.set()
    assert refused == []
    assert read_contents(path)[-1] == "late"


async def test_leave_does_not_wait_for_a_load_for_ever_and_refuses_its_message(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock
) -> None:
    """A message whose session comes from the disk after the end is refused: nobody would save it."""
    path = write_session(sessions_dir, ID, clock.now)
    fs = FaultyOs()
    gate = fs.block("open", path=path.name)
    refused: list[bool] = []

    async def write(runtime: SessionRuntime) -> None:
        with pytest.raises(RuntimeClosedError):
            await runtime.manager.add_message(ID, said("too late", clock))
        refused.append(True)

    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def run() -> None:
            async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
                nursery.start_soon(write, runtime)
                await wait_in_thread(gate.reached)
            ended.set()

        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        while not ended.is_set():  # the services end first, and then the grace of the load is over
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(GRACE_SECONDS)
        assert refused == []
        gate.opened.set()
    assert refused == [True]
    assert b"too late" not in path.read_bytes()


async def test_leave_flushes_again_what_failed_at_first(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """While a flush still gets something saved, what failed is tried again."""
    logs.expect_error(NOT_SAVED)
    fs = FaultyOs()
    failed: list[str] = []

    def fail_once(name: str, args: tuple[object, ...]) -> None:
        if name == "rename" and "telegram_2.json" in args and not failed:
            failed.append(name)
            raise OSError(errno.EIO, "Input/output error")

    fs.on(fail_once)
    async with open_runtime(sessions_dir, clock=clock, fs=fs) as runtime:
        for chat in ("1", "2"):
            await runtime.manager.get_or_create_session("telegram", chat)
    assert failed
    assert (sessions_dir / "telegram_2.json").exists()


async def test_leave_by_an_error_with_unsaved_sessions_raises_both(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Neither the error of the block nor the loss is swallowed by the other."""
    for sentence in (NOT_SAVED, REFUSED, UNSAVED):
        logs.expect_error(sentence)
    fs = FaultyOs()

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs) as runtime:
            await runtime.manager.get_or_create_session("telegram", "1")
            fs.fail("rename", errno.ENOSPC, path="telegram_1.json")
            fs.fail("pwrite", errno.ENOSPC)
            raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, UnsavedSessionsError):
        await run()


async def test_leave_by_a_cancellation_with_unsaved_sessions_raises_the_loss(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A cancelled block ends with the error that names the sessions; the cancellation ends at its scope."""
    for sentence in (NOT_SAVED, REFUSED, UNSAVED):
        logs.expect_error(sentence)
    fs = FaultyOs()

    async def run() -> None:
        with trio.CancelScope() as scope:
            async with open_runtime(sessions_dir, clock=clock, fs=fs) as runtime:
                await runtime.manager.get_or_create_session("telegram", "1")
                fs.fail("rename", errno.ENOSPC, path="telegram_1.json")
                fs.fail("pwrite", errno.ENOSPC)
                scope.cancel()
                await trio.sleep_forever()

    with pytest.RaisesGroup(UnsavedSessionsError):
        await run()


async def test_leave_with_a_clock_that_breaks_flushes_all_the_same(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A bug in an embedder's clock is told once in the log, and costs nothing that was accepted."""
    logs.expect_error(CLOCK_FAILED)
    broken: list[bool] = []

    def clock_of_an_embedder() -> datetime:
        if broken:
            raise RuntimeError("the clock broke")
        return clock.now

    async with open_runtime(sessions_dir, clock=clock_of_an_embedder, cleanup_interval_seconds=None) as runtime:
        await runtime.manager.get_or_create_session("telegram", "1")
        broken.append(True)
    assert "the clock broke" in logs.one(CLOCK_FAILED)["traceback"]
    assert (sessions_dir / f"{ID}.json").exists()


async def test_cleanup_run_right_after_the_opening_follows_the_services_own(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A program that cleans up at once need not know that the service's first run is going."""
    write_session(sessions_dir, ID, clock.ago(days=31))
    async with miniclaw.open_runtime(sessions_dir, clock=clock) as runtime:
        assert (await runtime.cleanup.run()).sessions_deleted == 1
        await settle()
        assert runtime.cleanup_service.runs == 1


async def test_leave_waits_for_a_cleanup_of_the_program_and_its_receipt(sessions_dir: Path, clock: WallClock) -> None:
    """A cleanup that the program began is ended after its batch, and what it removed is in the history."""
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    fs = FaultyOs()
    gate = fs.block("unlink", path="telegram_")
    options: dict[str, Any] = {"clock": clock, "fs": fs, "cleanup_interval_seconds": None}
    async with trio.open_nursery() as nursery, open_runtime(sessions_dir, **options) as runtime:
        nursery.start_soon(runtime.cleanup.run)
        await wait_in_thread(gate.reached)
        gate.opened.set()
    left = len(list(sessions_dir.glob("*.json")))
    with SessionDirectory.open(sessions_dir) as directory:
        (event,) = StateDirectory.within(directory).history().read()[0]
    assert (event.event, len(event.sessions)) == ("interrupted", 100 - left)
    assert 0 < left < 100


async def test_after_the_end_every_call_is_refused(sessions_dir: Path, clock: WallClock) -> None:
    """What is asked of a runtime that has ended is refused as that, and not by the system."""
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        operations, manager = runtime.operations(), runtime.manager
        await manager.get_or_create_session("web", "1")
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(manager.add_message, ID, said("late", clock)),
        partial(manager.add_message, ID, said("late", clock), durable=True),
        partial(manager.durable, ID),
        partial(manager.get_session, ID),
        partial(manager.get_or_create_session, "web", "1"),
        partial(manager.is_session_expired, ID),
        partial(manager.delete_session, ID),
        partial(manager.restore_session, ID),
        partial(manager.move_session, ID, "web_other"),
        partial(manager.set_pinned, ID, True),
        manager.save_all_sessions,
        manager.using(ID).__aenter__,
        runtime.usage.measure,
        operations.quarantine.files,
        partial(operations.quarantine.restore, "x"),
        partial(operations.quarantine.add, ["x"]),
        partial(operations.quarantine.delete, ["x"]),
        partial(operations.move, ID, "web_other"),
        runtime.cleanup.run,
        runtime.cleanup.plan,
        operations.cleanup,
        partial(operations.delete, [ID]),
        partial(operations.empty_trash, ["x"]),
        partial(operations.restore, ID),
        partial(operations.set_pinned, ID, True),
    ]
    for call in calls:
        with pytest.raises(RuntimeClosedError):
            await call()
    with pytest.raises(RuntimeClosedError):
        runtime.set_rules(runtime.rules)


async def test_leave_with_a_hook_that_cannot_be_cancelled_flushes_beside_it(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that foreign code keeps from ending holds up the end, but not the flush."""
    go_on = trio.Event()

    async def run(_: CleanupService, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await go_on.wait()

    monkeypatch.setattr(CleanupService, "run", run)

    async def live() -> None:
        async with open_runtime(sessions_dir, clock=clock) as runtime:
            await runtime.manager.get_or_create_session("telegram", "1")
            await runtime.manager.add_message(ID, said("important", clock))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        for seconds in (GRACE_SECONDS, HANGING_SECONDS):
            await settle()
            mock_clock.jump(seconds)
        await settle()
        assert read_contents(sessions_dir / f"{ID}.json") == ["important"]
        assert logs.one("Session services do not end; a removal, or a hook of the program, holds them up")
        go_on.set()
