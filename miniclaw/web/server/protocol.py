"""HTTP/1.1 and websockets after hypercorn, without the features that would let a client take more than its share.

Differences from hypercorn:

* Only HTTP/1.0 and 1.1: there is no upgrade to HTTP/2, which would bypass the limits.
* A head with both content-length and transfer-encoding is refused, and so is a target that is no path.
* Websockets are not compressed: a few bytes could expand to any number. A message that is too long is not collected
  any further, and its connection ends even if the client sends nothing more. A failed handshake ends it, too.
* Every answer has the strict headers, including hypercorn's own answers.
"""

from __future__ import annotations

from typing import Any, Final, cast

import h11
import trio
from hypercorn.events import Closed
from hypercorn.events import Event as WireEvent
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from miniclaw.web.headers import with_strict_headers
from miniclaw.web.problems import problem
from miniclaw.web.server.streams import BoundedStream

_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_CLOSING_SECONDS: Final = 2.0


class RefusedRequestError(Exception):
    """A request that is answered before any application sees it; the arguments are a status and a detail."""


class ConnectionContext(WorkerContext):
    """hypercorn's view of the server, for one connection; `terminated` is set when the server stops."""

    def __init__(self, terminated: EventWrapper, stream: BoundedStream) -> None:
        super().__init__(None)
        self.terminated = terminated
        self.stream = stream

    async def sleep(self, wait: float) -> None:  # type: ignore[override]  # hypercorn calls it on the instance
        """Sleep between two pings, at most until the connection is closed."""
        with trio.move_on_after(wait):
            await self.stream.closed.wait()


class Protocol(H11Protocol):
    """The protocol of one connection."""

    context: Any  # a `ConnectionContext`; hypercorn declares `sleep` as static
    connection: Any  # h11's, until a websocket begins
    stream: Any  # of hypercorn, for the present request

    async def handle(self, event: WireEvent) -> None:
        """Process an event from the client."""
        try:
            await super().handle(event)
        except RefusedRequestError as refused:
            await self._refuse(*refused.args)
            await self.send(Closed())

    async def stream_send(self, event: Event) -> None:
        """Send an event of the application, or of hypercorn in its place."""
        if isinstance(event, Response) and event.status_code >= 200:
            headers = with_strict_headers(event.headers)
            event = Response(stream_id=event.stream_id, headers=headers, status_code=event.status_code)
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Upgrade to nothing; a request with ``Upgrade: h2c`` is answered as if it had no such header."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin to answer a request."""
        most = self.config.h11_max_incomplete_size  # hypercorn bounds only heads that arrive in pieces
        if len(request.target) + sum(len(name) + len(value) for name, value in request.headers) > most:
            raise RefusedRequestError(431, f"the head of a request has {most:,} bytes at the most")
        fields = {name for name, _ in request.headers}
        if request.http_version not in _VERSIONS:
            raise RefusedRequestError(505, "only HTTP/1.1 is spoken here")
        if b"content-length" in fields and b"transfer-encoding" in fields:
            raise RefusedRequestError(400, "a request has content-length or transfer-encoding, not both")
        if not request.target.startswith(b"/"):
            raise RefusedRequestError(400, 'the target has to be a path, such as "/"')
        kind: type[HTTPStream | WSStream] = HTTPStream
        if _asks_for_websocket(request):
            kind = BoundedWebsocket
            self.connection = H11WSConnection(cast("h11.Connection", self.connection))
            self.context.stream.lingers = True
        connection = (self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server)
        self.stream = kind(*connection, self.stream_send, STREAM_ID)
        begun = Request(
            stream_id=STREAM_ID,
            headers=[(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"],
            http_version=request.http_version.decode(),
            method=request.method.decode("ascii").upper(),
            raw_path=request.target,
            state=self.connection_state,
        )
        await self.stream.handle(begun)
        self.keep_alive_requests += 1

    async def _send_error_response(self, status_code: int) -> None:
        """Answer input that is no HTTP."""
        await self._refuse(status_code, "this is no HTTP/1.1 request that can be answered")

    async def _refuse(self, status: int, detail: str) -> None:
        self.context.stream.lingers = True
        answer = problem(status, detail, headers={"connection": "close"})
        await self.stream_send(Response(stream_id=STREAM_ID, headers=answer.raw_headers, status_code=status))
        await self.stream_send(Body(stream_id=STREAM_ID, data=bytes(answer.body)))
        await self.stream_send(EndBody(stream_id=STREAM_ID))


def _asks_for_websocket(request: h11.Request) -> bool:
    values = {name: value.decode("latin1").lower() for name, value in request.headers}
    tokens = values.get(b"connection", "").split(",")
    return (
        request.method == b"GET"
        and values.get(b"upgrade", "").strip() == "websocket"
        and any(token.strip() == "upgrade" for token in tokens)
    )


class BoundedWebsocket(WSStream):
    """One websocket."""

    context: Any  # a `ConnectionContext`
    app_put: Any  # set when the application is called; nothing is put before that
    closed: bool

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._told = False  # true once the application knows that the websocket has ended

    async def handle(self, event: Event) -> None:
        """Process an event from the client."""
        if isinstance(event, StreamClosed):
            self.context.stream.wind_up()
            if self._told:
                self.closed = True
            await super().handle(event)
        elif isinstance(event, Request):
            await super().handle(event)
            if self.closed:  # it was no valid handshake; hypercorn would leave the connection open for ever
                await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, (Body, Data)) and not self.closed and not self.handshake.accepted:
            # Frames before the handshake was accepted: likewise, and the application would never learn of the end.
            self.closed = True
            if self.state is ASGIWebsocketState.HANDSHAKE:
                await self._send_error_response(400)
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
            await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, (Body, Data)) and not self.closed and self.connection.state is ConnectionState.CLOSED:
            pass  # input after the end; wsproto would take it for a mistake of ours
        else:
            await super().handle(event)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                await self._take(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                elif self.connection.state is ConnectionState.OPEN:  # the input is no websocket frame
                    await self._send_wsproto_event(CloseConnection(code=event.code))
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def _take(self, event: Message[Any]) -> None:
        if self._told or self.closed:  # no application reads the queue, and a full one would hold the connection
            return
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            await self._give_up(CloseReason.MESSAGE_TOO_BIG)
            return
        if event.message_finished:
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _give_up(self, code: CloseReason) -> None:
        """Close the websocket for a reason of our own. The client has `_CLOSING_SECONDS` to take note of it."""
        self._told = True
        self.context.stream.end_within(_CLOSING_SECONDS)
        await self._send_wsproto_event(CloseConnection(code=code))
        await self.app_put({"type": "websocket.disconnect", "code": code.value})
