"""The hook `before_remove`: asked in every way of removal, and no session is removed against its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from miniclaw import Keep, Message, RemovalCandidate, Remove, SessionNotFoundError
from miniclaw.session.hooks.types import LoadSession
from miniclaw.session.live.remover import USED_MEANWHILE
from miniclaw.session.runtime import SessionRuntime
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle
from tests.session.hooks.ways import ID, WAYS, Program, Way

FAILED = "before_remove failed; the session is kept, and the next run asks again"

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=[*WAYS])
each_rule = pytest.mark.parametrize(
    "way", [way for way in WAYS.values() if not way.raises], ids=[name for name in WAYS if not WAYS[name].raises]
)

Use = Callable[[SessionRuntime], Awaitable[object]]


@pytest.mark.parametrize("trash", [False, True], ids=["no trash", "trash"])
@each_way
async def test_removal_asks_once_and_tells_once(program: Program, way: Way, trash: bool) -> None:
    """Each way asks with all that is known of the session, removes it then, and tells what it did."""
    async with program.open(way, trash=trash) as runtime:
        await way.remove(runtime)
        await runtime.hooks.told()
        assert not program.is_kept
        assert program.asked == [
            RemovalCandidate(
                session_id=ID, channel="telegram", chat_id="1", last_accessed=program.clock.ago(days=31), pinned=False,
                bytes=program.size, reason=way.reason, goes_to_trash=trash and way.trashes,
            )
        ]  # fmt: skip
        (told,) = program.told
        assert (told.session_id, told.reason, bool(told.entry_id)) == (ID, way.reason, trash and way.trashes)
        assert trash or told.bytes_freed == program.size
        assert runtime.hooks.kept == 0


@each_way
async def test_keep_keeps_the_session_and_is_asked_again(program: Program, way: Way) -> None:
    """A session that the program keeps is untouched; the next removal asks again, and may remove it."""
    program.answer = program.refuse
    before = program.path.read_bytes()
    async with program.open(way) as runtime:
        text = await program.try_to_remove(way, runtime)
        assert text == (f"the session {ID!r} was kept: a lawyer wants it" if way.raises else "")
        assert (program.is_kept, runtime.hooks.kept, runtime.hooks.failures["before_remove"]) == (True, 1, 0)
        assert runtime.manager.live_sessions() == 0
    assert program.path.read_bytes() == before
    program.answer = program.agree
    program.clock.move(days=1)
    async with program.open(way) as runtime:
        await way.remove(runtime)
        await runtime.hooks.told()
    assert not program.is_kept
    assert (len(program.asked), len(program.told)) == (2, 1)


@each_way
async def test_exception_keeps_the_session(program: Program, way: Way, logs: LogRecorder) -> None:
    """A hook that raises is one ERROR with its traceback, and the session is kept."""

    async def fail(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        raise ZeroDivisionError("no archive")

    logs.expect_error(FAILED)
    program.answer = fail
    async with program.open(way) as runtime:
        text = await program.try_to_remove(way, runtime)
        assert ("the log has its traceback" in text) == way.raises
        assert (runtime.hooks.kept, runtime.hooks.failures["before_remove"]) == (1, 1)
    assert program.is_kept
    error = logs.one(FAILED)
    assert "no archive" in error["traceback"]
    assert (error["hook"], error["session_id"]) == ("before_remove", ID)


@each_way
async def test_deadline_keeps_the_session(program: Program, way: Way, logs: LogRecorder, mock_clock: MockClock) -> None:
    """A hook without an answer within the deadline is cancelled, and the ERROR shows where it waited."""

    async def wait_for_the_archive(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        with trio.CancelScope() as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught  # never comes here
        return Remove()

    logs.expect_error(FAILED)
    program.answer = wait_for_the_archive
    async with program.open(way, hook_deadline=timedelta(seconds=20)) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(program.try_to_remove, way, runtime)
        await settle()
        assert len(program.asked) == 1
        mock_clock.jump(19.9)
        await settle()
        assert logs.named(FAILED) == []
        mock_clock.jump(0.1)
        await settle()
        runtime.hurry()  # a hook that hangs nevertheless fails the test, and does not hang it
        assert len(logs.named(FAILED)) == 1
    assert program.is_kept
    traceback = logs.one(FAILED)["traceback"]
    assert "wait_for_the_archive" in traceback
    assert "no answer within hook_deadline, 20 s" in traceback


async def test_answer_behind_the_deadline_keeps_the_session(
    program: Program, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A hook that swallows its cancellation cannot remove a session after the deadline."""

    async def be_late(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        with trio.CancelScope(shield=True):
            await trio.sleep(21)
        return Remove()

    logs.expect_error(FAILED)
    program.answer = be_late
    async with (
        program.open(WAYS["run"], hook_deadline=timedelta(seconds=20)) as runtime,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(runtime.cleanup.run)
        await settle()
        mock_clock.jump(21)
        await settle()
    assert program.is_kept


@pytest.mark.parametrize("answer", [None, True, "remove", Remove, Keep], ids=repr)
async def test_wrong_answer_keeps_the_session(program: Program, answer: Any, logs: LogRecorder) -> None:
    """Anything but the two answers is an ERROR that names them."""

    async def err(candidate: RemovalCandidate, load: LoadSession) -> Any:
        return answer

    logs.expect_error(FAILED)
    program.answer = err
    async with program.open(WAYS["run"]) as runtime:
        result = await runtime.cleanup.run()
    assert (program.is_kept, result.kept_by_hook, result.sessions_deleted) == (True, 1, 0)
    assert "has to return miniclaw.Keep(reason) or miniclaw.Remove()" in logs.one(FAILED)["traceback"]


# Uses while the hook is asked -----------------------------------------------------------------------------------


async def _get(runtime: SessionRuntime) -> None:
    await runtime.manager.get_session(ID)


async def _say(runtime: SessionRuntime) -> None:
    await runtime.manager.add_message(ID, Message("user", "I am back", runtime.time.now()))


async def _say_and_save(runtime: SessionRuntime) -> None:
    await _say(runtime)
    await runtime.manager.save_all_sessions()


USES: dict[str, Use] = {"access": _get, "message": _say, "saved message": _say_and_save}


@pytest.mark.parametrize("use", USES.values(), ids=[*USES])
@each_way
async def test_session_used_while_asked_is_kept(program: Program, way: Way, use: Use) -> None:
    """The last check follows the answer: a session that is used meanwhile, by the hook itself too, is not removed."""
    runtimes: list[SessionRuntime] = []

    async def use_and_agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        await settle()  # the runtime is open
        await use(runtimes[0])
        return Remove()

    program.answer = use_and_agree
    async with program.open(way) as runtime:
        runtimes.append(runtime)
        text = await program.try_to_remove(way, runtime)
        assert (USED_MEANWHILE in text) == way.raises
    assert program.is_kept
    assert program.told == []


@each_way
async def test_file_changed_by_another_program_while_asked_is_kept(program: Program, way: Way) -> None:
    """What another program writes while the hook is asked is not removed, because the hook has not seen it."""

    async def change_and_agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        write_session(program.sessions_dir, ID, program.clock.ago(days=1))
        return Remove()

    program.answer = change_and_agree
    async with program.open(way) as runtime:
        text = await program.try_to_remove(way, runtime)
        assert (USED_MEANWHILE in text) == way.raises
    assert program.is_kept


@each_rule
async def test_session_pinned_while_asked_is_kept(program: Program, way: Way) -> None:
    """A pin that the hook sets counts for the removal that it is asked about."""
    runtimes: list[SessionRuntime] = []

    async def pin_and_agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        await settle()
        await runtimes[0].manager.set_pinned(ID, True)
        await runtimes[0].manager.save_all_sessions()
        return Remove()

    program.answer = pin_and_agree
    async with program.open(way) as runtime:
        runtimes.append(runtime)
        await way.remove(runtime)
    assert program.is_kept


@each_way
async def test_hook_may_delete_the_session_itself(program: Program, way: Way) -> None:
    """No lock is held while the hook runs, and it is not asked a second time about its own deletion."""
    runtimes: list[SessionRuntime] = []

    async def delete_and_agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        await settle()
        await runtimes[0].operations().delete([ID])
        return Remove()

    program.answer = delete_and_agree
    async with program.open(way) as runtime:
        runtimes.append(runtime)
        with pytest.raises(SessionNotFoundError) if way.raises else nullcontext():
            await way.remove(runtime)
        await runtime.hooks.told()
    assert not program.is_kept
    assert (len(program.asked), [told.reason for told in program.told]) == (1, ["deleted"])
