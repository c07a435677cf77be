"""Opening of the channel that the table ``[telegram]`` configures. Importing this module needs no extra."""

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
"""Time limit for closing the channel when the block is left."""

_TOKEN: Final = re.compile(r"[0-9]+:[A-Za-z0-9_-]{30,}")

log: Final = get_logger("miniclaw.telegram")


@asynccontextmanager
async def open_telegram(
    config: TelegramConfig, *, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[TelegramChannel]:
    """Open the channel for a block, without a call to Telegram.

    On leaving the block the latest confirmations are reported to Telegram, which takes at most `CLOSING_SECONDS`.

    Args:
        config: The table ``[telegram]``.
        environment: The environment variables.

    Raises:
        ConfigError: A package or the token is missing, or the token is malformed.
    """
    try:
        from miniclaw.channels.telegram.channel import TelegramChannel  # noqa: PLC0415 - an extra, and start-up time
        from miniclaw.channels.telegram.client import CONNECT_SECONDS, BotClient  # noqa: PLC0415 - likewise
        from miniclaw.http_client import open_http_client  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigError(None, missing_package("it", "telegram"), key="telegram") from error
    token = await trio.to_thread.run_sync(partial(load_token, config, environment))
    url = urlsplit(config.api_base)
    host = url.hostname or ""
    local = is_loopback(host)
    if not local and url.scheme == "http":
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
        ConfigError: The token is missing, or is malformed; the text does not contain it.
    """
    variable, file = config.bot_token_env, config.bot_token_file
    token = load_secret("token", "telegram.bot_token", variable=variable, file=file, environment=environment)
    if token is None:
        raise ConfigError(None, "it is not there, nor is bot_token_env", key="telegram.bot_token_file")
    if not _TOKEN.fullmatch(token.reveal()):
        key = f"telegram.bot_token_{'env' if variable is not None else 'file'}"
        problem = "what is there is not the token of a bot: a number, a colon, and 30 or more of A-Z, a-z, 0-9, - and _"
        raise ConfigError(file, problem, key=key)
    # In an address the colon may be encoded, so the secret part is registered for redaction by itself, too.
    Secret(token.reveal().partition(":")[2])
    return token
