"""The real Telegram channel with the real loop, against a Bot API of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.lowlevel

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import EchoModel, Model
from miniclaw.channels.telegram.channel import TelegramChannel
from miniclaw.channels.telegram.client import BotClient
from miniclaw.channels.telegram.opening import open_telegram
from miniclaw.config.telegram import TelegramConfig
from miniclaw.http_client import open_http_client
from miniclaw.secret import Secret
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from tests.fakes.bot_api import ME, TOKEN, FakeBotApi
from tests.fakes.patience import PATIENCE_SECONDS

VARIABLE = "TEST_BOT_TOKEN"


class Naps:
    """Waits that are not waited for.

    Attributes:
        seconds: How long each should have been.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.seconds.append(seconds)


def telegram_config(api: FakeBotApi, **values: Any) -> TelegramConfig:
    return TelegramConfig(**{"bot_token_env": VARIABLE, "allowed_users": (ME,), "api_base": api.api_base, **values})


@asynccontextmanager
async def open_bot_client(api: FakeBotApi, *, token: str = TOKEN) -> AsyncIterator[BotClient]:
    async with open_http_client(connect_seconds=PATIENCE_SECONDS, direct=True) as http:
        yield BotClient(http, api.api_base, Secret(token))


class TelegramHouse:
    """A channel and a loop that run.

    Attributes:
        naps: The waits of polling and sending.
    """

    def __init__(self, channel: TelegramChannel, manager: SessionManager, naps: Naps, scope: trio.CancelScope) -> None:
        self.channel = channel
        self.manager = manager
        self.naps = naps
        self.scope = scope

    async def said(self, chat_id: int = ME) -> list[tuple[str, str]]:
        """Return who said what in a chat's session."""
        session = await self.manager.get_session(f"telegram_{chat_id}")
        return [(message.role, message.content) for message in session.messages] if session else []


@asynccontextmanager
async def open_telegram_house(
    api: FakeBotApi, sessions_dir: Path, *, model: Model | None = None, **values: Any
) -> AsyncIterator[TelegramHouse]:
    """Run the channel and the loop around a block; the channel stops first, the loop is drained, all is saved."""
    naps = Naps()
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_store(sessions_dir) as store, open_bot_client(api) as client:
            channel = TelegramChannel(client, telegram_config(api, **values), sleep=naps.sleep)
            manager, inbox = SessionManager(store), Inbox()
            loop = AgentLoop(manager, model or EchoModel(), {channel.name: channel})
            try:
                async with trio.open_nursery() as agent:
                    await agent.start(loop.run, inbox)
                    async with trio.open_nursery() as accepting:
                        await accepting.start(channel.run, inbox)
                        yield TelegramHouse(channel, manager, naps, accepting.cancel_scope)
                        accepting.cancel_scope.cancel()
                    inbox.close()
                    agent.cancel_scope.deadline = trio.current_time() + PATIENCE_SECONDS / 2
            finally:
                with trio.move_on_after(PATIENCE_SECONDS, shield=True):
                    await manager.save_all_sessions()
                    await channel.close()


@asynccontextmanager
async def open_real_telegram(api: FakeBotApi, **values: Any) -> AsyncIterator[TelegramChannel]:
    """Give the channel as the gateway opens it."""
    async with open_telegram(telegram_config(api, **values), environment={VARIABLE: TOKEN}) as channel:
        yield channel
