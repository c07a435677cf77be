"""From the table ``[telegram]`` to the channel. Importing this needs nothing that may not be installed."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

from miniclaw.agent.providers import is_loopback
from miniclaw.config.telegram import TelegramConfig
from miniclaw.errors import ConfigError
from miniclaw.extras import missing_package
from miniclaw.loggers import get_logger
from miniclaw.secret import Secret, load_secret

if TYPE_CHECKING:
    from miniclaw.channels.telegram.channel import TelegramChannel  # needs httpx2

CLOSING_SECONDS: Final = 1.5
"""How long leaving the block may take."""

_TOKEN: Final = re.compile(r"[0-9]+:[A-Za-z0-9_-]{30,}")

log = get_logger("miniclaw.telegram")


@asynccontextmanager
async def open_telegram(
    config: TelegramConfig, *, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[TelegramChannel]:
    """Give the channel for a block. Telegram is not asked for anything yet.

    On leaving the block Telegram is told what was confirmed last; it takes `CLOSING_SECONDS` at the most.

    Args:
        config: The table.
        environment: The variables.

    Raises:
        ConfigError: A package or the token is missing, or the token is none.
    """
    try:
        from miniclaw.channels.telegram.channel import TelegramChannel  # noqa: PLC0415 - an extra, and start-up time
        from miniclaw.channels.telegram.client import CONNECT_SECONDS, BotClient  # noqa: PLC0415 - likewise
        from miniclaw.http_client import open_http_client  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigError(None, missing_package("it", "telegram"), key="telegram") from error
    token = await trio.to_thread.run_sync(partial(load_token, config, environment))
    host = urlsplit(config.api_base).hostname or ""
    local = is_loopback(host)
    if not local and config.api_base.startswith("http:"):
        log.warning("Bot's token goes over the network unencrypted; https would keep it secret", host=host)
    async with open_http_client(connect_seconds=CONNECT_SECONDS, direct=local) as http:
        channel = TelegramChannel(BotClient(http, config.api_base, token), config)
        try:
            yield channel
        finally:
            with trio.move_on_after(CLOSING_SECONDS, shield=True):
                await channel.close()


def load_token(config: TelegramConfig, environment: Mapping[str, str] = os.environ) -> Secret:
    """Return the bot's token. Reads a file, synchronously.

    Raises:
        ConfigError: There is none, or it is none; the text does not hold it.
    """
    variable, file = config.bot_token_env, config.bot_token_file
    token = load_secret("token", "telegram.bot_token", variable=variable, file=file, environment=environment)
    if token is None:
        raise ConfigError(None, "it is not there, nor is bot_token_env", key="telegram.bot_token_file")
    if not _TOKEN.fullmatch(token.reveal()):
        key = f"telegram.bot_token_{'env' if variable is not None else 'file'}"
        problem = "what is there is not the token of a bot: a number, a colon, and 30 or more of A-Z, a-z, 0-9, - and _"
        raise ConfigError(file, problem, key=key)
    # In an address the colon may be encoded, so what is secret is known by itself, too.
    Secret(token.reveal().partition(":")[2])
    return token
