"""Blocking work in worker threads, which a cancellation does not wait for, and whose outcome is still reported.

A removal that a thread has begun cannot be called back, and a disk may take longer than its caller can wait. A `Job`
reports the outcome exactly once: to the caller or, after the caller has left, to its `late` callback. Up to the point
of no return the job can still be refused, and then nothing happens. Thus no removal that happened is reported as
failed, and none goes unreported.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeAlias, TypeVar

import trio

T = TypeVar("T")

Epilogue: TypeAlias = Callable[[], None] | None
"""Blocking work that follows other work in the same thread; None: there is none."""

GRACE_SECONDS: Final = 5
"""Time after the beginning of a removal for which a cancelled caller still waits."""

PATIENCE_SECONDS: Final = 60
"""Time for which any caller waits: a slow disk takes some seconds, and one that takes longer is considered hung."""

REFUSED: Final = f"the disk did not answer within {PATIENCE_SECONDS} s, or the program ends; nothing was removed"

PENDING: Final = "the disk has not answered yet; the removal continues, and the log reports its outcome"

Late: TypeAlias = Callable[[T], Epilogue]
"""Takes, on the trio thread, an outcome that no caller waits for any more; the epilogue may record it on disk."""


async def run_in_thread(
    work: Callable[[], T], *, limiter: trio.CapacityLimiter, finished: Callable[[], None] | None = None
) -> T:
    """Run blocking work in a worker thread.

    Args:
        work: Called without arguments in a worker thread.
        limiter: Bounds the number of threads that run at once.
        finished: Called exactly once, on the trio thread, when no thread works on this any more, whatever the outcome.
            Locks are released here: a thread on a hung disk keeps them after its caller has left. After trio has ended
            it is called in the worker thread.

    Cancellation: the caller returns at once. Work that has begun ends in the background, and `finished` is called after
    it; work that has not begun never begins.
    """
    token = trio.lowlevel.current_trio_token()
    claim = threading.Lock()  # taken once: by the thread that begins, or by the caller that gives up first

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
    except BaseException:  # Cancelled, or no thread could start; if `work` raised, the claim is taken
        if claim.acquire(blocking=False) and finished is not None:
            finished()
        raise
    return result  # type: ignore[return-value]  # None only where the claim failed, and then Cancelled was raised


def telling(work: Callable[[], T], settled: Callable[[T], Epilogue]) -> Callable[[], T]:
    """Wrap work so that it reports its outcome on the trio thread before it ends, even if no caller waits.

    Args:
        work: Blocking work, for a worker thread.
        settled: Called once with the outcome, on the trio thread or, after trio has ended, in the worker thread. The
            epilogue that it returns runs after the work, in the worker thread.
    """
    token = trio.lowlevel.current_trio_token()

    def told_work() -> T:
        outcome = work()
        try:
            # With the token the call belongs to no task, and thus also works after a cancellation.
            epilogue = trio.from_thread.run_sync(settled, outcome, trio_token=token)
        except trio.RunFinishedError:
            epilogue = settled(outcome)
        if epilogue is not None:
            epilogue()
        return outcome

    return told_work


def soon(token: trio.lowlevel.TrioToken, callback: Callable[[], None]) -> None:
    """Call `callback` on the trio thread, or at once in this thread if trio has ended and nothing can interfere."""
    try:
        token.run_sync_soon(callback)
    except trio.RunFinishedError:
        callback()


class Job(Generic[T]):
    """One removal and its caller. All state is changed on the trio thread.

    Args:
        late: Takes the outcome if the caller has left.

    Attributes:
        committed: True once the point of no return is passed: the removal may happen even if the caller leaves.
        outcome: The outcome; None: not known yet.
    """

    def __init__(self, late: Late[T]) -> None:
        self.committed: bool = False
        self.outcome: T | None = None
        self._late = late
        self._given_up = False
        self._error: Exception | None = None
        self._working = trio.CancelScope(shield=True)

    def commit(self) -> bool:
        """Pass the point of no return; return False if the caller has left, and nothing may be removed."""
        self.committed = self.committed or not self._given_up
        return self.committed

    def settle(self, outcome: T) -> Epilogue:
        """Take the outcome; return the epilogue of `late` if the caller has left. Called once, on the trio thread."""
        self.outcome = outcome
        return self._late(outcome) if self._given_up else None

    async def run(self, work: Callable[[], Awaitable[object]]) -> T | None:
        """Run the work and return its outcome; None: the caller can wait no longer.

        Args:
            work: Calls `settle` at its end. An error raised by it means that nothing was removed.

        Cancellation: the wait goes on until `GRACE_SECONDS` after its beginning. An outcome known by then is returned;
            the caller reports it, and is cancelled at its next checkpoint.
        """
        began = trio.current_time()
        self._working.deadline = began + PATIENCE_SECONDS
        caller = trio.lowlevel.current_task()

        def cancelled(_: object) -> trio.lowlevel.Abort:
            # The wait goes on until the deadline; no Cancelled is raised that would have to be swallowed.
            self._working.deadline = min(self._working.deadline, began + GRACE_SECONDS)
            return trio.lowlevel.Abort.FAILED

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, work, caller)
            await trio.lowlevel.wait_task_rescheduled(cancelled)
        self._given_up = self.outcome is None
        if self._error is not None:
            raise self._error
        return self.outcome

    async def _work(self, work: Callable[[], Awaitable[object]], caller: trio.lowlevel.Task) -> None:
        with self._working:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - raised by `run`, as itself and not in the nursery's group
                self._error = error
        trio.lowlevel.reschedule(caller)
