"""A connection's stream that cannot be held up by its client."""

from __future__ import annotations

import math
from contextlib import suppress

import trio

from miniclaw.web.limits import MAX_SOCKET_PIECE_BYTES, Limits


class BoundedStream(trio.abc.HalfCloseableStream):
    """A socket's stream whose sending has a deadline, and by which the whole connection can be ended.

    The deadline is the stream's own, so that it also holds within a shield, such as hypercorn's around sending.

    Attributes:
        socket: The socket.
        scope: All that is done for the connection is done in here.
        lingers: Whether the client is heard out before the socket is closed. What it has sent and nobody read would
            otherwise make the system throw away what was sent to it last.
        closed: Set when nothing can be sent any more.
        broken: Whether that is because the client is gone, or takes nothing.
    """

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self.socket = stream.socket
        self.scope = trio.CancelScope()
        self.lingers = False
        self.closed = trio.Event()
        self.broken = False
        self._stream = stream
        self._limits = limits
        self._send_seconds = limits.send_seconds
        self._wind_up_seconds = limits.wind_up_seconds
        self._last_moment = math.inf
        self._sending: trio.CancelScope | None = None
        self._reads = False  # whether a task waits for data
        self._discards = False  # whether it is we who read, and nobody else may
        self._ended = trio.Event()  # the client sends nothing more

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as long as the client takes it.

        Raises:
            trio.BrokenResourceError: It did not take it in time, or is gone.
        """
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
        """See trio."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See trio. Nothing can be sent any more as soon as it has begun."""
        self.closed.set()  # who sends meanwhile, such as a late answer, finds the client cut, not trio's guard
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See trio."""
        if self._discards:
            raise trio.ClosedResourceError
        self._reads = True
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._ended.set()
            raise
        finally:
            self._reads = False
        if not data:
            self._ended.set()
        return bytes(data)

    async def aclose(self) -> None:
        """Close it; with a client that has to be heard out, within `Limits.linger_seconds`."""
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
        """Wait for the client's end. Only one task can read: where hypercorn's does, it throws away what comes."""
        if self._reads:
            await self._ended.wait()
        else:
            self._discards = True
            while await self._stream.receive_some(MAX_SOCKET_PIECE_BYTES):
                pass

    def wind_up(self) -> None:
        """Send nothing more, and end what is done for the connection within `Limits.wind_up_seconds`."""
        self.closed.set()
        self.end_within(self._wind_up_seconds)

    def end_within(self, seconds: float) -> None:
        """End the connection after some time."""
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + seconds)

    def hasten(self, last_moment: float) -> None:
        """Wait for the client only as long as a server that stops can wait.

        Args:
            last_moment: When nothing can be sent any more, on trio's clock.
        """
        self._send_seconds = self._limits.drain_send_seconds
        self._wind_up_seconds = min(self._wind_up_seconds, self._limits.drain_send_seconds)
        self._last_moment = last_moment
        if self.closed.is_set():
            self.end_within(self._wind_up_seconds)
        if self._sending is not None:
            soon = min(trio.current_time() + self._send_seconds, last_moment)
            self._sending.deadline = min(self._sending.deadline, soon)
