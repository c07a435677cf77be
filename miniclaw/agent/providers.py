"""Opening of the model that the table ``[model]`` configures."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from miniclaw.agent.models import EchoModel, Model
from miniclaw.agent.system_prompt import NAME, SystemPromptError, read_system_prompt
from miniclaw.config.model import ModelConfig, PluginModelConfig
from miniclaw.errors import ConfigError
from miniclaw.extras import missing_package
from miniclaw.loggers import get_logger
from miniclaw.plugins import MODELS, open_plugin
from miniclaw.secret import load_secret

log: Final = get_logger("miniclaw.agent")


@asynccontextmanager
async def open_model(config: ModelConfig, workspace: Path) -> AsyncIterator[Model]:
    """Open the configured model for a block.

    Args:
        config: The table ``[model]``.
        workspace: The folder of the system prompt.

    Raises:
        ConfigError: A package or the key is missing, a plugin could not be opened, or the system prompt cannot be used.
    """
    if config.provider == "echo":
        yield EchoModel()
        return
    if config.provider != "openai":
        options = config.options if isinstance(config, PluginModelConfig) else {}
        async with open_plugin(MODELS, config.provider, options, "model.provider") as model:
            yield model
        return
    try:
        from miniclaw.agent.openai.model import OpenAIModel  # noqa: PLC0415 - an extra, and start-up time
        from miniclaw.http_client import open_http_client  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigError(None, missing_package('"openai"', "openai"), key="model.provider") from error
    load = partial(load_secret, "key", "model.api_key", variable=config.api_key_env, file=config.api_key_file)
    key = await trio.to_thread.run_sync(load)
    prompt = workspace / NAME
    try:
        await trio.to_thread.run_sync(partial(read_system_prompt, prompt, config.history_budget // 2))
    except SystemPromptError as error:
        raise ConfigError(prompt, str(error)) from error
    url = urlsplit(config.base_url or "")
    host = url.hostname or ""
    local = is_loopback(host)
    if key is not None and not local and url.scheme == "http":
        log.warning("Model's key goes over the network unencrypted; https would keep it secret", host=host)
    async with open_http_client(connect_seconds=config.connect_timeout.total_seconds(), direct=local) as client:
        yield OpenAIModel(client, config, key=key, system_prompt=prompt)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or address alone; no name is resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
