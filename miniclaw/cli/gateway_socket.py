"""The way to a running gateway's chat: a websocket over its Unix socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import trio
import trio_websocket

from miniclaw.errors import ChannelError
from miniclaw.web.listening import short_address

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Longest frame that is taken from the gateway: a page of history is far shorter."""

_SERVER_ERROR: Final = 500

CONNECTING_SECONDS: Final = 10
LEAVING_SECONDS: Final = 1


class SocketClosedError(ChannelError):
    """The connection is not there, or no more; the websocket's close code, where there was one, is `code`."""

    def __init__(self, code: int | None, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"the gateway has closed the connection: {reason}")


class GatewaySocket:
    """Connects to one chat, as often as it is asked to.

    Args:
        path: The gateway's socket.
        channel: The channel of the chat.
        chat_id: The chat.
    """

    def __init__(self, path: Path, channel: str, chat_id: str) -> None:
        self._path = path
        self._resource = "/api/v1/chat?" + urlencode({"channel": channel, "chat": chat_id})
        self._connection: trio_websocket.WebSocketConnection | None = None

    async def answers(self) -> bool:
        """Return whether there is a gateway at the socket."""
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
            SocketClosedError: That is not possible; so does `receive` when the connection ends.
        """
        stream = await self._connect()
        error: SocketClosedError | None = None
        async with trio.open_nursery() as nursery:
            try:
                self._connection = await self._shake_hands(nursery, stream)
                yield
            except SocketClosedError as closed:  # raised below, where the nursery does not put it into a group
                error = closed
            finally:
                connection, self._connection = self._connection, None
                with trio.move_on_after(LEAVING_SECONDS, shield=True):
                    if connection is not None:
                        await connection.aclose()
                    await stream.aclose()
                nursery.cancel_scope.cancel()
        if error is not None:
            raise error

    async def send(self, frame: str) -> None:
        """Send a frame; where there is no connection, nothing happens."""
        connection = self._connection
        if connection is None:
            await trio.lowlevel.checkpoint()
            return
        with suppress(trio_websocket.ConnectionClosed):
            await connection.send_message(frame)

    async def receive(self) -> str | bytes:
        """Return the next frame; inside of `open` only.

        Raises:
            SocketClosedError: There is none any more.
        """
        if self._connection is None:
            raise SocketClosedError(None, "there is none")
        try:
            return await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
            code, text = (reason.code, reason.reason or reason.name) if reason else (None, "it is gone")
            raise SocketClosedError(code, text) from None

    async def _connect(self) -> trio.SocketStream:
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_address(self._path) as address:
                await sock.connect(address)
        except OSError as error:
            sock.close()
            raise SocketClosedError(None, error.strerror or str(error)) from None
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: trio.SocketStream
    ) -> trio_websocket.WebSocketConnection:
        try:
            with trio.fail_after(CONNECTING_SECONDS):
                return await trio_websocket.wrap_client_stream(
                    nursery, stream, "localhost", self._resource, max_message_size=MAX_MESSAGE_BYTES
                )
        except trio_websocket.ConnectionRejected as error:
            if error.status_code >= _SERVER_ERROR:  # it is only just starting, or stopping
                raise SocketClosedError(None, f"it answers with HTTP status {error.status_code}") from None
            raise ChannelError(f"the gateway refuses the chat, with HTTP status {error.status_code}") from None
        except (trio_websocket.HandshakeError, trio.TooSlowError, trio.BrokenResourceError) as error:
            raise SocketClosedError(None, f"it does not answer ({type(error).__name__})") from None
