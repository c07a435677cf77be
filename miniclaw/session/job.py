"""Removals on the disk, and who hears of their outcome.

A removal that a thread has begun cannot be called back, and a disk may take longer than its caller can wait. The
outcome is told exactly once: to the caller or, after the caller has left, to the `late` callback of the job. Up to the
point of no return the job can still be refused, and then nothing happens. Thus no removal that happened is reported as
failed, and none happens in silence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeAlias, TypeVar

import trio

from miniclaw.session.threads import Epilogue

T = TypeVar("T")

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
