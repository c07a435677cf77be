"""Fixtures for the tests of the API: a workspace, a gateway that owns it, and clients over its socket and its address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from miniclaw.admin.context import AdminContext
from miniclaw.config import Config, Home, SessionConfig
from miniclaw.session.types import Message
from miniclaw.web.access.token import load_token
from tests.fakes.api import Api
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.serving import AT_ANY_PORT, open_gateway


class Office:
    """A gateway with a workspace of its own, and those who come to it.

    Attributes:
        context: What the API works on.
        api: Over the Unix socket.
        stranger: Over the address, with the token.
    """

    def __init__(self, context: AdminContext, api: Api, stranger: Api, clock: WallClock, fs: FaultyOs) -> None:
        self.context, self.api, self.stranger = context, api, stranger
        self.clock, self.fs = clock, fs
        self.sessions_dir = context.home.sessions_dir
        self.manager = context.runtime.manager

    def add(self, session_id: str, *, days: float = 0, **fields: Any) -> Path:
        """Write a session that was last used so many days ago, as another program would."""
        return write_session(self.sessions_dir, session_id, self.clock.ago(days=days), **fields)

    async def say(self, channel: str, chat_id: str, text: str) -> str:
        """Say something in a session, in memory only."""
        session = await self.manager.get_or_create_session(channel, chat_id)
        await self.manager.add_message(session.session_id, Message("user", text, self.clock()))
        return session.session_id

    def left(self) -> set[str]:
        return {path.name for path in self.sessions_dir.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def config() -> Config:
    """The configuration of the gateway."""
    return Config(session=SessionConfig(trash_for=timedelta(days=7), max_removed_fraction=0.5))


@pytest.fixture
async def office(tmp_path: Path, config: Config, clock: WallClock, fs: FaultyOs) -> AsyncIterator[Office]:
    """A gateway over an empty workspace."""
    home = Home(tmp_path / "home")
    async with open_gateway(home, config, web=AT_ANY_PORT, clock=clock, fs=fs) as context:
        (address,) = context.live().addresses
        shown = {"authorization": f"Bearer {load_token(home.workspace).reveal()}"}
        socket = httpx2.AsyncHTTPTransport(uds=str(home.workspace / "gateway.sock"), verify=False)
        async with (
            httpx2.AsyncClient(transport=socket, base_url="http://localhost", timeout=PATIENCE_SECONDS) as near,
            httpx2.AsyncClient(base_url=address, headers=shown, verify=False, timeout=PATIENCE_SECONDS) as far,
        ):
            yield Office(context, Api(near), Api(far), clock, fs)
