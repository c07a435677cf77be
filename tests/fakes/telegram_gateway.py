"""`python -m tests.fakes.telegram_gateway`: gateways with the Telegram channel alone, to be killed.

A line of the standard input is one of them: JSON with its `home`, the Bot API's address, `api_base`, the users that may
talk, `users`, the longest that the model thinks in seconds, `pause`, and a `seed` of how long it does each time. It is forked off. At the next line it is
killed, and its exit code is printed. The token is in the environment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from miniclaw.channels.telegram import channel as _channel  # noqa: F401 - what is imported before the fork costs once
from miniclaw.channels.telegram.opening import open_telegram
from miniclaw.config import Config, Home, SessionConfig
from miniclaw.config.telegram import TelegramConfig
from miniclaw.daemon.logging import configure_logging
from miniclaw.gateway import run_gateway
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel
from tests.fakes.telegram import VARIABLE


async def run(home: str, api_base: str, users: list[int], pause: float, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - replayable on purpose

    async def think(messages: Sequence[Message]) -> str:
        await trio.sleep(chance.uniform(0, pause))
        return answer_to(messages[-1].content)

    telegram = TelegramConfig(bot_token_env=VARIABLE, allowed_users=tuple(users), api_base=api_base)
    config = Config(session=SessionConfig(cleanup_interval=None), telegram=telegram)
    async with open_telegram(telegram) as channel:
        await run_gateway(config, Home(Path(home)), channels=[channel], model=ScriptedModel(think), cleans_up=False)


def answer_to(text: str) -> str:
    """Return what the model answers."""
    return f"re: {text}"


def main() -> None:
    configure_logging("warning", "json")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                arguments: dict[str, Any] = json.loads(line)
                trio.run(lambda: run(**arguments))  # noqa: B023 - it is called at once
            finally:
                os._exit(70)
        sys.stdin.readline()
        os.kill(pid, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
