"""A connection's stream that its client cannot block."""

from __future__ import annotations

import math
import os
from contextlib import suppress

import trio

from miniclaw.web.limits import MAX_SOCKET_PIECE_BYTES, Limits


class BoundedStream(trio.abc.HalfCloseableStream):
    """A socket's stream with a deadline for sending, and with a scope by which the whole connection can be ended.

    The deadline is the stream's own, so that it also holds within a shield, such as hypercorn's around sending.

    Attributes:
        scope: The cancel scope of all work for the connection.
        lingers: If true, the client's input is read before the socket is closed: unread input would make the system
            discard the last data sent.
        closed: Set when nothing can be sent any more.
        broken: True if nothing can be sent because the client is gone, or takes nothing.
    """

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self.socket: trio.socket.SocketType = stream.socket
        self.scope: trio.CancelScope = trio.CancelScope()
        self.lingers: bool = False
        self.closed: trio.Event = trio.Event()
        self.broken: bool = False
        self._stream = stream
        self._limits = limits
        self._send_seconds = limits.send_seconds
        self._wind_up_seconds = limits.wind_up_seconds
        self._last_moment = math.inf
        self._sending: trio.CancelScope | None = None
        self._reads = False  # true while a task waits for data
        self._discards = False  # true once `_hear_out` reads, which no other task may then
        self._ended = trio.Event()  # set when the client sends nothing more

    def send_now(self, data: bytes) -> bytes:
        """Send the part of some data that the system takes at once, and return the rest, for `send_all`.

        No other task may be in `send_all`. An error is not raised: `send_all` finds it again.
        """
        if self.closed.is_set():
            return data
        try:
            return data[os.write(self.socket.fileno(), data) :]
        except OSError:  # BlockingIOError too
            return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data in pieces; raise `trio.BrokenResourceError` if the client is gone or takes no piece in time."""
        if self.closed.is_set():
            raise trio.BrokenResourceError("the client was cut")
        rest = memoryview(data)
        try:
            while rest:
                await self._send_piece(rest[:MAX_SOCKET_PIECE_BYTES])
                rest = rest[MAX_SOCKET_PIECE_BYTES:]
        except trio.BrokenResourceError:
            self.broken = True
            self.wind_up()
            raise

    async def _send_piece(self, piece: memoryview) -> None:
        deadline = min(trio.current_time() + self._send_seconds, self._last_moment)
        with trio.CancelScope(deadline=deadline) as self._sending:
            await self._stream.send_all(piece)
        if self._sending.cancelled_caught:
            raise trio.BrokenResourceError("the client does not take what it is sent")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` might not block. No deadline applies."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Send the end of the data. As soon as this has begun, nothing can be sent any more."""
        self.closed.set()  # a concurrent send, such as a late answer, finds the client cut, not trio's guard
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some input of the client, as soon as there is any; empty at its end.

        Raises:
            trio.BrokenResourceError: The client is gone.
            trio.ClosedResourceError: The stream is closed, or about to be.
        """
        if self._discards:
            raise trio.ClosedResourceError
        self._reads = True
        try:
            data = await self._read(MAX_SOCKET_PIECE_BYTES if max_bytes is None else max_bytes)
        except trio.BrokenResourceError:
            self._ended.set()
            raise
        finally:
            self._reads = False
        if not data:
            self._ended.set()
        return data

    async def _read(self, max_bytes: int) -> bytes:
        """Read as `trio.SocketStream` does, which tries first, and nearly always in vain: a client thinks longer."""
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError
        while True:
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return os.read(self.socket.fileno(), max_bytes)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """Close the socket; if `lingers`, after the end of the client's input or `Limits.linger_seconds`."""
        self.wind_up()
        try:
            if self.lingers:
                self.lingers = False
                with (
                    trio.move_on_after(self._limits.linger_seconds),
                    suppress(trio.BrokenResourceError, trio.ClosedResourceError),
                ):
                    await self._hear_out()
        finally:
            self.socket.close()
        await trio.lowlevel.checkpoint()

    async def _hear_out(self) -> None:
        """Discard the client's input to its end. Only one task can read: if hypercorn's does, that one discards it."""
        if self._reads:
            await self._ended.wait()
        else:
            self._discards = True
            while await self._stream.receive_some(MAX_SOCKET_PIECE_BYTES):
                pass

    def wind_up(self) -> None:
        """Send nothing more, and end the work for the connection within `Limits.wind_up_seconds`."""
        self.closed.set()
        self.end_within(self._wind_up_seconds)

    def end_within(self, seconds: float) -> None:
        """End the work for the connection after so many seconds, unless it ends sooner."""
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + seconds)

    def hasten(self, last_moment: float) -> None:
        """Shorten the deadlines to those of a server that stops, with a last moment for sending on trio's clock."""
        self._send_seconds = self._limits.drain_send_seconds
        self._wind_up_seconds = min(self._wind_up_seconds, self._limits.drain_send_seconds)
        self._last_moment = last_moment
        if self.closed.is_set():
            self.end_within(self._wind_up_seconds)
        if self._sending is not None:
            soon = min(trio.current_time() + self._send_seconds, last_moment)
            self._sending.deadline = min(self._sending.deadline, soon)
