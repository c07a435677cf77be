"""A real server with a small application, and clients that say whatever bytes a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import trio
import trio_websocket
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from miniclaw.config.web import WebConfig
from miniclaw.web.access.login import is_stranger
from miniclaw.web.access.security import Security
from miniclaw.web.app import build_app
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.server.admission import Admission
from miniclaw.web.server.listening import short_address
from miniclaw.web.server.server import Server, open_server
from tests.fakes.patience import PATIENCE_SECONDS

OPEN_PATHS = ("/healthz", "/open")
"""Paths of the application that need no token."""


class Answer:
    """An answer as it came.

    Attributes:
        raw: All bytes until the server closed.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        self.status = int(first.split(" ")[1]) if raw else 0
        self.fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        self.headers = dict(self.fields)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class App:
    """Routes for tests, and what became of their handlers.

    Attributes:
        drain: The server's.
        entered: How many requests reached a handler.
        held: Set when a request to one of the handlers that take their time has come.
        release: Lets ``/hold`` answer.
        ended: What ended each websocket.
    """

    def __init__(self) -> None:
        self.drain = trio.Event()
        self.entered = 0
        self.held = trio.Event()
        self.release = trio.Event()
        self.ended: list[str] = []

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._hello),
            Route("/healthz", self._hello),
            Route("/open", self._tell_stranger),
            Route("/api", self._echo, methods=["POST", "PUT", "PATCH", "DELETE"]),
            Route("/api", self._hello, methods=["GET"]),
            Route("/deaf", self._hello, methods=["POST"]),
            Route("/boom", self._boom),
            Route("/half", self._half),
            Route("/hold", self._hold),
            Route("/endless", self._endless),
            WebSocketRoute("/ws", self._echo_messages),
            WebSocketRoute("/ws/flood", self._flood),
            WebSocketRoute("/ws/deaf", self._deaf),
            WebSocketRoute("/ws/boom", self._boom_on_message),
        ]

    async def _hello(self, _request: Request) -> Response:
        self.entered += 1
        return PlainTextResponse("hello")

    async def _tell_stranger(self, request: Request) -> Response:
        return PlainTextResponse("a stranger" if is_stranger(request.scope) else "one of us")

    async def _echo(self, request: Request) -> Response:
        self.entered += 1
        return PlainTextResponse(await request.body())

    async def _boom(self, _request: Request) -> Response:
        raise RuntimeError("the secret inside")

    async def _half(self, _request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the secret inside")

        return StreamingResponse(pieces())

    async def _hold(self, _request: Request) -> Response:
        self.held.set()
        await self.release.wait()
        return PlainTextResponse("released")

    async def _endless(self, _request: Request) -> Response:
        return _Endless(self.held)

    async def _echo_messages(self, websocket: WebSocket) -> None:
        await self._talk(websocket, _echoes)

    async def _flood(self, websocket: WebSocket) -> None:
        await self._talk(websocket, _sends_for_ever)

    async def _deaf(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.held.set()
        await self.release.wait()
        await websocket.close(1008)
        self.ended.append("closed")

    async def _boom_on_message(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        raise RuntimeError("the secret inside")

    async def _talk(self, websocket: WebSocket, does: Callable[[WebSocket], Any]) -> None:
        """Do something until the client leaves, or the server stops: then say so."""
        await websocket.accept()
        ended = "cut"
        try:
            async with trio.open_nursery() as nursery:

                async def close_at_drain() -> None:
                    nonlocal ended
                    await self.drain.wait()
                    ended = "drained"
                    nursery.cancel_scope.cancel()

                nursery.start_soon(close_at_drain)
                self.held.set()
                with suppress(WebSocketDisconnect):
                    await does(websocket)
                ended = "left"
                nursery.cancel_scope.cancel()
            if ended == "drained":
                await websocket.close(1001)
        finally:
            self.ended.append(ended)


class _Endless(Response):
    """An answer without end; no generator, which would be left unfinished."""

    def __init__(self, begun: trio.Event) -> None:
        super().__init__()
        self._begun = begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(60_000), "more_body": True})


async def _echoes(websocket: WebSocket) -> None:
    while True:
        await websocket.send_text(await websocket.receive_text())


async def _sends_for_ever(websocket: WebSocket) -> None:
    while True:
        await websocket.send_text("x" * 10_000)


class Door:
    """Tells when connections come and go.

    Attributes:
        moved: Set at the next one that comes or goes, and then another event.
    """

    def __init__(self) -> None:
        self.moved = trio.Event()

    def admission(self, limits: Limits, most: int) -> Admission:
        """Return an admission that tells it here."""
        door = self

        class Watched(Admission):
            def enter(self, host: str | None) -> str | None:
                key = super().enter(host)
                door.move()
                return key

            def leave(self, key: str) -> None:
                super().leave(key)
                door.move()

        return Watched(limits, most)

    def move(self) -> None:
        self.moved.set()
        self.moved = trio.Event()


class Running:
    """A server that runs, and ways to reach it."""

    def __init__(self, app: App, server: Server, door: Door) -> None:
        self.app = app
        self.server = server
        self._door = door
        self.port = int(server.addresses[0].rpartition(":")[2]) if server.addresses else 0

    async def connect(self, over: str = "tcp") -> trio.SocketStream:
        """Connect without saying anything."""
        if over == "tcp":
            stream: trio.SocketStream = await trio.open_tcp_stream("127.0.0.1", self.port)
            return stream
        assert self.server.socket_path is not None
        with short_address(self.server.socket_path) as address:
            return await trio.open_unix_socket(address)

    async def has_connections(self, number: int) -> None:
        """Wait until the server has so many connections."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.server.connections != number:
                await self._door.moved.wait()

    async def forgotten(self) -> None:
        """Wait until the server has forgotten all connections."""
        await self.has_connections(0)

    async def ask(self, *pieces: bytes, over: str = "tcp") -> Answer:
        """Send bytes, whether they are taken or not, and read until the server closes."""
        with trio.fail_after(PATIENCE_SECONDS):
            async with await self.connect(over) as stream, trio.open_nursery() as nursery:

                async def send() -> None:
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        for piece in pieces:
                            await stream.send_all(piece)

                nursery.start_soon(send)
                answer = await read_all(stream)
                nursery.cancel_scope.cancel()
        return Answer(answer)

    async def get(
        self, path: str = "/", *, method: str = "GET", over: str = "tcp", body: bytes = b"", **headers: str
    ) -> Answer:
        """Ask with these headers; ``_`` in their names stands for ``-``. The connection is closed after it."""
        return await self.ask(request(method, path, body, **headers), over=over)

    @asynccontextmanager
    async def websocket(self, path: str = "/ws", **headers: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        """Open a websocket for a block."""
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio_websocket.open_websocket(
                "127.0.0.1", self.port, path, use_ssl=False, extra_headers=extra
            ) as websocket:
                yield websocket

    async def refused_websocket(self, path: str = "/ws", **headers: str) -> Answer:
        """Ask for a websocket, in raw bytes; return how that is answered."""
        return await self.ask(handshake(path, **headers))


def request(method: str = "GET", path: str = "/", body: bytes = b"", **headers: str) -> bytes:
    """Return a request, closed after it, to ``localhost`` unless the headers say otherwise."""
    fields = {"host": "localhost", "connection": "close", **{name.replace("_", "-"): v for name, v in headers.items()}}
    if body:
        fields.setdefault("content-length", str(len(body)))
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(head).encode("latin1") + body


def handshake(path: str = "/ws", **headers: str) -> bytes:
    """Return a request for a websocket."""
    fields = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    return request("GET", path, b"", **fields)


def frame(payload: bytes, opcode: int = 1, *, final: bool = True, reserved: int = 0) -> bytes:
    """Return a client's websocket frame, masked with zeros."""
    first = bytes([(0x80 if final else 0) | reserved | opcode])
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        length = bytes([0x80 | 126]) + len(payload).to_bytes(2)
    else:
        length = bytes([0x80 | 127]) + len(payload).to_bytes(8)
    return first + length + bytes(4) + payload


async def read_all(stream: trio.SocketStream) -> bytes:
    """Read until the server closes; a reset is an end, too."""
    data = b""
    with suppress(trio.BrokenResourceError):
        async for piece in stream:
            data += piece
    return data


async def read_head(stream: trio.SocketStream) -> bytes:
    """Read up to the end of a head, or a little more."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        assert piece, f"closed after {data!r}"
        data += piece
    return data


@asynccontextmanager
async def open_test_server(
    workspace: Path,
    *,
    config: WebConfig | None = None,
    limits: Limits = DEFAULT_LIMITS,
    security: Security | None = None,
) -> AsyncIterator[Running]:
    """Serve the application of a test for a block, at a free port and on the Unix socket."""
    config = config or WebConfig(port=0)
    rules = security or Security(config, None, limits=limits)
    app = App()

    def make_app(trusted: bool) -> Any:
        return build_app(app.routes(), security=None if trusted else rules, open_paths=OPEN_PATHS, limits=limits)

    door = Door()
    with patch("miniclaw.web.server.server.Admission", door.admission):
        async with open_server(config, workspace, make_app, drain=app.drain, limits=limits) as server:
            yield Running(app, server, door)
