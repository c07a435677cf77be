"""The sockets that the server listens at: a TCP address, and a Unix socket in the workspace.

The Unix socket's file has mode 0600 from its first moment on, and nothing but a socket is ever replaced by it. Its path
may be longer than the 107 bytes that a socket address can hold: it is then reached by way of its directory.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from miniclaw.errors import ConfigError

MAX_ADDRESS_BYTES: Final = 107
"""Longest path in a socket address, inclusive; Linux's. Elsewhere it is a few less, and the system says so."""

_BACKLOG: Final = 128
_USER_TIMEOUT_MS: Final = 3000  # a peer that acknowledges nothing for so long is gone


@contextmanager
def tcp_listener(host: str, port: int) -> Iterator[socket.socket]:
    """Listen at an address for a block.

    Args:
        host: An IP address; ``::`` means every address, of IPv4 too.
        port: From 0 to 65535; 0 takes any that is free.

    Raises:
        ConfigError: That is not possible.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(None, f"cannot listen at {host}: {error.strerror}", key="web.host") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _refusal(error, host, port) from error
        listener.setblocking(False)
        yield listener


def _refusal(error: OSError, host: str, port: int) -> ConfigError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        problem = f"{where} is in use by another program; choose another port, or 0 for any that is free"
        return ConfigError(None, problem, key="web.port")
    if error.errno in {errno.EACCES, errno.EPERM}:
        problem = f"this user may not listen at {where}; choose a port from 1024 to 65535, or 0 for any that is free"
        return ConfigError(None, problem, key="web.port")
    if error.errno == errno.EADDRNOTAVAIL:
        problem = f'this machine has no address {host}; use "127.0.0.1", "0.0.0.0" or one that it has'
        return ConfigError(None, problem, key="web.host")
    return ConfigError(None, f"cannot listen at {where}: {error.strerror}", key="web.host")


def url_of(listener: socket.socket) -> str:
    """Return the address that a TCP listener has, with the port that it really got, as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """Listen at a path for a block. The caller owns the directory, so a socket that is there already is stale.

    Args:
        path: Where; its directory is made if there is none. No link is followed in its place.

    Raises:
        ConfigError: There is something else than a socket, or it is not possible.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _clear(path)
            with short_address(path) as address:
                _bind_private(listener, address)
            ours = os.lstat(path)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(path, f"cannot listen there: {error.strerror or error}") from error
        listener.setblocking(False)
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.path.samestat(ours, os.lstat(path)):
                    os.unlink(path)


def _clear(path: Path) -> None:
    """Remove what an earlier gateway left, and nothing else."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(
            path, "it is no socket, so it is left alone; the gateway's socket has its place there: move it"
        )
    os.unlink(path)


def _bind_private(listener: socket.socket, address: str) -> None:
    """Bind, so that nobody else could connect at any moment."""
    if sys.platform == "linux":
        # The file takes its mode from the socket. So there is no need for the umask, which other threads share.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(address)
    else:
        before = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(before)


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give, for a block, an address of a Unix socket that is short enough to bind or to connect to.

    Raises:
        ConfigError: The path is too long, and this system has no way around that.
        OSError: Its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield os.fspath(path)
        return
    if sys.platform != "linux":
        problem = f"a path of a socket can have {MAX_ADDRESS_BYTES} bytes at most; choose a shorter workspace"
        raise ConfigError(path, problem)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
