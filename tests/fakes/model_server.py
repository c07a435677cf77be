"""A model's server on loopback: OpenAI's chat completions over plain sockets, and all the ways to do it wrong.

A test gives a script: an async function for each request that comes, in their order; the last one serves all further
ones. A script talks through its `Exchange` and may send whatever it likes. The connection is closed after each one,
unless the script says otherwise.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio

Headers: TypeAlias = Mapping[str, str]
NONE: Headers = {}
Script: TypeAlias = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request, and the means to answer it.

    Attributes:
        headers: Of the request, names in lower case.
        body: Of the request.
    """

    def __init__(self, stream: trio.SocketStream, target: str, headers: dict[str, str], body: Any) -> None:
        self._stream = stream
        self.target = target
        self.headers = headers
        self.body = body
        self.keeps_open = False

    async def raw(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def head(
        self, status: int = 200, content_type: str | None = "text/event-stream", headers: Headers = NONE
    ) -> None:
        """Begin an answer in chunks."""
        fields = {"transfer-encoding": "chunked", **headers}
        if not self.keeps_open:
            fields["connection"] = "close"
        if content_type is not None:
            fields["content-type"] = content_type
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        await self.raw("\r\n".join(lines).encode())

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, data: object) -> None:
        await self.chunk(b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n")

    async def say(self, *pieces: str) -> None:
        """Stream pieces of text."""
        for piece in pieces:
            await self.event({"choices": [{"index": 0, "delta": {"content": piece}}]})

    async def end(self, finish_reason: str = "stop") -> None:
        """End an answer as it should be ended."""
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        await self.event(b"[DONE]")
        await self.close_chunks()

    async def close_chunks(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def fail(
        self, status: int, *, body: bytes = b'{"error": {"message": "no"}}', headers: Headers = NONE
    ) -> None:
        """Answer with an error."""
        await self.head(status, "application/json", headers)
        await self.chunk(body)
        await self.close_chunks()

    async def reset(self) -> None:
        """Have the connection reset instead of closed."""
        self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()


class ModelServer:
    """The server.

    Attributes:
        base_url: For the configuration.
        requests: What came.
        connections: How many connections were made to it.
        open: How many of them are open.
    """

    def __init__(self, port: int, scripts: tuple[Script, ...]) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.requests: list[Exchange] = []
        self.connections = 0
        self.open = 0
        self.quiet = trio.Event()  # set whenever no connection is open
        self._scripts = scripts

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        self.quiet = trio.Event()
        try:
            async with stream:
                received = b""
                while True:
                    request = await _read_request(stream, received)
                    if request is None:
                        break
                    exchange, received = request
                    self.requests.append(exchange)
                    script = self._scripts[min(len(self.requests), len(self._scripts)) - 1]
                    await script(exchange)
                    if not exchange.keeps_open:
                        break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left, or the script reset the connection
        finally:
            self.open -= 1
            if not self.open:
                self.quiet.set()


async def _read_request(stream: trio.SocketStream, received: bytes) -> tuple[Exchange, bytes] | None:
    while b"\r\n\r\n" not in received:
        data = await stream.receive_some()
        if not data:
            return None
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers["content-length"])
    while len(rest) < length:
        data = await stream.receive_some()
        if not data:
            return None
        rest += data
    return Exchange(stream, first.split(" ")[1], headers, json.loads(rest[:length])), rest[length:]


@asynccontextmanager
async def open_model_server(*scripts: Script) -> AsyncIterator[ModelServer]:
    """Serve on a free port for a block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = ModelServer(listener.socket.getsockname()[1], scripts)
        await nursery.start(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def unused_port() -> int:
    """Return a port on which nobody listens."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
    return port


def saying(*pieces: str) -> Script:
    """Return the script of an ordinary answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(*pieces)
        await exchange.end()

    return script
