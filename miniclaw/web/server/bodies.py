"""The bodies of requests: read whole before the application is called, within a size and a time.

No handler waits for a slow client, and none is called for a request that never ends.
"""

from __future__ import annotations

import trio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from miniclaw.web.limits import Limits
from miniclaw.web.problems import problem


class _ClientGoneError(Exception):
    """The client left in the middle of its body."""


class WholeBodies:
    """Calls the application once the body has arrived, or refuses the request."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._held_bytes = 0  # of all bodies in memory; only the trio thread touches it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            refusal = self._check_announced(scope) or await self._read(receive, body)
            await (refusal or self._app)(scope, _replaying(bytes(body), receive), send)
        except _ClientGoneError:
            pass  # there is no client to answer
        finally:
            self._held_bytes -= len(body)

    def _check_announced(self, scope: Scope) -> Response | None:
        """Return the refusal of a body whose announced length is too large, without reading any of it."""
        announced = Headers(scope=scope).get("content-length", "0")
        # h11 has checked that it is a number; one of many digits is too large, whatever they are.
        return self._too_large() if len(announced) > 19 or int(announced) > self._limits.max_body_bytes else None

    def _too_large(self) -> Response:
        return problem(413, f"the body of a request has {self._limits.max_body_bytes} bytes at most")

    async def _read(self, receive: Receive, body: bytearray) -> Response | None:
        limits = self._limits
        with trio.move_on_after(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGoneError
                piece = message.get("body", b"")
                if len(body) + len(piece) > limits.max_body_bytes:
                    return self._too_large()
                if self._held_bytes + len(piece) > limits.max_bodies_bytes:
                    detail = "too many large requests at once; try again later"
                    return problem(503, detail, headers={"retry-after": "1"})
                body += piece
                self._held_bytes += len(piece)
                if not message.get("more_body", False):
                    return None
        return problem(408, f"the body of a request has to come within {limits.body_seconds:g} s")


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body first, and then the server's messages."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class UnreadBodies:
    """Lets a request be answered before its body was read, as a refusal is.

    The connection is closed then. Until the client has seen the answer, its further input is read and discarded:
    unread input would make the system discard the answer. It would also fill hypercorn's bounded queue, and hypercorn
    would wait for ever.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and _has_body(scope):
            exchange = _Exchange(receive, send, self._limits.linger_seconds)
            await self._app(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


class _Exchange:
    def __init__(self, receive: Receive, send: Send, linger_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._linger_seconds = linger_seconds
        self._read = trio.Event()

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self._read.set()
        return message

    async def send(self, message: Message) -> None:
        if self._read.is_set():
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._send({**message, "headers": [*message.get("headers", []), (b"connection", b"close")]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._discard)
                with trio.move_on_after(self._linger_seconds):
                    await self._read.wait()
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

    async def _discard(self) -> None:
        while True:
            await self.receive()
