"""Connection to a running gateway's chat: a websocket over its Unix socket.

While something is awaited of the gateway, it is pinged each second. A gateway that is silent for too long is given up.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec
import trio
import trio_websocket

from miniclaw.admin.client.client import find_stalled
from miniclaw.admin.client.messages import PROGRESS_SECONDS, SILENCE_SECONDS, Problem
from miniclaw.errors import ChannelError, GatewayStalledError, NoSocketError
from miniclaw.foreign import leaves
from miniclaw.web.server.listening import short_address

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Longest frame accepted from the gateway; a page of history is far shorter."""

_SERVER_ERROR: Final = 500

LEAVING_SECONDS: Final = 1

_BACKLOG_PAUSE_SECONDS: Final = 0.05


class SocketClosedError(ChannelError):
    """The connection was not made, or is closed; `code` is the websocket's close code, None if there was none."""

    def __init__(self, code: int | None, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"the gateway has closed the connection: {reason}")


class GatewaySocket:
    """Connects to one chat, any number of times.

    Args:
        path: The gateway's socket.
        silence_seconds: Longest silence of the gateway while something is awaited of it.

    Attributes:
        is_awaited: Returns true while something is awaited of the gateway; set by the user of this object.
    """

    def __init__(self, path: Path, channel: str, chat_id: str, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.is_awaited: Callable[[], bool] = lambda: False
        self._path = path
        self._silence_seconds = silence_seconds
        self._resource = "/api/v1/chat?" + urlencode({"channel": channel, "chat": chat_id})
        self._connection: trio_websocket.WebSocketConnection | None = None
        self._receiving_since = math.inf  # on trio's clock; infinite unless a frame is awaited

    async def answers(self) -> bool:
        """Return whether a gateway answers at the socket.

        Raises:
            GatewayStalledError: A gateway is there, and accepts no connection.
        """
        try:
            stream = await self._connect()
        except SocketClosedError:
            return False
        await stream.aclose()
        return True

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connect for a block.

        Raises:
            SocketClosedError: The connection cannot be made; `receive` raises it when the connection ends.
            ChannelError: The gateway refuses the chat.
            GatewayStalledError: The gateway is silent for too long, now or later in the block.
        """
        stream = await self._connect()
        error: ChannelError | GatewayStalledError | None = None  # raised outside the nursery, not in a group

        async def watch(connection: trio_websocket.WebSocketConnection) -> None:
            nonlocal error
            if not await self._answers_pings(connection):
                error = self._silent(stream.socket)
                nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                try:
                    self._connection = await self._shake_hands(nursery, stream)
                    nursery.start_soon(watch, self._connection)
                    yield
                except (SocketClosedError, GatewayStalledError) as closed:
                    error = closed
                finally:
                    connection, self._connection = self._connection, None
                    with trio.move_on_after(LEAVING_SECONDS, shield=True):
                        if connection is not None:
                            await connection.aclose()
                        await stream.aclose()
                    nursery.cancel_scope.cancel()
        except* (SocketClosedError, trio_websocket.ConnectionRejected) as raised:  # by the reader of the connection
            error = _refusal(leaves(raised)[0])
        if error is not None:
            raise error

    async def send(self, frame: str) -> None:
        """Send a frame; without a connection, it is dropped."""
        connection = self._connection
        if connection is None:
            await trio.lowlevel.checkpoint()
            return
        with suppress(trio_websocket.ConnectionClosed):
            await connection.send_message(frame)

    async def receive(self) -> str | bytes:
        """Return the next frame; within `open` only.

        Raises:
            SocketClosedError: The connection has ended.
        """
        if self._connection is None:
            raise SocketClosedError(None, "there is none")
        self._receiving_since = trio.current_time()
        try:
            return await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
            code, text = (reason.code, reason.reason or reason.name) if reason else (None, "it is gone")
            raise SocketClosedError(code, text) from None
        finally:
            self._receiving_since = math.inf

    async def _answers_pings(self, connection: trio_websocket.WebSocketConnection) -> bool:
        """Ping until the connection ends, and return True; return False if the gateway is silent."""
        while True:
            await trio.sleep(PROGRESS_SECONDS)
            if not self.is_awaited():
                continue
            with trio.move_on_after(self._silence_seconds) as scope, suppress(trio_websocket.ConnectionClosed):
                await connection.ping()
                continue
            if not scope.cancelled_caught:
                return True
            # A pong waits behind frames that a stopped terminal does not take; the gateway is not silent then.
            if trio.current_time() - self._receiving_since >= self._silence_seconds:
                return False

    def _silent(self, sock: trio.socket.SocketType | None) -> SocketClosedError | GatewayStalledError:
        # A process that dies while a client connects may leave a connection that never ends.
        return find_stalled(self._path, sock) or SocketClosedError(None, "it has ended")

    async def _connect(self) -> _Stream:
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_address(self._path) as address, trio.fail_after(self._silence_seconds):
                while not await _connected(sock, address):  # noqa: ASYNC110 - there is no event to wait for
                    await trio.sleep(_BACKLOG_PAUSE_SECONDS)
        except trio.TooSlowError:
            sock.close()
            raise self._silent(None) from None
        except (OSError, NoSocketError) as error:
            sock.close()
            raise SocketClosedError(None, getattr(error, "strerror", None) or str(error)) from None
        except BaseException:
            sock.close()
            raise
        return _Stream(sock)

    async def _shake_hands(self, nursery: trio.Nursery, stream: _Stream) -> trio_websocket.WebSocketConnection:
        """Open the websocket; the connection's reader, in the nursery, raises an answer that refuses it."""
        try:
            with trio.fail_after(self._silence_seconds):
                connection = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # it is declared too narrowly; any stream will do
                    "localhost",
                    self._resource,
                    max_message_size=MAX_MESSAGE_BYTES,
                )
        except trio.TooSlowError:
            raise self._silent(stream.socket) from None
        stream.is_open = True
        return connection


