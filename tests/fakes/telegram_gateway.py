"""`python -m tests.fakes.telegram_gateway JSON`: a gateway with the Telegram channel alone, to be killed.

The JSON has `home` and the Bot API's address, `api_base`; the users that may talk, `users`; and `pause`, the longest
that the model thinks, in seconds. The token is in the environment.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from miniclaw.channels.telegram.config import TelegramConfig
from miniclaw.channels.telegram.opening import open_telegram
from miniclaw.config import Config, Home, SessionConfig
from miniclaw.gateway import run_gateway
from miniclaw.log import configure_logging
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel
from tests.fakes.telegram import VARIABLE


async def run(home: str, api_base: str, users: list[int], pause: float) -> None:
    async def think(messages: Sequence[Message]) -> str:
        await trio.sleep(random.uniform(0, pause))  # noqa: S311 - not a secret
        return answer_to(messages[-1].content)

    telegram = TelegramConfig(bot_token_env=VARIABLE, allowed_users=tuple(users), api_base=api_base)
    config = Config(session=SessionConfig(cleanup_interval=None), telegram=telegram)
    async with open_telegram(telegram) as channel:
        await run_gateway(config, Home(Path(home)), channels=[channel], model=ScriptedModel(think), cleans_up=False)


def answer_to(text: str) -> str:
    """Return what the model answers."""
    return f"re: {text}"


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    configure_logging("warning", "json")
    trio.run(lambda: run(**arguments))


if __name__ == "__main__":
    main()
