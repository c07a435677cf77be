"""Blocking work in threads that a cancellation does not wait for, and that still ends in good order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

import trio

T = TypeVar("T")

Epilogue: TypeAlias = Callable[[], None] | None
"""Blocking work that belongs behind some other work, in the same thread; None: there is none."""


class ThreadRunner(Protocol):
    """Runs blocking work in a thread, as `run_in_thread`."""

    async def __call__(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
        """Run `work`; see `run_in_thread`."""
        ...


async def run_in_thread(
    work: Callable[[], T], *, limiter: trio.CapacityLimiter, finished: Callable[[], None] | None = None
) -> T:
    """Run blocking work in a thread.

    Args:
        work: Called without arguments in a worker thread.
        limiter: Bounds how many threads run at once.
        finished: Called exactly once on the trio thread, when no thread is working on this any more, however that
            came about. Here locks are released: a thread whose disk hangs keeps them after everyone has left.

    Cancellation: the caller leaves at once. Work that has begun goes on to its end in the background, and
    `finished` comes after it; work that has not begun never begins.
    """
    token = trio.lowlevel.current_trio_token()
    claim = threading.Lock()  # taken once: by the thread that begins, or by the caller that gives up before

    def claimed_work() -> T | None:
        if not claim.acquire(blocking=False):
            return None
        try:
            return work()
        finally:
            if finished is not None:
                soon(token, finished)

    try:
        result = await trio.to_thread.run_sync(claimed_work, abandon_on_cancel=True, limiter=limiter)
    except BaseException:  # Cancelled, or no thread could be started; what `work` raised has the claim already
        if claim.acquire(blocking=False) and finished is not None:
            finished()
        raise
    return result  # type: ignore[return-value]  # None only where the claim failed, and then Cancelled was raised


def telling(work: Callable[[], T], settled: Callable[[T], Epilogue]) -> Callable[[], T]:
    """Return the same work, which tells its outcome on the trio thread before it ends, also where no caller waits.

    Args:
        work: For a thread.
        settled: Called once with the outcome, on the trio thread or, when that has ended, in the worker thread. Its
            epilogue is done behind the work.
    """
    token = trio.lowlevel.current_trio_token()

    def told_work() -> T:
        outcome = work()
        try:
            # With the token the question is nobody's task: it is answered also after a cancellation.
            epilogue = trio.from_thread.run_sync(settled, outcome, trio_token=token)
        except trio.RunFinishedError:
            epilogue = settled(outcome)
        if epilogue is not None:
            epilogue()
        return outcome

    return told_work


def soon(token: trio.lowlevel.TrioToken, callback: Callable[[], None]) -> None:
    """Have `callback` run on the trio thread; when that has ended, here: nobody else is left who could mind."""
    try:
        token.run_sync_soon(callback)
    except trio.RunFinishedError:
        callback()
