"""Asking: the session that a hook loads, many sessions at once, counts and records, and the end of the runtime."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from miniclaw import Keep, Message, RemovalCandidate, Remove, Session, SessionKeptError, StoreError
from miniclaw.session.hooks.hooks import ASKED_AT_ONCE
from miniclaw.session.hooks.types import LoadSession
from miniclaw.session.runtime import GRACE_SECONDS, SessionRuntime
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle
from tests.session.hooks.ways import ID, WAYS, Program, Way

ONE_BY_REQUEST = pytest.mark.parametrize("way", [WAYS["run"], WAYS["operations"]], ids=["run", "operations"])


@ONE_BY_REQUEST
async def test_load_returns_the_whole_session_and_is_no_access(program: Program, way: Way) -> None:
    """The hook gets a copy as it would be removed; neither its use nor a change of the copy reaches the session."""
    found: list[Session] = []

    async def look(candidate: RemovalCandidate, load: LoadSession) -> Keep:
        session = await load()
        found.append(session)
        session.messages.clear()
        found.append(await load())
        return Keep()

    before = program.path.read_bytes()
    program.answer = look
    async with program.open(way) as runtime:
        await program.try_to_remove(way, runtime)
        assert runtime.manager.live_sessions() == 0
    assert [each.last_accessed for each in found] == [program.clock.ago(days=31)] * 2
    assert [message.content for message in found[1].messages] == ["hello from 1"]
    assert program.path.read_bytes() == before


async def test_load_before_a_deletion_has_the_unsaved_messages(program: Program) -> None:
    """The hook of a deletion sees what the trash will have: also what is in memory alone."""
    found: list[str] = []

    async def look(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        found.extend(message.content for message in (await load()).messages)
        return Remove()

    program.answer = look
    async with program.open(WAYS["operations"], trash=True) as runtime:
        await runtime.manager.add_message(ID, Message("user", "unsaved", runtime.time.now()))
        await WAYS["operations"].remove(runtime)
    assert found == ["hello from 1", "unsaved"]
    assert program.asked[0].bytes > program.size


async def test_session_that_vanishes_while_asked_is_no_error(program: Program) -> None:
    """A file that another program deletes meanwhile is nothing that the hook did wrong."""

    async def look(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        program.path.unlink()
        await load()
        return Remove()

    program.answer = look
    async with program.open(WAYS["run"]) as runtime:
        result = await runtime.cleanup.run()
        assert (result.kept_by_hook, result.sessions_deleted) == (1, 0)
        assert runtime.hooks.failures["before_remove"] == 0


@pytest.mark.parametrize("trash", [False, True], ids=["no trash", "trash"])
async def test_many_sessions_are_asked_about_eight_at_a_time(program: Program, trash: bool) -> None:
    """A slow archive is used in parallel, within a bound; each session is asked about once."""
    for number in range(10, 60):
        write_session(program.sessions_dir, f"telegram_{number}", program.clock.ago(days=40))
    asked: Counter[str] = Counter()
    waiting: list[trio.Event] = []
    most = 0

    async def archive(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        nonlocal most
        asked[candidate.session_id] += 1
        waiting.append(done := trio.Event())
        most = max(most, len(waiting))
        await done.wait()
        return Remove()

    async def answer() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if waiting:
                waiting.pop().set()
            else:
                await trio.testing.wait_all_threads_completed()

    program.answer = archive
    async with program.open(WAYS["run"], trash=trash) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        result = await runtime.cleanup.run()
        nursery.cancel_scope.cancel()
    assert most == ASKED_AT_ONCE
    assert (result.sessions_deleted, result.trashed) == (51, 51 if trash else 0)
    assert set(asked.values()) == {1}
    assert len(program.told) == 51


async def test_result_log_and_history_tell_of_kept_sessions(program: Program, logs: LogRecorder) -> None:
    """A run counts the kept sessions apart, names each once, and the history has the reason."""
    program.answer = program.refuse
    async with program.open(WAYS["run"]) as runtime:
        result = await runtime.cleanup.run()
        again = await runtime.cleanup.run()
    assert (result.kept_by_hook, result.kept_active, result.failed, result.sessions_deleted) == (1, 0, 0, 0)
    assert again.kept_by_hook == 1
    assert logs.one("Session kept by before_remove")["reason"] == "a lawyer wants it"
    assert logs.one("More sessions kept by before_remove")["more"] == 1
    events = state_in(program.sessions_dir).history().read()[0]
    assert [event.because for event in events] == [f"before_remove keeps 1: {ID} (a lawyer wants it)"] * 2


async def test_cleanup_inside_a_hook_of_a_run_is_refused(program: Program) -> None:
    """A run that waits for a hook that waits for another run would never end."""
    refused: list[str] = []
    runtimes: list[SessionRuntime] = []

    async def clean_up(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        with pytest.raises(StoreError, match="outside of hooks") as caught:
            await runtimes[0].cleanup.run()
        refused.append(str(caught.value))
        return Remove()

    program.answer = clean_up
    async with program.open(WAYS["run"]) as runtime:
        runtimes.append(runtime)
        await runtime.cleanup.run()
    assert len(refused) == 1
    assert not program.is_kept


async def test_cleanup_inside_the_hook_of_a_deletion_keeps_that_session(program: Program) -> None:
    """A run does not remove the session about which the hook that has started it has still to answer."""
    runtimes: list[SessionRuntime] = []
    kept: list[int] = []

    async def clean_up(candidate: RemovalCandidate, load: LoadSession) -> Keep:
        kept.append((await runtimes[0].cleanup.run()).kept_by_hook)
        return Keep()

    program.answer = clean_up
    async with program.open(WAYS["operations"]) as runtime:
        runtimes.append(runtime)
        with pytest.raises(SessionKeptError):
            await WAYS["operations"].remove(runtime)
    assert (program.is_kept, kept, len(program.asked)) == (True, [1], 1)


# The end --------------------------------------------------------------------------------------------------------


async def _hang(candidate: RemovalCandidate, load: LoadSession) -> Remove:
    await trio.Event().wait()  # for ever
    return Remove()


@pytest.mark.parametrize("way", WAYS.values(), ids=[*WAYS])
async def test_cancellation_during_a_hook_keeps_the_session(program: Program, way: Way) -> None:
    """A program that is cancelled while it is asked has not agreed."""
    program.answer = _hang
    with trio.CancelScope() as scope:
        async with program.open(way) as runtime, trio.open_nursery() as nursery:
            nursery.start_soon(way.remove, runtime)
            await settle()
            assert len(program.asked) == 1
            scope.cancel()
    assert program.is_kept
    assert program.told == []


@pytest.mark.parametrize("way", WAYS.values(), ids=[*WAYS])
async def test_end_of_the_runtime_during_a_hook_keeps_the_session(
    program: Program, way: Way, mock_clock: MockClock
) -> None:
    """After the grace period a hook that still runs is cancelled, and its removal does not happen."""
    program.answer = _hang
    leave, ended = trio.Event(), trio.Event()

    async def run(nursery: trio.Nursery) -> None:
        async with program.open(way) as runtime:
            nursery.start_soon(program.try_to_remove, way, runtime)
            await leave.wait()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, nursery)
        await settle()
        leave.set()
        await settle()
        assert (len(program.asked), ended.is_set()) == (1, False)
        mock_clock.jump(GRACE_SECONDS)
        await ended.wait()
    assert program.is_kept
    assert program.told == []


async def test_hook_that_answers_within_the_grace_period_is_heard(program: Program, mock_clock: MockClock) -> None:
    """A deletion whose hook answers while the runtime ends happens, and is told."""
    answered = trio.Event()

    async def agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        await answered.wait()
        return Remove()

    program.answer = agree
    async with trio.open_nursery() as nursery, program.open(WAYS["operations"]) as runtime:
        nursery.start_soon(WAYS["operations"].remove, runtime)
        await settle()
        nursery.start_soon(_soon, answered)
    assert not program.is_kept
    assert len(program.told) == 1


async def _soon(event: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    event.set()
