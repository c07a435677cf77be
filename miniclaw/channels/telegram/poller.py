"""Polling of Telegram for updates; a call that fails is repeated until it succeeds."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio
from msgspec import Raw

from miniclaw.channels.telegram.backoff import Bout
from miniclaw.channels.telegram.client import CALL_SECONDS, BotClient, BotError
from miniclaw.channels.telegram.wire import ALLOWED_UPDATES, User, decode_updates, decode_user
from miniclaw.loggers import get_logger

LONG_POLL_SECONDS: Final = 50
"""Longest time that Telegram may wait for an update."""

T = TypeVar("T")

log = get_logger("miniclaw.telegram")


class Poller:
    """Repeats calls until they succeed.

    Args:
        client: Calls the Bot API.
        sleep: Waits between attempts.
    """

    def __init__(self, client: BotClient, *, sleep: Callable[[float], Awaitable[None]] = trio.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self._bout = Bout()

    @property
    def is_well(self) -> bool:
        """True unless the last call failed; `forget_below` does not count."""
        return self._bout.is_over

    async def get_me(self) -> User:
        """Return the bot's own user, as soon as Telegram answers."""
        return await self._ask("getMe", {}, decode_user, CALL_SECONDS)

    async def poll(self, offset: int | None, *, wait: bool) -> list[Raw]:
        """Return updates, as soon as Telegram delivers them.

        Args:
            offset: Confirms all updates below it; None: confirms none.
            wait: If true, Telegram waits for an update, up to `LONG_POLL_SECONDS`.
        """
        seconds = LONG_POLL_SECONDS if wait else 0
        values: dict[str, Any] = {"timeout": seconds, "allowed_updates": ALLOWED_UPDATES}
        if offset is not None:
            values["offset"] = offset
        return await self._ask("getUpdates", values, decode_updates, seconds + CALL_SECONDS)

    async def _ask(
        self, method: str, values: dict[str, Any], decode: Callable[[Raw], T | None], within_seconds: float
    ) -> T:
        while True:
            try:
                result = decode(await self._client.call(method, values, within_seconds=within_seconds))
            except BotError as error:
                await self._wait(error)
                continue
            if result is not None:
                if self._bout.ended():
                    log.info("Telegram can be asked again")
                return result
            await self._wait(BotError("answer", f"what came is not what {method} returns"))

    async def forget_below(self, offset: int, within_seconds: float) -> None:
        """Confirm all updates below an offset; an update in the response is ignored.

        Raises:
            BotError: The call failed.
        """
        values = {"timeout": 0, "limit": 1, "offset": offset, "allowed_updates": ALLOWED_UPDATES}
        await self._client.call("getUpdates", values, within_seconds=within_seconds)

    async def _wait(self, error: BotError) -> None:
        verdict = self._bout.failed(error, random.random())  # noqa: S311 - not a secret
        if verdict.level is not None:
            tell = log.error if verdict.level == "error" else log.warning
            tell(
                "Telegram cannot be asked; it is tried again",
                error=str(error),
                advice=verdict.advice,
                next_try_seconds=round(verdict.delay_seconds, 1),
            )
        await self._sleep(verdict.delay_seconds)
