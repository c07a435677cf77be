"""The process behind a gateway's socket, for the error about a gateway that does not answer."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from miniclaw.errors import GatewayStalledError, StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.ownership.process import is_alive


class _Options(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return a socket's option."""
        ...


def find_stalled(path: Path, sock: _Options | None, *, sent: bool = False) -> GatewayStalledError | None:
    """Return the error about a gateway that does not answer; None: its process has ended meanwhile.

    Args:
        path: The gateway's socket.
        sock: The connection to it; if it is None or unconnected, the process is the holder of the sessions directory.
        sent: True if the gateway has received an order.
    """
    pid = None if sock is None else _peer(sock)
    if pid is not None and not is_alive(pid):
        return None
    return GatewayStalledError(pid or _owner(path.parent / "sessions"), sent=sent)


def _peer(sock: _Options) -> int | None:
    """Return the process at the other end; None if the system does not report it."""
    if not hasattr(socket, "SO_PEERCRED"):  # Linux only
        return None
    try:
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    except OSError:
        return None
    return int(pid) or None  # 0: it is in another PID namespace


def _owner(sessions_dir: Path) -> int | None:
    with suppress(StoreError), SessionDirectory.open(sessions_dir) as directory:
        holder = directory.holder()
        return None if holder is None else holder.pid
    return None
