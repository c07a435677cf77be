"""Reload of the configuration while the gateway runs: either all changes are put in force, or none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from miniclaw.config import Config
from miniclaw.config.in_force import ConfigInForce, changed_keys, needs_restart
from miniclaw.errors import ConfigError
from miniclaw.foreign import Contained
from miniclaw.loggers import get_logger

log: Final = get_logger("miniclaw.gateway")


class Reload:
    """Reads the configuration at each request, in a thread; reloads never overlap."""

    def __init__(self, in_force: ConfigInForce, read: Callable[[], Config]) -> None:
        self._in_force = in_force
        self._read = read
        self._requested = trio.Event()  # replaced when a reload begins, on the trio thread

    def request(self) -> None:
        """Request a reload; during one, request another after it."""
        self._requested.set()

    async def run(self, put_in_force: Callable[[Config], Awaitable[None]]) -> None:
        """Reload at each request, until cancelled.

        If a configuration cannot be read, is invalid, or changes a key that needs a restart, an ERROR is logged and
        the configuration before remains in force.

        Args:
            put_in_force: Called with each configuration that differs; it replaces `ConfigInForce.config`.

        Cancellation: leaves at once; a thread that reads ends by itself.
        """
        while True:
            await self._requested.wait()
            self._requested = trio.Event()
            with Contained(_not_reloaded):
                await self._reload(put_in_force)

    async def _reload(self, put_in_force: Callable[[Config], Awaitable[None]]) -> None:
        config = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        keys = changed_keys(self._in_force.config, config)
        if refused := [key for key in keys if needs_restart(key)]:
            log.error("Configuration not reloaded: these keys need a restart", keys=refused)
            return
        if keys:
            await put_in_force(config)
        log.info("Configuration reloaded", keys=keys)


def _not_reloaded(error: BaseException) -> None:
    if isinstance(error, ConfigError):
        log.error("Configuration not reloaded: it is not right", problems=[str(each) for each in error.errors])
    else:
        log.bug("Configuration reload failed", error)
