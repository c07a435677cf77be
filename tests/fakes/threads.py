"""Waiting for threads from trio, without polling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import trio

from tests.fakes.patience import PATIENCE_SECONDS


async def wait_in_thread(event: threading.Event) -> None:
    """Wait until another thread sets an event, `PATIENCE_SECONDS` at the most."""
    assert await trio.to_thread.run_sync(event.wait, PATIENCE_SECONDS, abandon_on_cancel=True), (
        "the thread never came there"
    )


async def settle() -> None:
    """Wait until all tasks wait for something other than a thread: time, an event, a message."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not trio.testing.active_thread_count():
            return
        await trio.testing.wait_all_threads_completed()


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks go on until a condition holds that they bring about, `PATIENCE_SECONDS` at the most."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_SECONDS, "the condition never came"
        await trio.lowlevel.checkpoint()
