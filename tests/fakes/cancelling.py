"""Cancelling a piece of async work at a chosen point, whatever that work is."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import trio

import miniclaw
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import until

PACKAGE: Final = Path(miniclaw.__file__).parent  # the folder of a checkout may have any name

T = TypeVar("T")
Work = Callable[[], Awaitable[object]]


class QuickOs(FaultyOs):
    """Without the wait for the disk."""

    def fsync(self, fd: int) -> None:
        os.fstat(fd)  # it has to be open

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)


class _AtYield(trio.abc.Instrument):
    """Cancels a scope when a task, or one below it, yields for the n-th time."""

    def __init__(self, root: trio.lowlevel.Task, cancel: Callable[[], None], number: int) -> None:
        self._root, self._cancel, self._left = root, cancel, number

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        above: trio.lowlevel.Task | None = task
        while above is not None and above is not self._root:
            above = above.parent_nursery.parent_task if above.parent_nursery else None
        if above is not None:
            self._left -= 1
            if self._left == 0:
                self._cancel()


class Cancelling:
    """Runs work, cancels it, and sees to it that no `Cancelled` is swallowed.

    Attributes:
        reached: Whether the work came as far as the point of cancellation.
        left_early: Whether it ended before its thread did.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = self.left_early = False
        self._raised: list[trio.Cancelled] = []
        create = trio.Cancelled._create

        def counted(*args: Any, **kwargs: Any) -> trio.Cancelled:
            self._raised.append(create(*args, **kwargs))
            return self._raised[-1]

        monkeypatch.setattr(trio.Cancelled, "_create", counted, raising=False)

        # trio forgets threads that were abandoned; whether they still work matters here.
        self._working = 0
        lock, run_sync = threading.Lock(), trio.to_thread.run_sync

        async def watched(work: Callable[..., T], *args: Any, **options: Any) -> T:
            def watched_work() -> T:
                with lock:
                    self._working += 1
                try:
                    return work(*args)
                finally:
                    with lock:
                        self._working -= 1

            return await run_sync(watched_work, **options)

        monkeypatch.setattr(trio.to_thread, "run_sync", watched)

    async def quiet(self, *, stuck: int = 0) -> None:
        """Wait until no more threads than these work, and all tasks wait."""
        while True:
            await until(lambda: self._working <= stuck)
            await trio.testing.wait_all_tasks_blocked()
            if self._working <= stuck and trio.testing.active_thread_count() <= stuck:
                return

    async def at_yield(self, number: int, work: Work) -> None:
        """Cancel when the work yields to the scheduler for the n-th time; then wait for its threads."""

        async def run() -> None:
            task = trio.lowlevel.current_task()
            with trio.CancelScope() as scope:

                def cancel() -> None:
                    self._raised.clear()
                    scope.cancel()

                instrument = _AtYield(task, cancel, number)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await work()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            self._judge(scope)

        await self._in_own_task(run)

    async def at_call(self, number: int, fs: FaultyOs, work: Work, meanwhile: Work) -> None:
        """Cancel while a thread of the work is at its n-th system call.

        The thread stays there until the work has been left (as far as it can be) and `meanwhile` has come as far as
        it can come, then goes on.
        """
        token = trio.lowlevel.current_trio_token()
        there, go_on = trio.Event(), threading.Event()
        left, lock = [number], threading.Lock()

        def hook(_name: str, _args: tuple[Any, ...]) -> None:
            if threading.current_thread() is main:
                return
            with lock:
                left[0] -= 1
                stop_here = left[0] == 0
            if stop_here:
                token.run_sync_soon(there.set)
                assert go_on.wait(PATIENCE_SECONDS)

        main = threading.current_thread()
        fs.on(hook)

        ended = trio.Event()
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await work()
            self._judge(scope)
            ended.set()
            there.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await there.wait()
            if not ended.is_set():
                self._raised.clear()
                scope.cancel()
                await self.quiet(stuck=1)
                self.left_early = ended.is_set()
                nursery.start_soon(meanwhile)
                await self.quiet(stuck=1)
            fs.clear()
            go_on.set()
        await self.quiet()

    async def _in_own_task(self, run: Callable[[], Awaitable[None]]) -> None:
        self._raised.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
        await self.quiet()

    def _judge(self, scope: trio.CancelScope) -> None:
        self.reached = scope.cancel_called
        if not self.reached:
            return  # a Cancelled then is one of the package's own deadlines
        # A nursery that ends drops a Cancelled that came while it waited for its tasks; that one was in no code of ours.
        delivered = any(_was_in_package(error) for error in self._raised)
        self._raised.clear()
        assert scope.cancelled_caught or not delivered, "Cancelled was swallowed"


def _was_in_package(error: BaseException) -> bool:
    step = error.__traceback__
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename).is_relative_to(PACKAGE):
            return True
        step = step.tb_next
    return False
