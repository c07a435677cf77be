"""A websocket's client without a network, which takes what it is sent only as it likes."""

from __future__ import annotations

import json
import math
from collections import deque
from typing import Any

import trio
from starlette.types import Message
from starlette.websockets import WebSocket

from miniclaw.web.chat.endpoint import ChatEndpoint


class AsgiClient:
    """A client.

    Attributes:
        takes: Set while it takes what it is sent; replaced by a new event it stalls.
        closed: Code and reason, once the server has closed the websocket.
    """

    def __init__(self, query: str = "") -> None:
        self.takes = trio.Event()
        self.takes.set()
        self.closed: tuple[int, str] | None = None
        self._query = query
        self._received: deque[dict[str, Any]] = deque()
        self._to_server, self._at_server = trio.open_memory_channel[Message](math.inf)
        self._to_client, self._at_client = trio.open_memory_channel[str](math.inf)
        self._to_server.send_nowait({"type": "websocket.connect"})

    async def connect(self, endpoint: ChatEndpoint) -> None:
        """Be served to the end."""
        scope = {
            "type": "websocket",
            "path": "/api/v1/chat",
            "query_string": self._query.encode(),
            "headers": [],
            "extensions": {},
        }
        await endpoint.serve(WebSocket(scope, self._at_server.receive, self._take))
        self._to_client.close()

    async def _take(self, message: Message) -> None:
        await self.takes.wait()
        await trio.lowlevel.checkpoint()
        if message["type"] == "websocket.send":
            self._to_client.send_nowait(message["text"])
        elif message["type"] == "websocket.close":
            self.closed = (message["code"], message["reason"])

    def send(self, **frame: Any) -> None:
        self._to_server.send_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def leave(self) -> None:
        self._to_server.send_nowait({"type": "websocket.disconnect", "code": 1006})

    async def receive(self) -> dict[str, Any] | None:
        """Return the next frame, or None at the end."""
        while not self._received:
            try:
                frame = json.loads(await self._at_client.receive())
            except trio.EndOfChannel:
                return None
            self._received.extend(frame if isinstance(frame, list) else [frame])
        return self._received.popleft()
