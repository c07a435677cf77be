"""The table ``[model]`` of the configuration: the model that answers.

Nothing here reads a secret or a file; that happens when the model is opened (see `miniclaw.agent.providers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from miniclaw.config.values import (
    ValueRule,
    base_url_rule,
    count_rule,
    duration_rule,
    path_rule,
    show_values,
    typed,
    variable_rule,
)
from miniclaw.errors import BrokenConfigError, ConfigError
from miniclaw.plugins import MODELS, check_plugin


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[model]``.

    Attributes:
        provider: The model's provider: ``echo``; ``openai``, a server that speaks OpenAI's chat completions, for which
            all other keys are; or the name of a plugin.
        base_url: The server's address up to before ``/chat/completions``.
        model: The server's name of the model.
        api_key_env: The environment variable that holds the key.
        api_key_file: The file that holds the key; only its owner may be able to read it.
        connect_timeout: Limit for a connection, encryption included.
        first_token_timeout: Limit from the question to the beginning of the answer, all retries included.
        turn_timeout: Limit from the question to the end of the answer.
        max_retries: Number of further attempts after an error that justifies one; 0: none.
        history_budget: Number of characters of a conversation, the newest ones, that the model is given.
    """

    provider: str = "echo"
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=10)
    first_token_timeout: timedelta = timedelta(minutes=2)
    turn_timeout: timedelta = timedelta(minutes=10)
    max_retries: int = 2
    history_budget: int = 24_000


class PluginModelConfig(ModelConfig, frozen=True):
    """The table ``[model]`` with a plugin's name as `provider`.

    Attributes:
        options: All other keys of the table as they stand there. They are the plugin's own.
    """

    options: dict[str, Any] = {}


def _text_rule(most: int) -> ValueRule:
    def read(value: object) -> str:
        text = typed(value, str)
        if not 1 <= len(text) <= most or not text.isprintable() or not text.strip():
            raise ValueError("not such a text")
        return text

    return ValueRule(f"a text of 1 to {most} printable characters", read, str)


MODEL_RULES: Final[dict[str, ValueRule]] = {
    "base_url": base_url_rule("http://127.0.0.1:11434/v1"),
    "model": _text_rule(200),
    "api_key_env": variable_rule("key"),
    "api_key_file": path_rule("key"),
    "connect_timeout": duration_rule("1s", "5m"),
    "first_token_timeout": duration_rule("1s", "1h"),
    "turn_timeout": duration_rule("1s", "24h"),
    "max_retries": count_rule(0, 10),
    "history_budget": count_rule(1000, 10_000_000),
}


def check_model(model: ModelConfig, path: Path | None) -> None:
    """Refuse values that are valid alone but not together.

    Raises:
        ConfigError: The provider is unknown; keys are missing for it, or contradict each other.
    """
    if model.api_key_env is not None and model.api_key_file is not None:
        raise ConfigError(path, "it does not go with api_key_env; say one of the two", key="model.api_key_file")
    if model.first_token_timeout > model.turn_timeout:
        raise ConfigError(path, "it is longer than turn_timeout", key="model.first_token_timeout")
    if model.provider not in MODELS.own:
        check_plugin(MODELS, model.provider, "model.provider", path)
    if model.provider == "openai":
        missing = [f"model.{key}" for key in ("base_url", "model") if getattr(model, key) is None]
        if missing:
            raise BrokenConfigError([ConfigError(path, 'provider = "openai" needs it', key=key) for key in missing])


def take_options(model: object) -> dict[str, Any] | None:
    """Remove a plugin's own keys from a table as it stands in the file, and return them; None: it names no plugin."""
    if not isinstance(model, dict):
        return None
    provider = model.get("provider")
    if not isinstance(provider, str) or provider in MODELS.own:
        return None
    return {key: model.pop(key) for key in list(model) if key != "provider"}


def show_model(model: ModelConfig) -> Mapping[str, Any]:
    """Return the table in the file's form; without the keys whose default cannot be written."""
    if isinstance(model, PluginModelConfig):
        return {"provider": model.provider, **msgspec.to_builtins(model.options)}
    return show_values(MODEL_RULES, asdict(model))
