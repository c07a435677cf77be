"""Blocking work in threads that a cancellation does not wait for, and that still ends in good order.

A removal that a thread has begun cannot be called back, and a disk may take longer than its caller can wait. A `Job`
reports the outcome exactly once: to the caller or, after the caller has left, to its `late` callback. Up to the point
of no return the job can still be refused, and then nothing happens. Thus no removal that happened is reported as
failed, and none happens in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

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


GRACE_SECONDS: Final = 5
"""How long after its beginning a removal may hold up a caller that is cancelled."""

PATIENCE_SECONDS: Final = 60
"""How long it may hold up any caller: a slow disk takes some seconds, and one that takes longer is taken to hang."""

REFUSED: Final = f"the disk did not answer within {PATIENCE_SECONDS} s, or the program ends; nothing was removed"
PENDING: Final = "the disk has not answered yet; the removal goes on, and the log tells how it ends"

Late: TypeAlias = Callable[[T], Epilogue]
"""Takes, on the trio thread, an outcome that no caller waits for any more; the epilogue may write it down."""


class Job(Generic[T]):
    """One removal and its caller. All of it is changed on the trio thread.

    Args:
        late: Takes the outcome where the caller has left; see `Late`.

    Attributes:
        committed: The point of no return is passed: the removal may happen, whatever the caller does.
        outcome: What became of it; None: not known yet.
    """

    def __init__(self, late: Late[T]) -> None:
        self.committed = False
        self.outcome: T | None = None
        self._late = late
        self._given_up = False
        self._error: Exception | None = None
        self._working = trio.CancelScope(shield=True)

    def commit(self) -> bool:
        """Pass the point of no return; False: the caller has left, and nothing may be removed."""
        self.committed = self.committed or not self._given_up
        return self.committed

    def settle(self, outcome: T) -> Epilogue:
        """Take the outcome; called once, on the trio thread."""
        self.outcome = outcome
        return self._late(outcome) if self._given_up else None

    async def run(self, work: Callable[[], Awaitable[object]]) -> T | None:
        """Do the work, and return its outcome; None: the caller can wait no longer.

        Args:
            work: Ends with `settle`. An error of it means that nothing was removed.

        Cancellation: up to `GRACE_SECONDS` after its beginning the work may still end, and its outcome is returned; the
            caller tells it, and is cancelled at its next checkpoint.
        """
        began = trio.current_time()
        self._working.deadline = began + PATIENCE_SECONDS
        caller = trio.lowlevel.current_task()

        def cancelled(_: object) -> trio.lowlevel.Abort:
            # The wait goes on, for a while; no Cancelled is raised that would have to be swallowed.
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
