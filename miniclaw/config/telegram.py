"""The table ``[telegram]`` of the configuration: the bot, and the users that may talk to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from miniclaw.config.values import ValueRule, base_url_rule, path_rule, typed, variable_rule
from miniclaw.errors import ConfigError

API_BASE: Final = "https://api.telegram.org"

_MAX_ID: Final = 2**52  # Telegram: "at most 52 significant bits"


class TelegramConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[telegram]``. The channel runs if a token is configured.

    Attributes:
        bot_token_env: The environment variable that holds the bot's token.
        bot_token_file: The file that holds it; only its owner may be able to read it.
        allowed_users: Ids of the only users that may talk to the bot.
        api_base: The address of the Bot API, for a server of one's own.
    """

    bot_token_env: str | None = None
    bot_token_file: Path | None = None
    allowed_users: tuple[int, ...] = ()
    api_base: str = API_BASE

    @property
    def enabled(self) -> bool:
        """True if the channel is to run."""
        return self.bot_token_env is not None or self.bot_token_file is not None


def _users_rule() -> ValueRule:
    def read(value: object) -> tuple[int, ...]:
        users = typed(value, list)
        if not all(0 < typed(user, int) < _MAX_ID for user in users):
            raise ValueError("no such ids")
        return tuple(dict.fromkeys(users))

    return ValueRule("a list of user ids, which are positive whole numbers, such as [123456789]", read, list)


TELEGRAM_RULES: Final[dict[str, ValueRule]] = {
    "bot_token_env": variable_rule("token"),
    "bot_token_file": path_rule("token"),
    "allowed_users": _users_rule(),
    "api_base": base_url_rule(API_BASE),
}


def check_telegram(telegram: TelegramConfig, path: Path | None) -> None:
    """Refuse values that are valid alone but not together.

    Raises:
        ConfigError: Keys contradict each other.
    """
    if telegram.bot_token_env is not None and telegram.bot_token_file is not None:
        problem = "it does not go with bot_token_env; say one of the two"
        raise ConfigError(path, problem, key="telegram.bot_token_file")
    if telegram.allowed_users and not telegram.enabled:
        problem = "there is no bot: bot_token_env or bot_token_file names its token"
        raise ConfigError(path, problem, key="telegram.allowed_users")
