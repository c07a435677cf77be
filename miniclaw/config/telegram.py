"""The table ``[telegram]`` of the configuration: the bot, and the users that may talk to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from miniclaw.config.values import ValueRule, base_url_rule, parse_values, path_rule, show_values, variable_rule
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
        if not isinstance(value, list) or not all(type(user) is int and 0 < user < _MAX_ID for user in value):
            raise ValueError("not such a list")
        return tuple(dict.fromkeys(value))

    return ValueRule("a list of user ids, which are positive whole numbers, such as [123456789]", read, list)


_RULES: Final[dict[str, ValueRule]] = {
    "bot_token_env": variable_rule("token"),
    "bot_token_file": path_rule("token"),
    "allowed_users": _users_rule(),
    "api_base": base_url_rule(API_BASE),
}


def parse_telegram_values(values: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Return the table's values as `TelegramConfig` takes them; unknown keys are left for it to refuse.

    Raises:
        ConfigError: A value breaks its rule.
    """
    return parse_values(_RULES, "telegram", values, path)


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


def show_telegram(telegram: TelegramConfig) -> dict[str, Any]:
    """Return the table in the file's form; without the keys whose default cannot be written."""
    return show_values(_RULES, asdict(telegram))
