"""Connections: hypercorn's code serves each one, within our own bounds, and none can end the server.

hypercorn's own server is not used: it accepts without limit, and a client that does not read blocks it for ever.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import h11
import trio
import wsproto.utilities
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as WireEvent
from hypercorn.logging import Logger
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp, Message, Receive, Scope

from miniclaw.loggers import get_logger
from miniclaw.web.limits import Limits
from miniclaw.web.server.admission import BoundedListener
from miniclaw.web.server.protocol import ConnectionContext, Protocol
from miniclaw.web.server.streams import BoundedStream

_CLOSE_SECONDS: Final = 1.0
_MOST_READ_BYTES: Final = 64 * 1024

# Errors that a client can cause, by sending nonsense or by disconnecting.
_CLIENTS_FAULTS: Final = (
    h11.ProtocolError,
    wsproto.utilities.ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
)

log: Final = get_logger("miniclaw.web")


class _Log(Logger):
    """hypercorn's log: nothing of it reaches standard error by itself."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.error_logger = None
        self.access_logger = None

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """Log a request, without its query, which may be private."""
        log.debug(
            "Request",
            method=request.get("method", "WEBSOCKET"),
            path=request["path"],
            status=response["status"] if response else None,
            seconds=round(request_time, 4),
        )

    async def exception(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        """Log an unexpected exception that hypercorn caught."""
        log.error("Web request failed", reason=message, traceback=traceback.format_exc())


def server_config(limits: Limits) -> Config:
    """Return hypercorn's configuration."""
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.logger_class = _Log
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle_seconds
    config.h11_max_incomplete_size = limits.max_head_bytes
    config.websocket_max_message_size = limits.max_frame_bytes
    config.websocket_ping_interval = limits.ping_seconds
    return config


class _Application:
    """Calls the application for one connection; logs its exceptions once, and reads the input that it left unread."""

    def __init__(self, app: ASGIApp, stream: BoundedStream) -> None:
        self._app = app
        self._stream = stream

    async def __call__(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        *_spawners: Any,
    ) -> None:
        """Serve one request, or one websocket."""

        async def sending(message: Message) -> None:
            # For a client that has disconnected, hypercorn takes messages without a checkpoint, and so does
            # `send_now` for a quick one: a handler that only sends would let no other task run. That of a websocket
            # waits for events.
            if scope["type"] != "websocket" or self._stream.closed.is_set():
                await trio.lowlevel.checkpoint()
            await send(message)

        try:
            await self._app(cast("Scope", scope), receive, sending)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are served
            log.bug("Web request failed", error, path=scope["path"])
        # hypercorn closes through a bounded queue: if unread input filled it, hypercorn would wait for ever.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_discard, receive)
            await send(None)
            nursery.cancel_scope.cancel()
        if self._stream.broken:
            self._stream.scope.cancel()  # there is no client to wait for


async def _discard(receive: Receive) -> None:
    while True:
        await receive()


class _Tasks(TaskGroup):
    """The tasks of one connection. Input reaches the application without a checkpoint, while its queue has room."""

    async def spawn_app(self, app: Any, config: Config, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start the application, and return a function that passes input to it."""
        to_app, from_client = trio.open_memory_channel[Any](config.max_app_queue_size)
        self.spawn(app.__call__, scope, from_client.receive, send)  # a method: it has a name

        async def put(event: Any) -> None:
            try:
                to_app.send_nowait(event)
            except trio.WouldBlock:
                await to_app.send(event)

        return put


class _Connection(TCPServer):
    """One connection."""

    stream: Any
    context: Any

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            connection = self.stream.socket
            client = parse_socket_addr(connection.family, connection.getpeername())
            server = parse_socket_addr(connection.family, connection.getsockname())
            async with _Tasks() as group:
                self._task_group = group
                parts = (self.app, self.config, self.context, group, ConnectionState({}), False, client, server)
                self.protocol = cast("ProtocolWrapper", Protocol(*parts, self.protocol_send))
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass  # the client is gone
        finally:
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._close()

    async def protocol_send(self, event: WireEvent) -> None:
        """Send; data that the system takes at once costs neither a checkpoint nor a cancel scope."""
        if isinstance(event, RawData) and not self.send_lock.locked():
            rest = self.stream.send_now(event.data)
            if rest:  # shielded: after a part of a frame, nothing but its rest may be sent
                with trio.CancelScope(shield=True):
                    await super().protocol_send(RawData(rest))
        else:
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        """Process the client's input to its end, as hypercorn does, without a cancel scope for each piece."""
        data = b"?"
        while data:
            try:
                data = await self.stream.receive_some(_MOST_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())


class Serving:
    """Serves the connections of one listener."""

    def __init__(self, app: ASGIApp, listener: BoundedListener, limits: Limits) -> None:
        self._app = app
        self._listener = listener
        self._config = server_config(limits)
        self._terminated = EventWrapper()
        self._streams: set[BoundedStream] = set()  # those that are open; `run` adds, `_serve` removes
        self._accepts = True

    @property
    def is_over(self) -> bool:
        """True if no more connections are accepted, and all have ended."""
        return not self._accepts and not self._streams

    async def run(self, connections: trio.Nursery, *, task_status: trio.TaskStatus[None]) -> None:
        """Accept connections until this is cancelled."""
        try:
            async with self._listener:
                task_status.started()
                while True:
                    stream = await self._listener.accept()
                    self._streams.add(stream)
                    connections.start_soon(self._serve, stream)
        finally:
            self._accepts = False

    async def stop(self, last_moment: float) -> None:
        """Close the connections that wait for a request, and each other one as soon as its request is answered.

        From `last_moment`, on trio's clock, nothing can be sent.
        """
        await self._terminated.set()
        for stream in self._streams:
            stream.hasten(last_moment)

    async def _serve(self, stream: BoundedStream) -> None:
        try:
            with stream.scope:
                context = ConnectionContext(self._terminated, stream)
                app = cast("Any", _Application(self._app, stream))
                await _Connection(app, self._config, context, ConnectionState({}), cast("Any", stream)).run()
        except* _CLIENTS_FAULTS as errors:
            log.debug("Connection broken off", reason=repr(errors.exceptions[0]))
        except* Exception as errors:  # noqa: BLE001 - the other connections are served all the same
            log.bug("Connection failed", errors)
        finally:
            stream.socket.close()
            self._streams.discard(stream)
            self._listener.released(stream)
