"""The live chat with all it needs: hubs, a loop over a real store, a real server on loopback, and clients."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trio
import trio_websocket
from starlette.types import ASGIApp

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import Model
from miniclaw.channels.live import LiveChannel
from miniclaw.config.web import WebConfig
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.web.app import build_app
from miniclaw.web.chat.endpoint import ChatEndpoint
from miniclaw.web.limits import Limits
from miniclaw.web.server.server import Server, open_server
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Client:
    """A client on the websocket."""

    def __init__(self, connection: trio_websocket.WebSocketConnection, stream: trio.SocketStream) -> None:
        self.connection = connection
        self.stream = stream
        self._received: deque[dict[str, Any]] = deque()

    async def send(self, **frame: Any) -> None:
        await self.connection.send_message(json.dumps(frame, ensure_ascii=False))

    async def say(self, inbound_id: str, text: str) -> None:
        await self.send(type="message", id=inbound_id, text=text)

    async def receive(self) -> dict[str, Any]:
        while not self._received:
            frame = json.loads(await self.connection.get_message())
            self._received.extend(frame if isinstance(frame, list) else [frame])
        return self._received.popleft()

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


@asynccontextmanager
async def connect(url: str, query: str = "", *, token: str = "") -> AsyncIterator[Client]:
    """Connect to the websocket of a server for a block, showing the token if there is one."""
    shown = [(b"authorization", f"Bearer {token}".encode())] if token else []
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
        connection = await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            f"{host}:{port}",
            f"/api/v1/chat{query}",
            extra_headers=shown,
            max_message_size=MAX_MESSAGE_BYTES,
        )
        async with connection:
            yield Client(connection, stream)
        nursery.cancel_scope.cancel()


class LiveHouse:
    """A server with what is behind it.

    Attributes:
        drain: Ends all connections.
    """

    def __init__(
        self, manager: SessionManager, server: Server, hubs: dict[str, LiveChannel], drain: trio.Event
    ) -> None:
        self.manager = manager
        self.url = server.addresses[0]
        self.socket_path = server.socket_path
        self.hubs = hubs
        self.drain = drain

    @asynccontextmanager
    async def connect(self, query: str = "") -> AsyncIterator[Client]:
        async with connect(self.url, query) as client:
            yield client

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


PATIENT = Limits(
    idle_seconds=PATIENCE_SECONDS,
    send_seconds=PATIENCE_SECONDS,
    body_seconds=PATIENCE_SECONDS,
    drain_seconds=PATIENCE_SECONDS / 2,
    drain_send_seconds=PATIENCE_SECONDS / 2,
)
"""For clients that a busy machine makes slow."""


@asynccontextmanager
async def open_live_house(
    sessions_dir: Path,
    clock: WallClock,
    model: Model,
    *,
    trusts_all: bool = False,
    runs: bool = True,
    seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[LiveHouse]:
    """Open a house.

    Args:
        sessions_dir: Where its sessions lie; what an earlier house left is there.
        clock: The wall clock.
        model: Who answers.
        trusts_all: Whether clients over TCP are trusted, too.
        runs: Whether the channels and the agent run.
        seconds: How long all may take.
    """
    hubs = {name: LiveChannel(name) for name in ("web", "console")}
    drain = trio.Event()
    with trio.fail_after(seconds):
        async with open_store(sessions_dir) as store:
            manager = SessionManager(store, clock=clock)

            def make_app(trusted: bool) -> ASGIApp:
                trusts = trusted or trusts_all
                chat = ChatEndpoint(hubs, manager, drain=drain, trusted=trusts, model_name=model.name)
                return build_app(chat.routes(), security=None)

            async with (
                open_server(WebConfig(port=0), sessions_dir.parent, make_app, drain=drain, limits=PATIENT) as server,
                trio.open_nursery() as agent,
                trio.open_nursery() as accepting,
            ):
                inbox = Inbox()
                if runs:
                    await agent.start(AgentLoop(manager, model, dict(hubs)).run, inbox)
                    for hub in hubs.values():
                        await accepting.start(hub.run, inbox)
                yield LiveHouse(manager, server, hubs, drain)
                accepting.cancel_scope.cancel()
                inbox.close()
                agent.cancel_scope.deadline = trio.current_time() + seconds / 2  # until what was said is saved
