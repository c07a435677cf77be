"""Polling of Telegram for updates; a call that fails is repeated until it succeeds.

A bout of trouble lasts from the first failure to the next success. Each kind of trouble is logged once in a bout.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio
from msgspec import Raw

from miniclaw.backoff import delay_seconds
from miniclaw.channels.telegram.client import CALL_SECONDS, BotClient, BotError, Trouble
from miniclaw.channels.telegram.wire import ALLOWED_UPDATES, User, decode_as
from miniclaw.loggers import get_logger

LONG_POLL_SECONDS: Final = 50
"""Longest time that Telegram may wait for an update."""

FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 60.0
"""Longest delay chosen here; Telegram may ask for a longer one. Trouble that only a person can end has it at once."""

_ADVICE: Final[dict[Trouble, str]] = {
    "conflict": "another program polls with the same token; only one may",
    "webhook": "the bot has a webhook, and then there is no polling; call the Bot API's method deleteWebhook",
    "token": "telegram.bot_token is not the token of a bot (or telegram.api_base not the address of the Bot API); "
    "@BotFather tells it",
}

T = TypeVar("T")

log: Final = get_logger("miniclaw.telegram")


class Poller:
    """Repeats calls until they succeed.

    Args:
        client: Calls the Bot API.
        sleep: Waits between attempts.
    """

    def __init__(self, client: BotClient, *, sleep: Callable[[float], Awaitable[None]] = trio.sleep) -> None:
        self._client = client
        self._sleep = sleep
        # Of the present bout:
        self._failures = 0
        self._logged: set[Trouble] = set()

    @property
    def is_well(self) -> bool:
        """True unless the last call failed; `forget_below` does not count."""
        return not self._failures

    async def get_me(self) -> User:
        """Return the bot's own user, as soon as Telegram answers."""
        return await self._ask("getMe", {}, User, CALL_SECONDS)

    async def poll(self, offset: int | None, *, wait: bool) -> list[Raw]:
        """Return updates, as soon as Telegram delivers them; undecoded, so that a bad one spoils no other.

        Args:
            offset: Confirms all updates below it; None: confirms none.
            wait: If true, Telegram waits for an update, up to `LONG_POLL_SECONDS`.
        """
        seconds = LONG_POLL_SECONDS if wait else 0
        values: dict[str, Any] = {"timeout": seconds, "allowed_updates": ALLOWED_UPDATES}
        if offset is not None:
            values["offset"] = offset
        return await self._ask("getUpdates", values, list[Raw], seconds + CALL_SECONDS)

    async def forget_below(self, offset: int, within_seconds: float) -> None:
        """Confirm all updates below an offset; an update in the response is ignored.

        Raises:
            BotError: The call failed.
        """
        values = {"timeout": 0, "limit": 1, "offset": offset, "allowed_updates": ALLOWED_UPDATES}
        await self._client.call("getUpdates", values, within_seconds=within_seconds)

    async def _ask(self, method: str, values: dict[str, Any], kind: type[T], within_seconds: float) -> T:
        while True:
            try:
                result = decode_as(kind, await self._client.call(method, values, within_seconds=within_seconds))
            except BotError as error:
                await self._wait(error)
                continue
            if result is not None:
                if self._failures:
                    log.info("Telegram can be asked again")
                self._failures = 0
                self._logged.clear()
                return result
            await self._wait(BotError("answer", f"what came is not what {method} returns"))

    async def _wait(self, error: BotError) -> None:
        self._failures += 1
        first = MAX_DELAY_SECONDS if error.trouble in {"token", "webhook"} else FIRST_DELAY_SECONDS
        delay = delay_seconds(
            self._failures, first=first, longest=MAX_DELAY_SECONDS, chance=None, retry_after=error.retry_after
        )
        if error.trouble not in self._logged:
            self._logged.add(error.trouble)
            report = log.error if error.trouble == "token" else log.warning
            report(
                "Telegram cannot be asked; it is tried again",
                error=str(error),
                advice=_ADVICE.get(error.trouble),
                next_try_seconds=round(delay, 1),
            )
        await self._sleep(delay)
