"""A removal and its caller: the outcome is told once, in time or late, and what was called off does not happen."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from miniclaw.session.threads import GRACE_SECONDS, PATIENCE_SECONDS, Epilogue, Job, run_in_thread, telling
from tests.fakes import patience
from tests.fakes.threads import settle, until, wait_in_thread


class Disk:
    """Work in a thread that asks for the last word at its beginning and ends when it is let."""

    def __init__(self) -> None:
        self.late: list[str] = []
        self.written: list[tuple[str, bool]] = []  # by the epilogue: what, and whether in a worker thread
        self.job = Job[str](self._take)
        self.begun = threading.Event()
        self.asks = threading.Event()
        self.ends = threading.Event()
        self.answers: list[bool] = []

    def _take(self, outcome: str) -> Epilogue:
        self.late.append(outcome)
        trio_thread = threading.get_ident()
        return lambda: self.written.append((outcome, threading.get_ident() != trio_thread))

    async def work(self) -> None:
        token = trio.lowlevel.current_trio_token()

        def remove() -> str:
            self.begun.set()
            assert self.asks.wait(patience.PATIENCE_SECONDS)
            self.answers.append(trio.from_thread.run_sync(self.job.commit, trio_token=token))
            assert self.ends.wait(patience.PATIENCE_SECONDS)
            return "removed" if self.answers[0] else "kept"

        await run_in_thread(telling(remove, self.job.settle), limiter=trio.CapacityLimiter(1))


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def begin(
    disk: Disk,
    nursery: trio.Nursery,
    outcomes: list[str | None],
    work: Callable[[], Awaitable[object]] | None = None,
) -> trio.CancelScope:
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            outcomes.append(await disk.job.run(work or disk.work))

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    if work is None:
        await wait_in_thread(disk.begun)
    return scope


async def test_run_on_a_slow_disk_returns_the_outcome(disk: Disk, mock_clock: MockClock) -> None:
    """A removal that takes many seconds is told as what it is, and nothing is late."""
    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        await begin(disk, nursery, outcomes)
        disk.asks.set()
        await until(lambda: disk.job.committed)
        mock_clock.jump(PATIENCE_SECONDS / 2)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == []
        disk.ends.set()
    assert outcomes == ["removed"]
    assert (disk.late, disk.written) == ([], [])


async def test_run_beyond_its_patience_calls_off_what_has_not_begun(disk: Disk, mock_clock: MockClock) -> None:
    """Where the last word is asked for after the caller has left, the answer is no, and nothing is removed."""
    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        await begin(disk, nursery, outcomes)
        mock_clock.jump(PATIENCE_SECONDS)
    assert (outcomes, disk.job.committed) == ([None], False)
    disk.asks.set()
    disk.ends.set()
    await until(lambda: bool(disk.late))
    assert (disk.answers, disk.late) == ([False], ["kept"])


async def test_run_beyond_its_patience_tells_a_late_outcome(disk: Disk, mock_clock: MockClock) -> None:
    """What can no longer be called off is told when it ends, and written down in the thread that did it."""
    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        await begin(disk, nursery, outcomes)
        disk.asks.set()
        await until(lambda: disk.job.committed)
        mock_clock.jump(PATIENCE_SECONDS)
    assert outcomes == [None]
    assert disk.late == []
    disk.ends.set()
    await until(lambda: bool(disk.written))
    assert (disk.late, disk.written) == (["removed"], [("removed", True)])


@pytest.mark.parametrize("after", [0, GRACE_SECONDS - 1])
async def test_run_cancelled_waits_until_its_grace_is_over(disk: Disk, mock_clock: MockClock, after: float) -> None:
    """A caller that is cancelled hears the outcome if it comes within some seconds of the beginning."""
    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        scope = await begin(disk, nursery, outcomes)
        disk.asks.set()
        await until(lambda: disk.job.committed)
        mock_clock.jump(after)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        disk.ends.set()
    assert outcomes == ["removed"]
    assert disk.late == []


@pytest.mark.parametrize("cancelled_after", [1, GRACE_SECONDS + 10])
async def test_run_cancelled_on_a_hung_disk_leaves_after_its_grace(
    disk: Disk, mock_clock: MockClock, cancelled_after: float
) -> None:
    """The grace counts from the beginning of the work; a caller that is cancelled after it leaves at once."""
    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        scope = await begin(disk, nursery, outcomes)
        disk.asks.set()
        await until(lambda: disk.job.committed)
        mock_clock.jump(cancelled_after)
        scope.cancel()
        mock_clock.jump(max(0, GRACE_SECONDS - cancelled_after))
    assert outcomes == [None]
    disk.ends.set()
    await until(lambda: bool(disk.late))
    assert disk.late == ["removed"]


async def test_run_cancelled_before_any_thread_is_free_does_nothing(disk: Disk, mock_clock: MockClock) -> None:
    """Work that waits for a thread and is cancelled never begins, and there is nothing to tell."""
    limiter = trio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of("another")
    begun: list[str] = []

    def remove() -> str:
        begun.append("it")
        return "removed"

    outcomes: list[str | None] = []
    async with trio.open_nursery() as nursery:
        work = partial(run_in_thread, telling(remove, disk.job.settle), limiter=limiter)
        (await begin(disk, nursery, outcomes, work)).cancel()
        mock_clock.jump(GRACE_SECONDS)
    assert outcomes == [None]
    limiter.release_on_behalf_of("another")
    await settle()
    assert (begun, disk.late, disk.job.commit()) == ([], [], False)


async def test_run_error_of_the_work_is_raised_as_itself(disk: Disk) -> None:
    """What goes wrong before anything happens reaches the caller, and not as a group."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        await disk.job.run(fail)


def test_telling_after_trio_has_ended_settles_in_the_thread() -> None:
    """The outcome of a thread that outlives trio itself is told all the same."""
    told: list[object] = []
    ends = threading.Event()
    threads: list[threading.Thread] = []

    async def main() -> None:
        def work() -> str:
            assert ends.wait(patience.PATIENCE_SECONDS)
            return "removed"

        thread = threading.Thread(target=telling(work, told.append))
        thread.start()
        threads.append(thread)

    trio.run(main)
    ends.set()
    threads[0].join(patience.PATIENCE_SECONDS)
    assert told == ["removed"]
