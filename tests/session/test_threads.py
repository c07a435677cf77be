"""Threads that a cancellation does not wait for: however they end, `finished` is called exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from miniclaw.session.threads import run_in_thread, soon
from tests.fakes.patience import PATIENCE_SECONDS


class Finished:
    """Stands for `finished`: counts its calls, keeps the threads they came on, and can be waited for."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self._event = trio.Event()

    def __call__(self) -> None:
        self.threads.append(threading.get_ident())
        self._event.set()

    async def wait(self) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self._event.wait()

    async def check_once(self) -> None:
        """Check that there was one call, on this thread, and that none is about to follow."""
        await trio.testing.wait_all_tasks_blocked()
        assert self.threads == [threading.get_ident()]


class SlowWork:
    """Work in a thread that tells when it has begun, and goes on until it is released."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.ended = threading.Event()
        self._release = threading.Event()
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self) -> str:
        self._token.run_sync_soon(self.begun.set)
        assert self._release.wait(PATIENCE_SECONDS)
        self.ended.set()
        return "done"

    def release(self) -> None:
        self._release.set()


@pytest.mark.parametrize("value", ["done", None, 0])
async def test_run_in_thread_returns_and_finishes_once(value: object) -> None:
    """The result comes back from another thread, whatever it is; `finished` has been called before it does."""
    finished = Finished()
    threads: list[int] = []

    def work() -> object:
        threads.append(threading.get_ident())
        return value

    limiter = trio.CapacityLimiter(1)
    assert await run_in_thread(work, limiter=limiter, finished=finished) == value
    assert len(finished.threads) == 1
    assert threads != [threading.get_ident()]
    await finished.check_once()
    assert limiter.borrowed_tokens == 0


async def test_run_in_thread_without_finished_returns() -> None:
    """`finished` may be left out."""
    assert await run_in_thread(lambda: 7, limiter=trio.CapacityLimiter(1)) == 7


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_run_in_thread_that_fails_raises_and_finishes_once(error: BaseException) -> None:
    """What the work raises reaches the caller as it is, and `finished` is called all the same."""
    finished = Finished()

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await run_in_thread(work, limiter=trio.CapacityLimiter(1), finished=finished)
    assert caught.value is error
    await finished.check_once()


async def test_run_in_thread_cancelled_before_start_never_begins() -> None:
    """Cancelled while the limiter is full, the work never begins, and `finished` comes at once."""
    finished, begun = Finished(), threading.Event()
    limiter = trio.CapacityLimiter(1)
    async with limiter, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_SECONDS

            async def cancel_when_blocked() -> None:
                await trio.testing.wait_all_tasks_blocked()
                assert finished.threads == []
                scope.cancel()

            nursery.start_soon(cancel_when_blocked)
            await run_in_thread(begun.set, limiter=limiter, finished=finished)
        assert scope.cancelled_caught
        assert len(finished.threads) == 1
    await finished.check_once()
    assert not begun.is_set()
    assert limiter.borrowed_tokens == 0


async def test_run_in_thread_cancelled_already_never_begins() -> None:
    """In a scope that is cancelled nothing begins, and `finished` is called."""
    finished, begun = Finished(), threading.Event()
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_in_thread(begun.set, limiter=trio.CapacityLimiter(1), finished=finished)
    assert scope.cancelled_caught
    await finished.check_once()
    assert not begun.is_set()


async def test_run_in_thread_cancelled_while_running_finishes_after_the_thread() -> None:
    """The caller leaves at once; the work goes on to its end, and only then `finished` is called, once."""
    finished, work = Finished(), SlowWork()
    limiter = trio.CapacityLimiter(1)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await run_in_thread(work, limiter=limiter, finished=finished)
                pytest.fail("the cancellation was swallowed")

            nursery.start_soon(call)
            await work.begun.wait()
            nursery.cancel_scope.cancel()
    assert finished.threads == []
    assert not work.ended.is_set()
    assert limiter.borrowed_tokens == 1  # a thread that hangs still counts
    work.release()
    await finished.wait()
    assert work.ended.is_set()
    with trio.fail_after(PATIENCE_SECONDS):
        await limiter.acquire()
    await finished.check_once()


class HeldThreads:
    """Stands in for trio's start of a thread: keeps it back until it is let go, as a loaded machine does."""

    def __init__(self, start: Callable[..., Any]) -> None:
        self._start = start
        self._kept: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._kept.append((args, kwargs))

    def let_go(self) -> None:
        for args, kwargs in self._kept:
            self._start(*args, **kwargs)


async def test_run_in_thread_cancelled_before_its_thread_runs_does_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets to run only after its caller left does nothing, and `finished` is not called again."""
    threads = HeldThreads(trio._threads.start_thread_soon)  # type: ignore[attr-defined]
    monkeypatch.setattr("trio._threads.start_thread_soon", threads)
    finished, begun = Finished(), threading.Event()
    limiter = trio.CapacityLimiter(1)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await run_in_thread(begun.set, limiter=limiter, finished=finished)

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            assert finished.threads == []
            nursery.cancel_scope.cancel()
        assert len(finished.threads) == 1
        threads.let_go()
        await limiter.acquire()  # given back when the thread has ended
    await finished.check_once()
    assert not begun.is_set()


async def test_run_in_thread_without_threads_raises_and_finishes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the error reaches the caller, and `finished` is called."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("trio._threads.start_thread_soon", refuse)
    finished = Finished()
    with pytest.raises(RuntimeError, match="can't start"):
        await run_in_thread(lambda: None, limiter=trio.CapacityLimiter(1), finished=finished)
    await finished.check_once()


def test_soon_after_trio_has_ended_is_called_in_the_thread() -> None:
    """A thread that outlives the program's loop releases what it held by itself: nobody else is left to do it."""

    async def token() -> trio.lowlevel.TrioToken:
        return trio.lowlevel.current_trio_token()

    called: list[int] = []
    soon(trio.run(token), lambda: called.append(1))
    assert called == [1]
