"""From the configuration to a model: keys, the system prompt, the package that may be missing."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from miniclaw.agent.models import EchoModel
from miniclaw.agent.openai.model import OpenAIModel
from miniclaw.agent.providers import is_loopback, open_model
from miniclaw.agent.system_prompt import MAX_BYTES, SystemPromptError, read_system_prompt
from miniclaw.config.model import ModelConfig
from miniclaw.errors import ConfigError
from miniclaw.secret import MAX_SECRET_CHARS, Secret, load_secret
from tests.fakes.logs import LogRecorder

OPENAI: dict[str, Any] = {"provider": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "tiny"}


def load_key(config: ModelConfig, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Load the key as `open_model` does."""
    variable, file = config.api_key_env, config.api_key_file
    return load_secret("key", "model.api_key", variable=variable, file=file, environment=environment)


def write_key(path: Path, content: str = "sk-file-0123456789\n", mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


async def test_open_model_echo_is_the_default(tmp_path: Path) -> None:
    """Without a configuration the echo answers."""
    async with open_model(ModelConfig(), tmp_path) as model:
        assert isinstance(model, EchoModel)


async def test_open_model_openai_is_named_by_its_model(tmp_path: Path) -> None:
    """The name that stands in the log says who answers."""
    async with open_model(ModelConfig(**OPENAI), tmp_path) as model:
        assert isinstance(model, OpenAIModel)
        assert model.name == "openai/tiny"


async def test_open_model_without_the_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra is a sentence with the command, before anything else happens."""
    monkeypatch.delitem(sys.modules, "miniclaw.agent.openai.model")
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigError, match=r"model\.provider: .*pip install '\.\[openai\]'$"):
        async with open_model(ModelConfig(**OPENAI), tmp_path):
            pytest.fail("it was opened")


async def test_open_model_with_a_system_prompt_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A wrong SYSTEM.md is told at the start, by its path."""
    (tmp_path / "SYSTEM.md").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"SYSTEM\.md is not UTF-8") as caught:
        async with open_model(ModelConfig(**OPENAI), tmp_path):
            pytest.fail("it was opened")
    assert caught.value.path == tmp_path / "SYSTEM.md"


@pytest.mark.parametrize(
    ("base_url", "warns"),
    [
        ("http://192.168.1.7:8000/v1", True), ("HTTP://192.168.1.7:8000/v1", True), ("https://192.168.1.7/v1", False), ("http://127.0.0.1:8000/v1", False),
        ("http://[::1]:8000/v1", False), ("http://localhost/v1", False),
    ],
)  # fmt: skip
async def test_open_model_key_over_plain_http_is_warned_of(
    tmp_path: Path, logs: LogRecorder, base_url: str, warns: bool
) -> None:
    """A key that everybody on the network can read is a WARNING; on this machine it is none."""
    key_file = write_key(tmp_path / "key")
    async with open_model(ModelConfig(**{**OPENAI, "base_url": base_url, "api_key_file": key_file}), tmp_path):
        pass
    warned = [event for event in logs.events if event["level"] == "warning"]
    assert len(warned) == warns
    assert "sk-file" not in repr(logs.events)


def test_is_loopback_goes_by_the_name_alone() -> None:
    """No look-up decides about it."""
    assert [host for host in ("127.0.0.1", "::1", "localhost", "a.localhost", "localhost.evil.example", "10.0.0.1", "") if is_loopback(host)] == [
        "127.0.0.1", "::1", "localhost", "a.localhost",
    ]  # fmt: skip


# Keys -----------------------------------------------------------------------------------------------------------


def test_load_key_from_the_environment() -> None:
    """The variable's value is the key, without the spaces around it."""
    key = load_key(ModelConfig(api_key_env="KEY"), {"KEY": " sk-env-0123 \n"})
    assert key is not None
    assert key.reveal() == "sk-env-0123"
    assert "sk-env" not in repr(key)


def test_load_key_none_configured_is_none() -> None:
    """A server at home needs none."""
    assert load_key(ModelConfig(), {}) is None


@pytest.mark.parametrize(
    "value", [None, "", "  ", "sk with space", "sk\nline", "schlüssel", "x" * (MAX_SECRET_CHARS + 1)]
)
def test_load_key_that_is_none_is_refused_without_showing_it(value: str | None) -> None:
    """No key, or one that cannot stand in a header: refused by the key of the configuration, its value not shown."""
    with pytest.raises(ConfigError) as caught:
        load_key(ModelConfig(api_key_env="KEY"), {} if value is None else {"KEY": value})
    assert caught.value.key == "model.api_key_env"
    assert not value or not value.strip() or value.strip() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_load_key_from_a_private_file(tmp_path: Path, mode: int) -> None:
    """A file that only its owner can read is taken."""
    key = load_key(ModelConfig(api_key_file=write_key(tmp_path / "key", mode=mode)))
    assert key is not None
    assert key.reveal() == "sk-file-0123456789"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o666, 0o602])
def test_load_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right of anybody else is one too many; the message says how to mend it."""
    path = write_key(tmp_path / "key", mode=mode)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load_key(ModelConfig(api_key_file=path))
    assert (caught.value.path, caught.value.key) == (path, "model.api_key_file")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_load_key_file_that_is_none_is_refused_and_waits_for_nothing(tmp_path: Path) -> None:
    """A missing file, a directory, a fifo, something else than a key: each refused by name, at once."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    write_key(tmp_path / "words", "not a key")
    write_key(tmp_path / "empty", "")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    (tmp_path / "binary").chmod(0o600)
    for name in ("missing", "fifo", "folder", "words", "empty", "binary"):
        with pytest.raises(ConfigError) as caught:
            load_key(ModelConfig(api_key_file=tmp_path / name))
        assert caught.value.path == tmp_path / name
        assert "not a key" not in str(caught.value)


# The system prompt ----------------------------------------------------------------------------------------------


def test_read_system_prompt_missing_or_empty_is_none(tmp_path: Path) -> None:
    """No file and nothing in it are the same."""
    path = tmp_path / "SYSTEM.md"
    assert read_system_prompt(path, 100) is None
    path.write_text(" \n")
    assert read_system_prompt(path, 100) is None


def test_read_system_prompt_bounds_are_inclusive(tmp_path: Path) -> None:
    """A text at the bound is taken, one beyond is refused."""
    path = tmp_path / "SYSTEM.md"
    path.write_text("x" * MAX_BYTES)
    assert read_system_prompt(path, MAX_BYTES) == "x" * MAX_BYTES
    with pytest.raises(SystemPromptError, match="half of history_budget"):
        read_system_prompt(path, MAX_BYTES - 1)
    path.write_text("x" * (MAX_BYTES + 1))
    with pytest.raises(SystemPromptError, match="larger than 32,768 bytes"):
        read_system_prompt(path, 10**9)


def test_read_system_prompt_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """What some editors put before the text is left out."""
    (tmp_path / "SYSTEM.md").write_bytes("\ufeffBe brief.\r\n".encode())
    assert read_system_prompt(tmp_path / "SYSTEM.md", 100) == "Be brief."


def test_read_system_prompt_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    """Directory, fifo, a link that goes round: refused by the name of the file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "fifo", "loop"):
        with pytest.raises(SystemPromptError, match=f"^{name} "):
            read_system_prompt(tmp_path / name, 100)