class _Stream(trio.abc.Stream):
    """A stream whose end is an error until the websocket is open: trio_websocket would wait for an answer for ever.

    Attributes:
        is_open: True once the gateway has accepted the websocket; set by `GatewaySocket`.
    """

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock
        self.is_open = False
        self._stream = trio.SocketStream(sock)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data; a gateway that turns a connection away answers without reading, and its answer is read then."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            if self.is_open:
                raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until data can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive data.

        Raises:
            SocketClosedError: The connection has ended before the websocket was open.
        """
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            if self.is_open:
                raise
            data = b""
        if not data and not self.is_open:
            raise SocketClosedError(None, "it closes the connection without an answer")
        return data

    async def aclose(self) -> None:
        """Close the socket."""
        await self._stream.aclose()


def _refusal(error: BaseException) -> ChannelError:
    """Return the error about a websocket that was not opened; a `SocketClosedError` if another try may succeed."""
    if not isinstance(error, trio_websocket.ConnectionRejected):
        assert isinstance(error, SocketClosedError)  # noqa: S101 - for mypy
        return error
    try:
        detail = msgspec.json.decode(error.body or b"", type=Problem).detail
    except (ValueError, RecursionError):
        detail = "it does not say why"
    reason = f"{detail} (HTTP status {error.status_code})"
    if error.status_code >= _SERVER_ERROR:  # the gateway is starting or stopping, or has too many connections
        return SocketClosedError(None, reason)
    return ChannelError(f"the gateway refuses the chat: {reason}")


async def _connected(sock: trio.socket.SocketType, address: str) -> bool:
    """Connect; return False if the backlog is full, for whose room the kernel has no event.

    Raises:
        OSError: No process listens at the address.
    """
    await sock.connect(address)
    try:
        sock.getpeername()
    except OSError as error:  # trio takes EAGAIN, the answer of a full backlog, for a connection under way
        if error.errno != errno.ENOTCONN:
            raise
        return False
    return True
