"""The live chat with all it needs: hubs, a loop over a real store, a real server on loopback, and clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypercorn
import hypercorn.trio
import trio
import trio_websocket
from starlette.applications import Starlette

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import Model
from miniclaw.channels.live import LiveChannel
from miniclaw.session.manager import SessionManager
from miniclaw.session.store import open_store
from miniclaw.web.chat.routes import chat_routes
from tests.fakes.clock import WallClock

MAX_MESSAGE_BYTES = 256 * 1024


class Client:
    """A client on the websocket."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.connection = connection

    async def send(self, **frame: Any) -> None:
        await self.connection.send_message(json.dumps(frame))

    async def say(self, inbound_id: str, text: str) -> None:
        await self.send(type="message", id=inbound_id, text=text)

    async def receive(self) -> dict[str, Any]:
        frame = json.loads(await self.connection.get_message())
        assert isinstance(frame, dict)
        return frame

    async def until(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Return all frames up to and with the first of this type that has these fields."""
        frames = []
        while True:
            frames.append(frame := await self.receive())
            if frame["type"] == kind and fields.items() <= frame.items():
                return frames

    async def closed(self) -> tuple[int, str]:
        """Return code and reason of the end of the connection, whatever came before."""
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self.connection.get_message()
        reason = self.connection.closed
        assert reason is not None
        return reason.code, reason.reason or ""


class LiveHouse:
    """A server with what is behind it.

    Attributes:
        drain: Ends all connections.
    """

    def __init__(self, manager: SessionManager, port: int, hubs: dict[str, LiveChannel], drain: trio.Event) -> None:
        self.manager = manager
        self.port = port
        self.hubs = hubs
        self.drain = drain

    @asynccontextmanager
    async def connect(self, query: str = "", **settings: Any) -> AsyncIterator[Client]:
        url = f"ws://127.0.0.1:{self.port}/api/v1/chat{query}"
        async with trio_websocket.open_websocket_url(url, **settings) as connection:
            yield Client(connection)

    @asynccontextmanager
    async def chat(self, chat_id: str = "main") -> AsyncIterator[tuple[Client, dict[str, Any]]]:
        """Connect to a chat, and give the client with the hello."""
        async with self.connect(f"?chat={quote(chat_id, safe='')}") as client:
            hello = await client.receive()
            assert hello["type"] == "hello"
            yield client, hello

    async def said(self, session_id: str = "web_main") -> list[tuple[str, str]]:
        session = await self.manager.get_session(session_id)
        return [(message.role, message.content) for message in session.messages] if session else []


@asynccontextmanager
async def open_live_house(
    sessions_dir: Path,
    clock: WallClock,
    model: Model,
    *,
    trusted: bool = False,
    runs: bool = True,
    seconds: float = 30,
) -> AsyncIterator[LiveHouse]:
    """Open a house.

    Args:
        sessions_dir: Where its sessions lie; what an earlier house left is there.
        clock: The wall clock.
        model: Who answers.
        trusted: Whether the clients are.
        runs: Whether the channels and the agent run.
        seconds: How long all may take.
    """
    hubs = {name: LiveChannel(name) for name in ("web", "console")}
    drain = trio.Event()
    config = hypercorn.Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    config.websocket_max_message_size = MAX_MESSAGE_BYTES
    config.graceful_timeout = 1
    stop = trio.Event()
    with trio.fail_after(seconds):
        async with open_store(sessions_dir) as store, trio.open_nursery() as nursery:
            manager = SessionManager(store, clock=clock)
            app = Starlette(routes=chat_routes(hubs, manager, drain=drain, trusted=trusted, model_name=model.name))
            serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
            [address] = await nursery.start(serve)
            if runs:
                inbox = Inbox()
                await nursery.start(AgentLoop(manager, model, dict(hubs), clock=clock).run, inbox)
                for hub in hubs.values():
                    await nursery.start(hub.run, inbox)
            yield LiveHouse(manager, int(address.rpartition(":")[2]), hubs, drain)
            drain.set()
            stop.set()
            nursery.cancel_scope.cancel()
