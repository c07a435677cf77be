"""trio in a thread of its own, on a clock moved by hand, for tests that are not async themselves."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import trio

from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import settle

T = TypeVar("T")


class HandClock(trio.abc.Clock):
    """trio's clock; stands still until `seconds` is changed, on the trio thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """See `trio.abc.Clock`."""
        return self.seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See `trio.abc.Clock`."""
        return 0 if deadline <= self.seconds else 999_999_999


class TrioThread:
    """A running trio, driven from another thread.

    Attributes:
        nursery: For tasks that go on after `run` returns.
    """

    nursery: trio.Nursery

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall
        self._clock = HandClock()
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="trio under test")
        self._thread.start()
        assert self._started.wait(PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self._clock)
        except BaseException as error:  # noqa: BLE001 - raised by stop(), in the thread of the test
            self._failed = error

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        async with trio.open_nursery() as self.nursery:
            self._started.set()
            await self._ended.wait()
            self.nursery.cancel_scope.cancel()

    @property
    def seconds(self) -> float:
        """What the clock says."""
        return self._clock.seconds

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call an async function on the trio thread, wait until all that it set off is done, return its result."""

        async def call() -> T:
            result = await function()
            await settle()
            return result

        return trio.from_thread.run(call, trio_token=self._token)

    def advance(self, by: timedelta) -> None:
        """Let time pass on both clocks, and wait until everything that this sets off is done."""

        async def move() -> None:
            self._wall.move(seconds=by.total_seconds())
            self._clock.seconds += by.total_seconds()

        self.run(move)

    def stop(self) -> None:
        """End it, and raise what ended it before."""
        if self._thread.is_alive():
            self._token.run_sync_soon(self._ended.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed
