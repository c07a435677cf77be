"""The calls of hooks by themselves: arguments, what is contained, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

import miniclaw
from miniclaw import Keep, RemovalCandidate, Remove, Session
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import LoadSession
from tests.fakes.foreign import SHAPES
from tests.fakes.logs import LogRecorder

FAILED = "before_remove failed; the session is kept, and the next run asks again"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
CANDIDATE = RemovalCandidate(
    session_id="web_1", channel="web", chat_id="1", last_accessed=NOW, pinned=False, bytes=1, reason="ttl",
    goes_to_trash=False,
)  # fmt: skip


async def load() -> Session:
    return Session("web_1", "web", "1", NOW, NOW)


async def agree(candidate: RemovalCandidate, load: LoadSession) -> Remove:
    return Remove()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"before_remove": Remove()}, TypeError, r"before_remove is an async function, or None; not Remove\(\)"),
        ({"after_remove": "mail"}, TypeError, "after_remove is an async function, or None; not 'mail'"),
        ({"on_due": 1}, TypeError, "on_due is an async function, or None; not 1"),
        ({"hook_deadline": 30}, TypeError, "hook_deadline is a timedelta, not 30"),
        ({"hook_deadline": timedelta(0)}, ValueError, "hook_deadline is positive, not 0:00:00"),
    ],
)
async def test_wrong_argument_is_refused_before_anything_is_opened(
    sessions_dir: Any, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The error names the argument and says what would be right."""
    with pytest.raises(error, match=text):
        async with miniclaw.open_runtime(sessions_dir, **given):
            pass
    assert not sessions_dir.exists()


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
async def test_whatever_a_hook_raises_keeps_its_session_and_no_other(
    shape: str, number: int, logs: LogRecorder
) -> None:
    """Any class of exception is contained, alone and in a group; other sessions of the batch are not concerned."""
    first = trio.Event()

    async def fail(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        if first.is_set():
            return Remove()
        first.set()
        raise SHAPES[shape]()

    logs.expect_error(FAILED)
    hooks = Hooks(before_remove=fail)
    answers = await hooks.ask([(CANDIDATE, load)] * number)
    assert sorted(answer is None for answer in answers) == [False, *[True] * (number - 1)]
    assert (hooks.kept, hooks.failures) == (1, {"on_due": 0, "before_remove": 1, "after_remove": 0})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_end_of_the_program_passes(error: type[BaseException]) -> None:
    """A hook may end the program, and no session is removed by that."""

    async def end(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        raise error()

    with pytest.raises(error):
        await Hooks(before_remove=end).ask([(CANDIDATE, load)])


async def test_cancellation_beside_an_error_passes_and_the_error_is_logged(logs: LogRecorder) -> None:
    """A hook whose tasks fail while it is cancelled hides neither of both."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def ask(candidate: RemovalCandidate, load: LoadSession) -> Remove:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
            await trio.lowlevel.checkpoint()
            scope.cancel()
        return Remove()

    logs.expect_error(FAILED)
    with trio.CancelScope() as scope:
        await Hooks(before_remove=ask).ask([(CANDIDATE, load)])
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught


async def test_without_hooks_each_session_may_be_removed() -> None:
    """A runtime without hooks is as before."""
    hooks = Hooks()
    assert await hooks.ask([(CANDIDATE, load)]) == [None]
    assert not hooks.asks
    assert not hooks.wants_due
    await hooks.run()  # returns
    await hooks.told()
    await hooks.finish()
    assert not hooks.close()


async def test_closed_hooks_keep_each_session() -> None:
    """From the end of the runtime on, no hook is called and no session is removed."""
    hooks = Hooks(before_remove=agree)
    assert await hooks.ask([(CANDIDATE, load)]) == [None]
    hooks.close()
    (kept,) = await hooks.ask([(CANDIDATE, load)])
    assert kept == "the runtime ended before before_remove had answered"


async def test_keep_without_a_reason_has_one() -> None:
    """A log line and an error always say something."""

    async def keep(candidate: RemovalCandidate, load: LoadSession) -> Keep:
        return Keep()

    assert await Hooks(before_remove=keep).ask([(CANDIDATE, load)]) == ["before_remove keeps it"]
