"""The client of a running gateway, over the Unix socket in its workspace. Synchronous, and quick to import.

An error in an answer is raised again here, with the same class and text. A call may take any time, during which the
gateway sends a sign of life each second. A silent gateway is given up, and is not asked again.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from miniclaw.admin.client import messages
from miniclaw.admin.client.messages import (
    API_VERSION,
    PREFIX,
    PROGRESS_HEADER,
    VERSION_HEADER,
    ConfigAnswer,
    Delayed,
    Entrance,
    Failure,
    Problem,
    Saved,
    error_of,
)
from miniclaw.admin.monitoring.live_status import LiveStatus
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import (
    GatewayBusyError,
    GatewayError,
    GatewayStalledError,
    MiniclawError,
    NoGatewayError,
    NoSocketError,
    StoreError,
)
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.ownership.process import is_alive
from miniclaw.web.server.listening import short_address

if TYPE_CHECKING:
    import trio

T = TypeVar("T")

SAVE_SECONDS: Final = 10
"""Longest wait of a command for a gateway that is busy saving; after it, the command shows the disk as it is."""

_BACKLOG_PAUSE_SECONDS: Final = 0.05


class GatewayClient:
    """Client of a workspace's gateway. Each call has a connection of its own; calls from any thread are allowed.

    All calls raise `NoGatewayError` if no gateway is at the socket, `GatewayStalledError` if no byte comes from it in
    time, `GatewayError` if it does not carry out the call, and the errors in its answers. The longest wait for the next
    byte is `silence_seconds`; None: `miniclaw.admin.client.messages.SILENCE_SECONDS`.
    """

    def __init__(self, workspace: Path, *, silence_seconds: float | None = None) -> None:
        self.path: Path = workspace / SOCKET_NAME
        self._silence_seconds = messages.SILENCE_SECONDS if silence_seconds is None else silence_seconds
        self._stalled: GatewayStalledError | None = None  # a stopped process is waited for once, not for each call

    def config(self) -> dict[str, dict[str, Any]]:
        """Return the configuration in force in the gateway, in the form of its file."""
        return self.ask("GET", "/config", ConfigAnswer).config

    def gateway(self) -> LiveStatus:
        """Return the live status of the gateway."""
        return self.ask("GET", "/gateway", LiveStatus)

    def entrance(self) -> Entrance:
        """Have the gateway make a one-time code for a browser."""
        return self.ask("POST", "/entrance", Entrance)

    def save(self) -> Saved:
        """Have the gateway save its dirty sessions.

        After `SAVE_SECONDS`, raises `GatewayBusyError`; the gateway continues the save.
        """
        return self.ask("POST", "/save", Saved, most_seconds=SAVE_SECONDS)

    def ask(
        self, method: str, path: str, answer: type[T], body: object = None, *, most_seconds: float | None = None
    ) -> T:
        """Send a request, and return its answer.

        The path is below `PREFIX`, and percent-encoded. The body is sent as JSON; None: there is none. The gateway may
        work on the request for `most_seconds`; None: without limit.
        """
        status, version, data = self._request(method, path, body, most_seconds)
        if status >= HTTPStatus.BAD_REQUEST:
            raise self._refused(status, version, data)
        if version != str(API_VERSION):
            raise self._of_another_version(version)
        try:
            return msgspec.json.decode(data, type=answer)
        except (ValueError, RecursionError) as error:
            raise self._not_understood(error) from error

    def _request(
        self, method: str, path: str, body: object, most_seconds: float | None
    ) -> tuple[int, str | None, bytes]:
        """Send a request; return the status, the API version and the body of the answer."""
        if self._stalled is not None:
            raise self._stalled
        connection = _Connection(self.path, self._silence_seconds)
        headers = {PROGRESS_HEADER: "1"} | ({} if body is None else {"content-type": "application/json"})
        encoded = None if body is None else msgspec.json.encode(body)
        sent = False
        try:
            connection.request(method, PREFIX + path, encoded, headers)
            sent = True
            response = connection.getresponse()
            version = response.headers.get(VERSION_HEADER)
            if PROGRESS_HEADER not in response.headers:
                return response.status, version, response.read()
            late = msgspec.json.decode(_read_late(response, most_seconds), type=Delayed)
            return late.status, version, bytes(late.body)
        except TimeoutError:
            self._stalled = find_stalled(self.path, connection.sock, sent=sent and body is not None)
            raise self._stalled or self._ended() from None
        except msgspec.MsgspecError as error:
            raise self._not_understood(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._ended() from error
        finally:
            connection.close()

    def _refused(self, status: int, version: str | None, data: bytes) -> MiniclawError:
        try:
            problem = msgspec.json.decode(data, type=Problem)
        except (ValueError, RecursionError):
            problem = Problem("", status, f"it answers {status}, and does not say why")
        if problem.error:
            return error_of(Failure(problem.error, problem.detail))
        if version != str(API_VERSION) and status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return self._of_another_version(version)
        return GatewayError(f"the gateway refuses: {problem.detail}")

    def _ended(self) -> GatewayError:
        told = "the gateway ended before it had answered; `miniclaw history` shows what it removed until then"
        return GatewayError(f"{self.path}: {told}")

    def _not_understood(self, error: Exception) -> GatewayError:
        return GatewayError(f"{self.path}: the answer of the gateway is not understood: {error}")

    def _of_another_version(self, version: str | None) -> GatewayError:
        theirs = "none that this command knows" if version is None else f"version {version}"
        return GatewayError(
            f"{self.path}: the gateway that runs has another version of miniclaw than this command (its API is "
            f"{theirs}, not version {API_VERSION}); restart it"
        )


def _read_late(response: http.client.HTTPResponse, most_seconds: float | None) -> bytes:
    """Return a body that is preceded by signs of life.

    Raises:
        GatewayBusyError: Nothing but signs of life came for `most_seconds`.
        TimeoutError: No byte came in time.
    """
    begun = time.monotonic()
    while (first := response.read(1)).isspace():
        if most_seconds is not None and time.monotonic() - begun > most_seconds:
            raise GatewayBusyError(most_seconds)
    return first + response.read()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        """Connect.

        Raises:
            NoGatewayError: No process listens at the socket.
            TimeoutError: The gateway accepts no connection: its backlog remains full.
            GatewayError: The system refuses the connection, as without permission.
        """
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        give_up_at = time.monotonic() + self._seconds
        try:
            with short_address(self._path) as address:
                while not _connected(self.sock, address, gives_up=time.monotonic() >= give_up_at):
                    time.sleep(min(_BACKLOG_PAUSE_SECONDS, self._seconds))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, NoSocketError) as error:
            raise NoGatewayError(self._path) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise GatewayError(f"{self._path}: could not connect: {error.strerror or error}") from error


def _connected(sock: socket.socket, address: str, *, gives_up: bool) -> bool:
    """Connect; return False if the backlog is full, for whose room the kernel has no event."""
    try:
        sock.connect(address)
    except BlockingIOError:
        if gives_up:
            raise TimeoutError from None
        return False
    return True


def find_stalled(
    path: Path, sock: socket.socket | trio.socket.SocketType | None, *, sent: bool = False
) -> GatewayStalledError | None:
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


def _peer(sock: socket.socket | trio.socket.SocketType) -> int | None:
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
