"""The listening sockets of the server: a TCP address, and a Unix socket in the workspace.

The Unix socket's file has mode 0600 from its first moment on, and never replaces anything but a socket. Its path may be
longer than the 107 bytes that a socket address can hold: it is then reached through its directory's descriptor, if the
system has a /proc. Many file systems have no sockets (FAT, CIFS, sshfs, 9p, mounts of containers); that is an error of
its own, `NoSocketError`.
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
from typing import Final, Literal, TypeAlias

from miniclaw.errors import ConfigError, NoSocketError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import opened
from miniclaw.session.disk.directories import make_private, why_not_followed
from miniclaw.session.disk.syscalls import OsCalls

MAX_ADDRESS_BYTES: Final = 107 if sys.platform == "linux" else 103
"""Longest path in a socket address, inclusive: of Linux, and of macOS and the BSDs."""

_NO_SOCKETS: Final = frozenset(
    {errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENAMETOOLONG}
)
_DESCRIPTORS: Final = "/proc/self/fd"

SocketState: TypeAlias = Literal["ours", "gone", "taken"]
"""The state of a Unix socket's path.

``ours``: it has the socket that was bound there. ``gone``: it has no file, or a socket at which no program listens, and
can be bound again. ``taken``: it has the socket of another running program, or a file that is no socket, and is left
alone.
"""

_BACKLOG: Final = 128
_USER_TIMEOUT_MS: Final = 3000  # a peer that acknowledges nothing for so long is gone

log: Final = get_logger("miniclaw.web")


@contextmanager
def tcp_listener(host: str, port: int) -> Iterator[socket.socket]:
    """Listen at an IP address for a block; ``::`` means every address, of IPv4 too. Port 0 takes any port that is free.

    Raises:
        ConfigError: The address or the port cannot be used.
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
    """Return the URL of a TCP listener, with the port that it really got."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class UnixListener:
    """A Unix socket that listens at a path."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.socket = listener
        self._ours = os.lstat(path)

    def look(self) -> SocketState:
        """Return the present state of the path."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return "gone"
        if os.path.samestat(status, self._ours):
            return "ours"
        return "taken" if not stat.S_ISSOCK(status.st_mode) or _answers(self.path) else "gone"


@contextmanager
def unix_listener(path: Path, *, again: bool = False) -> Iterator[UnixListener]:
    """Listen at a path for a block. The caller owns the directory, so a socket that exists already is stale.

    Args:
        path: The path of the socket; its directory is made if there is none. A link in its place is not followed.
        again: If true, this is a running gateway's second socket, for which no directory is made: a missing one was
            moved or unmounted.

    Raises:
        ConfigError: The path has a file that is no socket, or its directory is another user's link.
        NoSocketError: The path can have no socket.
        StoreIOError: Listening fails for another reason; the disk may be full.
    """
    if problem := why_not_followed(path.parent):
        raise ConfigError(path.parent, problem)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            if not again and not path.parent.exists():
                make_private(OsCalls(), path.parent)
            _clear(path)
            with short_address(path) as address:
                _bind_private(listener, address)
            _give_to_owner(path)
            unix = UnixListener(path, listener)
            listener.listen(_BACKLOG)
        except OSError as error:
            if error.errno in _NO_SOCKETS:
                raise NoSocketError(path, error.strerror or str(error)) from error
            raise StoreIOError(path, "listen there", error) from error
        listener.setblocking(False)
        try:
            yield unix
        finally:
            listener.close()  # the removal of its file may hang with the disk
            with suppress(OSError):
                if unix.look() == "ours":
                    os.unlink(path)


def _clear(path: Path) -> None:
    """Remove the socket that an earlier gateway left, and nothing else."""
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
    """Bind such that no other user can connect at any moment."""
    if sys.platform == "linux":
        # The file takes its mode from the socket, which spares changing the umask that all threads share.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(address)
    else:
        before = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(before)


def _give_to_owner(path: Path) -> None:
    """Give a socket that root has made to the owner of its directory, who could not connect to it otherwise."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return
    folder = os.stat(path.parent)
    if folder.st_uid == 0:
        return
    # Through a descriptor of this very file: its name may lead to another one by now.
    with opened(OsCalls(), str(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) as fd:
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.chown(f"{_DESCRIPTORS}/{fd}", folder.st_uid, folder.st_gid)
        except OSError as error:
            reason = error.strerror
            log.warning("Gateway's socket cannot be given to the directory's owner", path=str(path), error=reason)


def _answers(path: Path) -> bool:
    """Return whether a program listens at a Unix socket; if the system's answer leaves a doubt, True."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, short_address(path) as address:
        client.setblocking(False)
        try:
            client.connect(address)
        except OSError as error:
            return error.errno not in {errno.ECONNREFUSED, errno.ENOENT}
    return True


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give, for a block, an address of a Unix socket that is short enough to bind or to connect to.

    Raises:
        NoSocketError: The path is too long, and this system has no /proc.
        OSError: The path's directory cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield os.fspath(path)
        return
    if not os.path.isdir(_DESCRIPTORS):
        raise NoSocketError(path, f"its path has more than {MAX_ADDRESS_BYTES} bytes; choose a shorter workspace")
    with opened(OsCalls(), str(path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as directory:
        yield f"{_DESCRIPTORS}/{directory}/{path.name}"
