"""The client of a running gateway, over the Unix socket in its workspace. Synchronous, and quick to import.

An error in an answer is raised again here, with the same class and text. A call may take any time, during which the
gateway sends a sign of life each second. A silent gateway is given up, and is not asked again.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from miniclaw.admin.client import messages
from miniclaw.admin.client.messages import (
    API_VERSION,
    PREFIX,
    PROGRESS_HEADER,
    VERSION_HEADER,
    CleanupOrder,
    ConfigAnswer,
    Delayed,
    DeletedSessions,
    DeleteOrder,
    Emptied,
    EmptyOrder,
    Entrance,
    Failure,
    Moved,
    MoveOrder,
    Pinned,
    Problem,
    QuarantineDeleteOrder,
    QuarantineOrder,
    QuarantineOutcomes,
    RestoredFile,
    Saved,
    Stopping,
    error_of,
)
from miniclaw.admin.client.stalled import find_stalled
from miniclaw.admin.monitoring.live_status import LiveStatus
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import GatewayBusyError, GatewayError, GatewayStalledError, NoGatewayError, NoSocketError
from miniclaw.formats import printable
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.trash.entries import Restored
from miniclaw.web.server.listening import short_address

T = TypeVar("T")

SAVE_SECONDS: Final = 10
"""Longest wait of a command for a gateway that is busy saving; after it, the command shows the disk as it is."""

_BACKLOG_PAUSE_SECONDS: Final = 0.05


class GatewayClient:
    """Client of a workspace's gateway. Each call has a connection of its own; calls from any thread are allowed.

    All calls raise `NoGatewayError` if no gateway is at the socket, `GatewayStalledError` if no byte comes from it in
    time, `GatewayError` if it does not carry out the call, and the errors in its answers.

    Args:
        workspace: The directory that contains the socket.
        silence_seconds: Longest wait for the next byte; None: `miniclaw.admin.client.messages.SILENCE_SECONDS`.
    """

    def __init__(self, workspace: Path, *, silence_seconds: float | None = None) -> None:
        self.path = workspace / SOCKET_NAME
        self._silence_seconds = messages.SILENCE_SECONDS if silence_seconds is None else silence_seconds
        self._stalled: GatewayStalledError | None = None  # a stopped process is waited for once, not for each call

    def config(self) -> dict[str, dict[str, Any]]:
        """Return the configuration in force in the gateway, in the form of its file."""
        return self._ask("GET", "/config", ConfigAnswer).config

    def gateway(self) -> LiveStatus:
        """Return the live status of the gateway."""
        return self._ask("GET", "/gateway", LiveStatus)

    def entrance(self) -> Entrance:
        """Have the gateway make a one-time code for a browser."""
        return self._ask("POST", "/entrance", Entrance)

    def save(self) -> Saved:
        """Have the gateway save its dirty sessions.

        Raises:
            GatewayBusyError: The save takes longer than `SAVE_SECONDS`; the gateway continues it.
        """
        return self._ask("POST", "/save", Saved, most_seconds=SAVE_SECONDS)

    def delete(self, session_ids: Sequence[str], *, erase: bool) -> DeletedSessions:
        """Have the gateway delete sessions, at most `miniclaw.admin.client.messages.MAX_PAGE`; without a time limit."""
        return self._ask("POST", "/sessions/delete", DeletedSessions, DeleteOrder(list(session_ids), erase))

    def set_pinned(self, session_id: str, pinned: bool) -> Pinned:
        """Have the gateway pin or unpin a session."""
        return self._ask("PUT" if pinned else "DELETE", f"/sessions/{quote(session_id, safe='')}/pin", Pinned)

    def move(self, session_id: str, target_id: str) -> Moved:
        """Have the gateway move a session to another chat."""
        return self._ask("POST", f"/sessions/{quote(session_id, safe='')}/move", Moved, MoveOrder(target_id))

    def cleanup(self, *, confirmed: bool) -> CleanupResult:
        """Have the gateway run a cleanup; without a time limit."""
        return self._ask("POST", "/cleanup/run", CleanupResult, CleanupOrder(confirmed))

    def stop_cleanup(self) -> bool:
        """Stop the cleanup in progress after its present batch; return whether there is one."""
        return self._ask("POST", "/cleanup/stop", Stopping).stopping

    def restore(self, text: str) -> Restored:
        """Have the gateway restore a session, or a file from quarantine, from the trash."""
        return self._ask("POST", f"/trash/{quote(text, safe='')}/restore", Restored)

    def empty_trash(self, entry_ids: Sequence[str]) -> Emptied:
        """Have the gateway delete entries of the trash, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        return self._ask("POST", "/trash/empty", Emptied, EmptyOrder(list(entry_ids)))

    def add_to_quarantine(self, files: Sequence[str]) -> QuarantineOutcomes:
        """Have the gateway move files to quarantine, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        return self._ask("POST", "/quarantine/add", QuarantineOutcomes, QuarantineOrder([*map(_sendable, files)]))

    def restore_quarantined(self, text: str) -> str:
        """Have the gateway restore the session in a file in quarantine; return the session's id."""
        return self._ask("POST", f"/quarantine/{quote(_sendable(text), safe='')}/restore", RestoredFile).session_id

    def delete_quarantined(self, files: Sequence[str], *, erase: bool) -> QuarantineOutcomes:
        """Have the gateway delete files in quarantine, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        order = QuarantineDeleteOrder([*map(_sendable, files)], erase)
        return self._ask("POST", "/quarantine/delete", QuarantineOutcomes, order)

    def _ask(
        self, method: str, path: str, answer: type[T], body: object = None, *, most_seconds: float | None = None
    ) -> T:
        """Send a request, and return its answer.

        Args:
            method: The HTTP method.
            path: The path below `PREFIX`, percent-encoded.
            answer: The type of the answer.
            body: The body, which is sent as JSON; None: there is none.
            most_seconds: Longest time that the gateway may work on it; None: no limit.
        """
        status, version, data = self._request(method, path, body, most_seconds)
        if status >= HTTPStatus.BAD_REQUEST:
            self._refused(status, version, data)
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

    def _refused(self, status: int, version: str | None, data: bytes) -> None:
        """Raise the error of a refusal; never returns."""
        try:
            problem = msgspec.json.decode(data, type=Problem)
        except (ValueError, RecursionError):
            problem = Problem("", status, f"it answers {status}, and does not say why")
        if problem.error:
            raise error_of(Failure(problem.error, problem.detail))
        if version != str(API_VERSION) and status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            raise self._of_another_version(version)
        raise GatewayError(f"the gateway refuses: {problem.detail}")

    def _ended(self) -> GatewayError:
        told = "the gateway ended before it had answered; `miniclaw history` tells what was done until then"
        return GatewayError(f"{self.path}: {told}")

    def _not_understood(self, error: Exception) -> GatewayError:
        return GatewayError(f"{self.path}: what the gateway answers is not understood: {error}")

    def _of_another_version(self, version: str | None) -> GatewayError:
        theirs = "none that this command knows" if version is None else f"version {version}"
        return GatewayError(
            f"{self.path}: the gateway that runs has another version of miniclaw than this command (its API is "
            f"{theirs}, not version {API_VERSION}); restart it"
        )


def _sendable(file_name: str) -> str:
    """Return the name of a file as it can be sent; a name that is not UTF-8 is sent as `printable` shows it."""
    try:
        file_name.encode()
    except UnicodeEncodeError:
        return printable(file_name)
    return file_name


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
    """HTTP over a Unix socket.

    Args:
        path: The socket.
        seconds: Longest wait for the next byte, and for the connection.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
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
        self.sock.settimeout(self.timeout)
        try:
            with short_address(self._path) as address:
                self._connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, NoSocketError) as error:
            raise NoGatewayError(self._path) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise GatewayError(f"{self._path}: could not connect: {error.strerror or error}") from error

    def _connect(self, address: str) -> None:
        give_up_at = time.monotonic() + self._seconds
        while True:
            try:
                self.sock.connect(address)
            except BlockingIOError:  # the backlog is full; the kernel has no event for room in it
                if time.monotonic() >= give_up_at:
                    raise TimeoutError from None
                time.sleep(min(_BACKLOG_PAUSE_SECONDS, self._seconds))
            else:
                return
