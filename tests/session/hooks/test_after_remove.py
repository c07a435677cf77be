"""The hook `after_remove`: called once for each removal that has happened, however late."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from miniclaw import RemovalPendingError, RemovedSession
from miniclaw.session.runtime import GRACE_SECONDS, SessionRuntime
from miniclaw.session.threads import PATIENCE_SECONDS
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import settle, until, wait_in_thread
from tests.session.hooks.ways import ID, WAYS, Program, Way

FAILED = "after_remove failed; the removal stands"
BOTH = ["telegram_1", "telegram_3"]


async def test_failing_call_is_an_error_and_the_next_removal_is_told(program: Program, logs: LogRecorder) -> None:
    """An exception undoes no removal and stops no other call."""
    write_session(program.sessions_dir, BOTH[1], program.clock.ago(days=32))

    async def fail(removal: RemovedSession) -> None:
        program.told.append(removal)
        raise ZeroDivisionError("no mail")

    logs.expect_error(FAILED)
    async with program.open(WAYS["run"], after_remove=fail) as runtime:
        result = await runtime.cleanup.run()
        assert runtime.hooks.failures["after_remove"] == 2
    assert result.sessions_deleted == 2
    assert sorted(told.session_id for told in program.told) == BOTH
    assert ["no mail" in error["traceback"] for error in logs.named(FAILED)] == [True, True]


async def test_call_beyond_the_deadline_is_an_error_and_the_next_removal_is_told(
    program: Program, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A hook that hangs holds up the next calls no longer than the deadline."""
    write_session(program.sessions_dir, BOTH[1], program.clock.ago(days=32))

    async def hang_once(removal: RemovedSession) -> None:
        program.told.append(removal)
        if len(program.told) == 1:
            await trio.sleep_forever()

    logs.expect_error(FAILED)
    async with program.open(WAYS["run"], after_remove=hang_once) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.cleanup.run)
        await settle()
        assert len(program.told) == 1
        mock_clock.jump(60)
        await settle()
    assert sorted(told.session_id for told in program.told) == BOTH


@pytest.mark.parametrize("way", [WAYS["run"], WAYS["one"], WAYS["operations"]], ids=["run", "one", "operations"])
async def test_removal_that_ends_late_is_told(
    program: Program, way: Way, mock_clock: MockClock, logs: LogRecorder
) -> None:
    """A removal for which no caller waits any more is told when it ends, and once."""
    fs = FaultyOs()
    if way is WAYS["run"]:
        logs.expect_error("Session not removed yet")
    async with program.open(way, fs=fs) as runtime:
        gate = fs.block("unlink", path=program.path.name)

        async def remove() -> None:
            with suppress(RemovalPendingError):
                await way.remove(runtime)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            await wait_in_thread(gate.reached)
            mock_clock.jump(PATIENCE_SECONDS)
        assert program.told == []
        gate.opened.set()
        await until(lambda: bool(program.told))
        await settle()
    (told,) = program.told
    assert (told.session_id, told.reason, told.bytes_freed) == (ID, way.reason, program.size)


async def test_hook_may_use_the_runtime(program: Program) -> None:
    """A call that deletes another session does not wait for itself, and that deletion is told as well."""
    write_session(program.sessions_dir, BOTH[1], program.clock.ago(days=3))
    runtimes: list[SessionRuntime] = []

    async def delete_another(removal: RemovedSession) -> None:
        program.told.append(removal)
        if removal.session_id == ID:
            await runtimes[0].operations().delete([BOTH[1]])

    async with program.open(WAYS["run"], after_remove=delete_another) as runtime:
        runtimes.append(runtime)
        await runtime.cleanup.run()
        await runtime.hooks.told()
    assert [(told.session_id, told.reason) for told in program.told] == [(BOTH[0], "ttl"), (BOTH[1], "deleted")]


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
async def test_end_of_the_runtime_waits_for_the_calls(program: Program, cancelled: bool, mock_clock: MockClock) -> None:
    """What was removed before the end is told before the end, also in a program that is cancelled."""
    called, ends = trio.Event(), trio.Event()

    async def slowly(removal: RemovedSession) -> None:
        called.set()
        await ends.wait()
        program.told.append(removal)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with program.open(WAYS["manager"], after_remove=slowly) as runtime:
                await runtime.manager.delete_session(ID)
                await called.wait()
                nursery.start_soon(_soon, ends)
                if cancelled:
                    scope.cancel()
    assert [told.session_id for told in program.told] == [ID]


async def test_end_of_the_runtime_waits_for_a_hanging_call_as_long_as_for_services(
    program: Program, mock_clock: MockClock
) -> None:
    """A hook that hangs is cancelled after the grace period."""
    called, ended = trio.Event(), trio.Event()

    async def hang(removal: RemovedSession) -> None:
        called.set()
        await trio.sleep_forever()

    async def run() -> None:
        async with program.open(WAYS["manager"], after_remove=hang) as runtime:
            await runtime.manager.delete_session(ID)
            await called.wait()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await settle()
        assert (called.is_set(), ended.is_set()) == (True, False)
        mock_clock.jump(GRACE_SECONDS)
        await ended.wait()


async def _soon(event: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event.set()
