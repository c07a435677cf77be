"""Admission of connections: bounded in all and for each client, at the moment they are accepted.

Connections must never use up the descriptors of the process, for sessions could not be saved then. Their number is
below the process's limit of open files, by a reserve.
"""

from __future__ import annotations

import errno
import os
import resource
from collections import Counter
from contextlib import suppress
from typing import Final

import trio

from miniclaw.loggers import get_logger
from miniclaw.web.headers import STRICT_HEADERS
from miniclaw.web.hosts import client_key, is_loopback
from miniclaw.web.limits import Limits
from miniclaw.web.server.streams import BoundedStream

RESERVED_DESCRIPTORS: Final = 192
"""Descriptors that are left to sessions, models and channels."""

_LEAST_CONNECTIONS: Final = 16
_WARNING_PAUSE_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 0.1
_REQUEST_BYTES: Final = 16 * 1024
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_BODY: Final = b'{"title":"Service Unavailable","status":503,"detail":"too many connections; try again later"}'
_TOO_MANY: Final = b"\r\n".join(
    [
        b"HTTP/1.1 503 Service Unavailable",
        b"content-type: application/problem+json",
        b"content-length: %d" % len(_BODY),
        b"connection: close",
        b"retry-after: 10",
        *(name + b": " + value for name, value in STRICT_HEADERS),
        b"",
        _BODY,
    ]
)

log: Final = get_logger("miniclaw.web")


def plan_connections(limits: Limits, descriptors: int) -> tuple[int, int]:
    """Return the most connections over TCP, and over the Unix socket, both inclusive, for so many open files. Pure."""
    available = max(_LEAST_CONNECTIONS, descriptors - RESERVED_DESCRIPTORS)
    over_socket = min(limits.max_socket_connections, max(1, available // 5))
    return min(limits.max_connections, available - over_socket), over_socket


def descriptor_limit() -> int:
    """Return the number of files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**30 if soft == resource.RLIM_INFINITY else soft


class Admission:
    """Counts the connections of one listener. Only the trio thread touches it."""

    def __init__(self, limits: Limits, most: int) -> None:
        self.most = most
        self._limits = limits
        self._clients: Counter[str] = Counter()
        self._warned_at = -_WARNING_PAUSE_SECONDS

    def __len__(self) -> int:
        return self._clients.total()

    def enter(self, host: str | None) -> str | None:
        """Admit a connection from an address, or over the Unix socket (None), if there is room.

        Returns:
            The key to give to `leave` when the connection has ended; None if there is no room.
        """
        key = "" if host is None else client_key(host)
        if len(self) >= self.most or self._clients[key] >= self._share(host):
            if trio.current_time() - self._warned_at >= _WARNING_PAUSE_SECONDS:
                self._warned_at = trio.current_time()
                log.warning("Too many connections; more are refused", client=host or "socket", connections=len(self))
            return None
        self._clients[key] += 1
        return key

    def leave(self, key: str) -> None:
        """Release the place of a connection that has ended."""
        self._clients[key] -= 1
        if not self._clients[key]:
            del self._clients[key]

    def _share(self, host: str | None) -> int:
        if host is None:
            return self.most
        limits = self._limits
        return limits.max_loopback_connections if is_loopback(host) else limits.max_connections_per_client


class BoundedListener(trio.abc.Listener[BoundedStream]):
    """A listener that returns admitted connections only; the others are answered with status 503 and closed.

    The caller of `accept` has to call `released` when the stream has ended.
    """

    def __init__(self, listener: trio.SocketListener, admission: Admission, limits: Limits) -> None:
        self._listener = listener
        self._admission = admission
        self._limits = limits
        self._keys: dict[BoundedStream, str] = {}

    async def accept(self) -> BoundedStream:
        """Wait for a connection that is admitted, and return its stream."""
        while True:
            try:
                accepted = await self._listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                log.warning("Cannot accept connections at the moment", reason=error.strerror)
                await trio.sleep(_RETRY_SECONDS)
                continue
            try:
                peer = accepted.socket.getpeername()
            except OSError:  # the client has disconnected already
                accepted.socket.close()
                continue
            key = self._admission.enter(peer[0] if isinstance(peer, tuple) else None)
            if key is None:
                _turn_away(accepted.socket)
                continue
            stream = BoundedStream(accepted, self._limits)
            self._keys[stream] = key
            return stream

    def released(self, stream: BoundedStream) -> None:
        """Release the place of a stream that has ended."""
        self._admission.leave(self._keys.pop(stream))

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()


def _turn_away(connection: trio.socket.SocketType) -> None:
    """Refuse a connection in one write, without waiting, and close it."""
    descriptor = connection.fileno()
    with suppress(OSError):  # BlockingIOError too: nothing has arrived yet, or nothing can be sent
        os.read(descriptor, _REQUEST_BYTES)  # unread input would make the system discard the answer
    with suppress(OSError):
        os.write(descriptor, _TOO_MANY)
        connection.shutdown(trio.socket.SHUT_WR)
    connection.close()
