"""How long to wait after a call that failed, and what to say about it. Pure.

A bout of trouble lasts from the first failure to the next success. Each kind of trouble is told once in a bout.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from msgspec import Struct

from miniclaw.channels.telegram.client import BotError, Trouble

FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 60.0
"""Longest wait that is chosen here, unless a person has to do something; Telegram may ask for a longer one."""

PERSON_DELAY_SECONDS: Final = 60.0
"""How long to wait, from the beginning, where only a person can set it right."""

_ADVICE: Final[dict[Trouble, str]] = {
    "conflict": "another program polls with the same token; only one may",
    "webhook": "the bot has a webhook, and then there is no polling; call the Bot API's method deleteWebhook",
    "token": "telegram.bot_token is not the token of a bot (or telegram.api_base not the address of the Bot API); "
    "@BotFather tells it",
}


class Verdict(Struct, frozen=True):
    """What to do after a failure.

    Attributes:
        delay_seconds: How long to wait.
        level: How to log it; None: it was said before.
        advice: What a person can do about it.
    """

    delay_seconds: float
    level: Literal["warning", "error"] | None
    advice: str | None


class Bout:
    """A bout of trouble, or none."""

    def __init__(self) -> None:
        self._failures = 0
        self._told: set[Trouble] = set()

    def failed(self, error: BotError, chance: float) -> Verdict:
        """Take note of a failure.

        Args:
            error: The failure.
            chance: From 0 to 1, at random, so that those who failed together do not come together again.
        """
        self._failures += 1
        backoff = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * math.exp2(min(self._failures, 20) - 1))
        if error.trouble in {"token", "webhook"}:
            backoff = PERSON_DELAY_SECONDS
        level: Literal["warning", "error"] | None = None
        if error.trouble not in self._told:
            self._told.add(error.trouble)
            level = "error" if error.trouble == "token" else "warning"
        return Verdict(max(backoff * (0.5 + chance / 2), error.retry_after or 0), level, _ADVICE.get(error.trouble))

    @property
    def is_over(self) -> bool:
        """Whether there is no trouble."""
        return not self._failures

    def ended(self) -> bool:
        """Take note of a success; return whether it ends a bout."""
        if not self._failures:
            return False
        self._failures = 0
        self._told.clear()
        return True
