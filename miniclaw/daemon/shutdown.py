"""The request to end a gateway, from a signal or from the program that embeds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from miniclaw.daemon import signals
from miniclaw.daemon.early_signals import HANGUP
from miniclaw.loggers import get_logger

log: Final = get_logger("miniclaw.gateway")


class Shutdown:
    """Takes the requests: the first one requests the end, the next one haste. Changed on the trio thread only.

    Args:
        on_hangup: Called at SIGHUP; None: SIGHUP is a request like the other signals.

    Attributes:
        requested: Set once the end is requested.
        in_haste: Set once the grace periods are to be skipped.
    """

    def __init__(self, on_hangup: Callable[[], None] | None) -> None:
        self.requested: trio.Event = trio.Event()
        self.in_haste: trio.Event = trio.Event()
        self._on_hangup = on_hangup
        self._hasten: list[Callable[[], None]] = []

    def request(self, *, haste: bool = False) -> None:
        """Request the end; with `haste`, skip the grace periods as well."""
        self.requested.set()
        if haste and not self.in_haste.is_set():
            self.in_haste.set()
            for callback in self._hasten:
                callback()

    def on_haste(self, callback: Callable[[], None]) -> None:
        """Have a function called at the request for haste; at once if that was made before."""
        self._hasten.append(callback)
        if self.in_haste.is_set():
            callback()

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive the signals of the process, on the main thread, until cancelled."""
        with signals.receiving() as received:
            task_status.started()
            async for number in received:
                if number == HANGUP and self._on_hangup is not None:
                    self._on_hangup()
                    continue
                haste = self.requested.is_set()
                log.info("Signal received", signal=signals.name_of(number), haste=haste)
                self.request(haste=haste)
