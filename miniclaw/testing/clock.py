"""Time in tests: a wall clock that follows trio's clock, days that pass, and an autojump that knows threads.

trio's own autojump takes a program whose threads are at work for an idle one: it jumps while a thread reads or writes a
session, and every deadline passes at once. The functions here wait for tasks and for threads before time passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Final

import trio
import trio.testing

_UPTIME_SECONDS: Final = 100 * 24 * 60 * 60.0  # far beyond the first minutes of a machine, in which no cleanup runs
_LOOK_SECONDS: Final = 0.01  # real time between two looks while no task waits for time

START: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""The present of a `FakeClock` at its first use."""


class FakeClock:
    """A machine's clocks that follow trio's clock, also over several runs of trio; a `miniclaw.clock.Clock`.

    With trio's `MockClock` as the clock of the run, no time passes by itself. Called, it returns the wall clock.

    Args:
        start: The wall clock at the first use, aware.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("start is an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC)")
        self._start = start
        self._before = 0.0  # seconds in earlier runs of trio, and of this run before its first use
        self._clock: trio.abc.Clock | None = None  # of the latest run; replaced on the trio thread
        self._began = 0.0

    def __call__(self) -> datetime:
        """Return the wall clock."""
        return self.wall()

    def __repr__(self) -> str:
        return f"<FakeClock {self.wall().isoformat()}>"

    def wall(self) -> datetime:
        """Return the wall clock."""
        return self._start + timedelta(seconds=self._elapsed())

    def boottime(self) -> float:
        """Return the seconds since the start of the machine, which has run for 100 days at the first use."""
        return _UPTIME_SECONDS + self._elapsed()

    def boot_id(self) -> str:
        """Return the name of the only run of this machine."""
        return "fake"

    def synchronised(self) -> bool:
        """Return True: the wall clock is right."""
        return True

    def _elapsed(self) -> float:
        """Return the seconds since the first use, by trio's clock; outside of trio, up to the latest use inside."""
        if trio.lowlevel.in_trio_run():
            clock = trio.lowlevel.current_clock()
            if clock is not self._clock:
                self._before, self._clock, self._began = self._passed(), clock, clock.current_time()
        return self._passed()

    def _passed(self) -> float:
        return self._before + (self._clock.current_time() - self._began if self._clock is not None else 0.0)


async def settle() -> None:
    """Wait until no task and no thread has anything to do but to wait for time, or for something from outside.

    A thread that never ends, such as one that waits for input, is waited for without limit.

    Cancellation: returns at once.
    """
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not trio.testing.active_thread_count():
            return
        await trio.testing.wait_all_threads_completed()


async def pass_days(days: float, *, step: timedelta = timedelta(hours=6)) -> None:
    """Let days pass on trio's clock, and with it on every `FakeClock`; complete all work that becomes due.

    Time passes in steps, and each step waits until all tasks and threads have settled. Work that is due within a step
    begins at its end: a daily cleanup begins up to a step late.

    Args:
        days: Number of days, not negative; fractions are allowed.
        step: Longest time that passes at once, positive. A shorter step is more exact, and takes longer.

    Raises:
        RuntimeError: The clock of this run of trio is no `trio.testing.MockClock`.
        ValueError: `days` is negative, or `step` is not positive.

    Cancellation: some of the steps have passed.
    """
    clock = _mock_clock("pass_days")
    if not days >= 0:
        raise ValueError(f"days is a number that is not negative, not {days!r}")
    if step <= timedelta(0):
        raise ValueError(f"step is a positive timedelta, not {step!r}")
    end = trio.current_time() + days * 24 * 60 * 60
    await settle()
    while (left := end - trio.current_time()) > 1e-6:  # the rest of a sum of floats is no time
        clock.jump(min(left, step.total_seconds()))
        await settle()


@asynccontextmanager
async def autojump() -> AsyncIterator[None]:
    """Let trio's clock jump to the next deadline for a block, whenever no task and no thread has anything else to do.

    Takes the place of `MockClock.autojump_threshold`, which is switched off for the block. A program that waits for a
    socket counts as one that has nothing to do; memory streams of `trio.testing` are for such tests. An open runtime
    has a deadline every 30 seconds, its autosave; days therefore take many jumps, and `pass_days` is faster.

    Raises:
        RuntimeError: The clock of this run of trio is no `trio.testing.MockClock`.
    """
    clock = _mock_clock("autojump")
    threshold, clock.autojump_threshold = clock.autojump_threshold, inf
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_jump, clock)
            yield
            nursery.cancel_scope.cancel()
    finally:
        clock.autojump_threshold = threshold


async def _jump(clock: trio.testing.MockClock) -> None:
    cushion = 0.0
    while True:
        await trio.testing.wait_all_tasks_blocked(cushion)
        await settle()
        seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if 0 < seconds < inf:
            clock.jump(seconds)
        cushion = _LOOK_SECONDS if seconds == inf else 0.0


def _mock_clock(user: str) -> trio.testing.MockClock:
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        raise RuntimeError(  # noqa: TRY004 - the clock is no argument
            f"{user} moves trio.testing.MockClock, and this run of trio has {type(clock).__name__}: name pytest-trio's "
            "fixture mock_clock as a parameter of the test itself, or call trio.run(…, clock=MockClock())"
        )
    return clock
