"""The client of a running gateway, over the Unix socket in its workspace. Synchronous, and quick to import.

Errors that the gateway tells are raised again as what they are, with the same text. A gateway may take as long as it
takes, but it sends a sign of life each second; one that is silent is given up, and is not asked again.
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
"""How long looking waits for a gateway that is at work saving, before it shows what is on the disk."""

_BACKLOG_PAUSE_SECONDS: Final = 0.05


class GatewayClient:
    """Asks the gateway of a workspace. Each call has a connection of its own; any thread may call.

    All calls raise `NoGatewayError` without a gateway at the socket, `GatewayStalledError` where no byte came from it
    in time, `GatewayError` where it does not do what it is asked, and the errors that the gateway tells.

    Args:
        workspace: Where its socket lies.
        silence_seconds: How long to wait for its next byte; None: `miniclaw.admin.client.messages.SILENCE_SECONDS`.
    """

    def __init__(self, workspace: Path, *, silence_seconds: float | None = None) -> None:
        self.path = workspace / SOCKET_NAME
        self._silence_seconds = messages.SILENCE_SECONDS if silence_seconds is None else silence_seconds
        self._stalled: GatewayStalledError | None = None  # a stopped process is waited for once, not for each call

    def config(self) -> dict[str, dict[str, Any]]:
        """Return the configuration that the gateway goes by, as its file would say it."""
        return self._ask("GET", "/config", ConfigAnswer).config

    def gateway(self) -> LiveStatus:
        """Return how it is."""
        return self._ask("GET", "/gateway", LiveStatus)

    def entrance(self) -> Entrance:
        """Have it make a one-time code for a browser."""
        return self._ask("POST", "/entrance", Entrance)

    def save(self) -> Saved:
        """Have it save what is in memory only.

        Raises:
            GatewayBusyError: It is at it for longer than `SAVE_SECONDS`, and goes on.
        """
        return self._ask("POST", "/save", Saved, most_seconds=SAVE_SECONDS)

    def delete(self, session_ids: Sequence[str], *, erase: bool) -> DeletedSessions:
        """Have it delete sessions, at most `miniclaw.admin.client.messages.MAX_PAGE`; takes as long as it takes."""
        return self._ask("POST", "/sessions/delete", DeletedSessions, DeleteOrder(list(session_ids), erase))

    def set_pinned(self, session_id: str, pinned: bool) -> Pinned:
        """Have it pin or unpin a session."""
        return self._ask("PUT" if pinned else "DELETE", f"/sessions/{quote(session_id, safe='')}/pin", Pinned)

    def move(self, session_id: str, target_id: str) -> Moved:
        """Have it move a session to another chat."""
        return self._ask("POST", f"/sessions/{quote(session_id, safe='')}/move", Moved, MoveOrder(target_id))

    def cleanup(self, *, confirmed: bool) -> CleanupResult:
        """Have it run a cleanup; takes as long as that takes."""
        return self._ask("POST", "/cleanup/run", CleanupResult, CleanupOrder(confirmed))

    def stop_cleanup(self) -> bool:
        """Have the cleanup that is going end after the batch it is at; return whether there is one."""
        return self._ask("POST", "/cleanup/stop", Stopping).stopping

    def restore(self, text: str) -> Restored:
        """Have it restore a session, or a file that lay in quarantine, from the trash."""
        return self._ask("POST", f"/trash/{quote(text, safe='')}/restore", Restored)

    def empty_trash(self, entry_ids: Sequence[str]) -> Emptied:
        """Have it delete entries of the trash, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        return self._ask("POST", "/trash/empty", Emptied, EmptyOrder(list(entry_ids)))

    def add_to_quarantine(self, files: Sequence[str]) -> QuarantineOutcomes:
        """Have it move files to quarantine, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        return self._ask("POST", "/quarantine/add", QuarantineOutcomes, QuarantineOrder([*map(_sendable, files)]))

    def restore_quarantined(self, text: str) -> str:
        """Have it restore the session in a file in quarantine; return its id."""
        return self._ask("POST", f"/quarantine/{quote(_sendable(text), safe='')}/restore", RestoredFile).session_id

    def delete_quarantined(self, files: Sequence[str], *, erase: bool) -> QuarantineOutcomes:
        """Have it delete files in quarantine, at most `miniclaw.admin.client.messages.MAX_PAGE`."""
        order = QuarantineDeleteOrder([*map(_sendable, files)], erase)
        return self._ask("POST", "/quarantine/delete", QuarantineOutcomes, order)

    def _ask(
        self, method: str, path: str, answer: type[T], body: object = None, *, most_seconds: float | None = None
    ) -> T:
        """Ask, and return the answer.

        Args:
            method: The method.
            path: Below `PREFIX`, percent-encoded.
            answer: What is expected.
            body: Sent as JSON; None: none.
            most_seconds: How long it may be at work; None: any time.
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
        """Send a request; return status, version of the API, and body of the answer."""
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
        """Raise what the gateway tells; raises in any case."""
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
    """Return the name of a file as it can be sent: one that is not UTF-8 as `printable` shows it."""
    try:
        file_name.encode()
    except UnicodeEncodeError:
        return printable(file_name)
    return file_name


def _read_late(response: http.client.HTTPResponse, most_seconds: float | None) -> bytes:
    """Return a body before which signs of life come.

    Raises:
        GatewayBusyError: Only those came for so long.
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
        seconds: How long may pass without a byte, and until a connection is made.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        """Connect.

        Raises:
            NoGatewayError: Nobody answers.
            TimeoutError: The gateway takes no connection: so many wait already.
            GatewayError: It may not be asked.
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
