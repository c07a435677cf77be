"""The table [model]: every key wrong in many ways is refused by name, and no key of a server is ever shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.config import Config, parse_config, show_config
from miniclaw.config.model import ModelConfig
from miniclaw.errors import ConfigError

PATH = Path("/etc/miniclaw/config.toml")
SECRET = "sk-0123456789"  # noqa: S105 - of nobody


def parse(**values: Any) -> ModelConfig:
    return parse_config({"model": values}, PATH).model


def test_parse_config_model_all_keys_are_taken() -> None:
    """What the file says is what holds, and what is shown is the same again."""
    values = {
        "provider": "openai", "base_url": "https://openrouter.ai/api/v1/", "model": "meta-llama/llama-3.3:free",
        "api_key_file": "/run/keys/openrouter", "connect_timeout": "5s", "first_token_timeout": "30s",
        "turn_timeout": "5m", "max_retries": 0, "history_budget": 100_000,
    }  # fmt: skip
    model = parse(**values)
    assert model == ModelConfig(
        "openai", "https://openrouter.ai/api/v1", "meta-llama/llama-3.3:free", None, Path("/run/keys/openrouter"),
        timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5), 0, 100_000,
    )  # fmt: skip
    assert show_config(Config(model=model))["model"] == {**values, "base_url": "https://openrouter.ai/api/v1"}


WRONG: dict[str, list[Any]] = {
    "provider": ["openAI", "", "none", 1, True, []],
    "base_url": [
        "", "127.0.0.1:11434", "localhost", "ftp://host/v1", "http://", "http:///v1", "https://user:pw@host/v1",
        "https://host/v1?key=x", "https://host/v1#x", "http://host:0/v1", "http://host:99999/v1", "http://ho st/v1",
        "http://host/\n", "http://h\u00f6st/v1", "http://[::1/v1", "http://host\\v1", 1, True, [], {},
    ],
    "model": ["", " ", "a\nb", "x" * 201, 1, True, []],
    "api_key_env": ["", "A B", "1A", "sk-0123456789", "A=B", "$KEY", "x" * 200, 1, True, [SECRET], {"a": SECRET}],
    "api_key_file": ["", "key", "~/key", "/a\0b", SECRET, 1, True, [SECRET]],
    "connect_timeout": ["0s", "6m", "never", "10", 10, -1, True, 1.5],
    "first_token_timeout": ["0s", "2h", "never", 0],
    "turn_timeout": ["0s", "25h", "never", 0],
    "max_retries": [-1, 11, "2", 1.0, True],
    "history_budget": [0, -1, 999, 10_000_001, "1000", 5e3, True],
}  # fmt: skip


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key in WRONG for wrong in WRONG[key]])
def test_parse_config_model_wrong_value_is_refused_by_key(key: str, wrong: Any) -> None:
    """Refused with file, key and what would be right; what could be a secret by mistake is not shown."""
    with pytest.raises(ConfigError) as caught:
        parse(**{key: wrong})
    assert caught.value.key == f"model.{key}"
    assert str(caught.value).startswith(f"{PATH}: model.{key}: ")
    assert " is not " in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "user:pw" not in str(caught.value)


def test_parse_config_model_unknown_key_is_refused_without_its_value() -> None:
    """A key that was written straight into the file is not shown."""
    with pytest.raises(ConfigError, match="unknown; known here are provider") as caught:
        parse(api_key=SECRET)
    assert caught.value.key == "model.api_key"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"provider": "openai"}, "base_url"),
        ({"provider": "openai", "base_url": "http://localhost/v1"}, "model"),
        ({"api_key_env": "KEY", "api_key_file": "/key"}, "api_key_file"),
        ({"first_token_timeout": "11m"}, "first_token_timeout"),
        ({"first_token_timeout": "10s", "turn_timeout": "9s"}, "first_token_timeout"),
    ],
)
def test_parse_config_model_contradiction_is_refused_by_key(values: dict[str, Any], key: str) -> None:
    """What is missing for the provider, or does not go together, is refused at the start."""
    with pytest.raises(ConfigError) as caught:
        parse(**values)
    assert caught.value.key == f"model.{key}"


def test_parse_config_model_that_is_no_table_is_refused() -> None:
    """The table's name with something else in it is no default."""
    with pytest.raises(ConfigError, match=r"model: .* is not a table"):
        parse_config({"model": "llama"}, PATH)


@given(st.sampled_from(sorted(WRONG)), st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.text()))
def test_parse_config_model_any_value_is_taken_or_refused_by_key(key: str, value: Any) -> None:
    """Nothing else than an error that names a key comes of any value."""
    refused: ConfigError | None = None
    try:
        parse(**{key: value})
    except ConfigError as error:
        refused = error
    assert refused is None or (refused.key or "").startswith("model.")
