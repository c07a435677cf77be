"""The delay after a failed call, and the log level and advice for it. Pure.

A bout of trouble lasts from the first failure to the next success. Each kind of trouble is logged once in a bout.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from miniclaw.backoff import delay_seconds
from miniclaw.channels.telegram.client import BotError, Trouble

FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 60.0
"""Longest delay chosen here, unless a person has to act; Telegram may ask for a longer one."""

PERSON_DELAY_SECONDS: Final = 60.0
"""Delay, from the first failure on, if only a person can end the trouble."""

_ADVICE: Final[dict[Trouble, str]] = {
    "conflict": "another program polls with the same token; only one may",
    "webhook": "the bot has a webhook, and then there is no polling; call the Bot API's method deleteWebhook",
    "token": "telegram.bot_token is not the token of a bot (or telegram.api_base not the address of the Bot API); "
    "@BotFather tells it",
}


class Verdict(Struct, frozen=True):
    """The reaction to a failure.

    Attributes:
        delay_seconds: Seconds until the next attempt.
        level: The log level; None: the trouble was logged before in this bout.
        advice: The remedy that a person has, if any.
    """

    delay_seconds: float
    level: Literal["warning", "error"] | None
    advice: str | None


class Bout:
    """The present bout of trouble, if any."""

    def __init__(self) -> None:
        self._failures = 0
        self._told: set[Trouble] = set()

    def failed(self, error: BotError, chance: float) -> Verdict:
        """Take note of a failure, and return the reaction to it.

        Args:
            error: The failure.
            chance: A random number from 0 to 1, so that clients that failed together do not retry together.
        """
        self._failures += 1
        first = PERSON_DELAY_SECONDS if error.trouble in {"token", "webhook"} else FIRST_DELAY_SECONDS
        longest = max(first, MAX_DELAY_SECONDS)
        delay = delay_seconds(
            self._failures, first=first, longest=longest, chance=chance, retry_after=error.retry_after
        )
        level: Literal["warning", "error"] | None = None
        if error.trouble not in self._told:
            self._told.add(error.trouble)
            level = "error" if error.trouble == "token" else "warning"
        return Verdict(delay, level, _ADVICE.get(error.trouble))

    @property
    def is_over(self) -> bool:
        """True if there is no trouble."""
        return not self._failures

    def ended(self) -> bool:
        """Take note of a success; return whether it ends a bout."""
        if not self._failures:
            return False
        self._failures = 0
        self._told.clear()
        return True
