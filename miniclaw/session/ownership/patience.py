"""Becoming the owner of a sessions directory, with patience for an owner that is stopping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from miniclaw.errors import WorkspaceHeldError
from miniclaw.loggers import get_logger

STOPPING_SECONDS: Final = 25
"""Longest wait for an owner that is stopping; longer than a regular stop takes."""

RETRY_SECONDS: Final = 0.1
"""Time between two attempts during that wait."""

log: Final = get_logger("miniclaw.session.store")


async def own_when_free(own: Callable[[], None], path: Path, limiter: trio.CapacityLimiter) -> None:
    """Become the owner of a directory; wait up to `STOPPING_SECONDS` for an owner that is stopping.

    Args:
        own: Becomes the owner, in a worker thread.
        path: The directory, for the log.
        limiter: Bounds the worker threads.

    Raises:
        WorkspaceHeldError: Another process owns the directory.
        StoreError: As from `own`.

    Cancellation: the directory is not owned.
    """
    deadline = trio.current_time() + STOPPING_SECONDS
    is_told = False
    while True:
        try:
            return await trio.to_thread.run_sync(own, limiter=limiter)
        except WorkspaceHeldError as error:
            if not error.stopping or trio.current_time() >= deadline:
                raise
            if not is_told:
                is_told = True
                log.warning(
                    f"Waiting for {error.holder}, which is stopping",
                    path=str(path), seconds=STOPPING_SECONDS,
                )  # fmt: skip
        await trio.sleep(RETRY_SECONDS)
