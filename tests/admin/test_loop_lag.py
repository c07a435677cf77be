"""The event loop's lag: measured where it really stands still, and kept for a minute."""

from __future__ import annotations

import time

import trio
from trio.testing import MockClock

from miniclaw.admin.monitoring.loop_lag import INTERVAL_SECONDS, RECENT_SECONDS, LoopLag
from tests.fakes.threads import until


async def test_lag_of_a_blocked_loop_is_counted(nursery: trio.Nursery) -> None:
    """Somebody who blocks the loop past the time of the watcher makes it late by that."""
    lag = LoopLag()
    await nursery.start(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    time.sleep(INTERVAL_SECONDS + 0.2)  # noqa: ASYNC251 - what is measured
    await until(lambda: (lag.worst_recent() or 0) > 0.15)  # and not only what a busy machine had before
    assert lag.seconds.sum > 0.15


async def test_lag_of_an_idle_loop_is_none(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    """A loop that wakes in time is not late."""
    lag = LoopLag()
    assert lag.worst_recent() is None
    await nursery.start(lag.run)
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(INTERVAL_SECONDS)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.seconds.count, lag.seconds.sum, lag.worst_recent()) == (5, 0, 0)


async def test_lag_worst_is_forgotten_after_a_minute(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    """The worst is of the last minute, while the histogram keeps all."""
    lag = LoopLag()
    await nursery.start(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(INTERVAL_SECONDS + 3)
    await trio.testing.wait_all_tasks_blocked()
    assert lag.worst_recent() == 3
    for _ in range(int(RECENT_SECONDS / INTERVAL_SECONDS) + 1):
        mock_clock.jump(INTERVAL_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
    assert lag.worst_recent() == 0
    assert lag.seconds.sum == 3


async def test_lag_that_is_not_measured_any_more_is_not_told(mock_clock: MockClock) -> None:
    """What was measured more than a minute ago says nothing about now."""
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        await nursery.start(lag.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(INTERVAL_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert lag.worst_recent() == 0
    mock_clock.jump(RECENT_SECONDS + 1)
    assert lag.worst_recent() is None
