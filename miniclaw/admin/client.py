"""The client of a running gateway, over the Unix socket in its workspace. Synchronous, and quick to import.

Errors that the gateway tells are raised again as what they are, with the same text.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from miniclaw.admin.live_status import LiveStatus
from miniclaw.admin.messages import (
    API_VERSION,
    PREFIX,
    VERSION_HEADER,
    CleanupOrder,
    CleanupRun,
    ConfigAnswer,
    DeletedSessions,
    DeleteOrder,
    Emptied,
    EmptyOrder,
    Entrance,
    Failure,
    Pinned,
    Problem,
    Restored,
    Saved,
    Stopping,
    error_of,
)
from miniclaw.errors import GatewayError, NoGatewayError
from miniclaw.web.config import SOCKET_NAME
from miniclaw.web.listening import short_address

T = TypeVar("T")

LOOK_SECONDS: Final = 30
"""How long a gateway may take to answer what changes nothing, or little."""

SAVE_SECONDS: Final = 5
"""How long it may take to save, before somebody looks."""


class GatewayClient:
    """Asks the gateway of a workspace. Each call has a connection of its own; any thread may call.

    All calls raise `NoGatewayError` where nobody answers, `GatewayError` where the gateway does not do what it is
    asked, and what else the gateway says.

    Args:
        workspace: Where its socket lies.
    """

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / SOCKET_NAME

    def config(self) -> dict[str, dict[str, Any]]:
        """Return the configuration that the gateway was started with, as its file would say it."""
        return self._ask("GET", "/config", ConfigAnswer).config

    def gateway(self) -> LiveStatus:
        """Return how it is."""
        return self._ask("GET", "/gateway", LiveStatus)

    def entrance(self) -> Entrance:
        """Have it make a one-time code for a browser."""
        return self._ask("POST", "/entrance", Entrance)

    def save(self) -> Saved:
        """Have it save what is in memory only."""
        return self._ask("POST", "/save", Saved, seconds=SAVE_SECONDS)

    def delete(self, session_ids: Sequence[str], *, erase: bool) -> DeletedSessions:
        """Have it delete sessions, at most `miniclaw.admin.messages.MAX_PAGE`; takes as long as it takes."""
        return self._ask("POST", "/sessions/delete", DeletedSessions, DeleteOrder(list(session_ids), erase), None)

    def set_pinned(self, session_id: str, pinned: bool) -> Pinned:
        """Have it pin or unpin a session."""
        return self._ask("PUT" if pinned else "DELETE", f"/sessions/{quote(session_id, safe='')}/pin", Pinned)

    def cleanup(self, *, confirmed: bool) -> CleanupRun:
        """Have it run a cleanup; takes as long as that takes."""
        return self._ask("POST", "/cleanup/run", CleanupRun, CleanupOrder(confirmed), None)

    def stop_cleanup(self) -> bool:
        """Have the cleanup that is going end after the batch it is at; return whether there is one."""
        return self._ask("POST", "/cleanup/stop", Stopping).stopping

    def restore(self, text: str) -> str:
        """Have it restore a session from the trash; return its id."""
        return self._ask("POST", f"/trash/{quote(text, safe='')}/restore", Restored).session_id

    def empty_trash(self, entry_ids: Sequence[str]) -> Emptied:
        """Have it delete entries of the trash, at most `miniclaw.admin.messages.MAX_PAGE`."""
        return self._ask("POST", "/trash/empty", Emptied, EmptyOrder(list(entry_ids)), None)

    def _ask(
        self, method: str, path: str, answer: type[T], body: object = None, seconds: float | None = LOOK_SECONDS
    ) -> T:
        """Ask, and return the answer.

        Args:
            method: The method.
            path: Below `PREFIX`, percent-encoded.
            answer: What is expected.
            body: Sent as JSON; None: none.
            seconds: How long may pass without a word; None: any time.
        """
        status, version, data = self._request(method, path, body, seconds)
        if status >= HTTPStatus.BAD_REQUEST:
            self._refused(status, version, data)
        if version != str(API_VERSION):
            raise self._of_another_version(version)
        try:
            return msgspec.json.decode(data, type=answer)
        except (ValueError, RecursionError) as error:
            raise GatewayError(f"{self.path}: what the gateway answers is not understood: {error}") from error

    def _request(self, method: str, path: str, body: object, seconds: float | None) -> tuple[int, str | None, bytes]:
        connection = _Connection(self.path, seconds)
        headers = {} if body is None else {"content-type": "application/json"}
        encoded = None if body is None else msgspec.json.encode(body)
        try:
            connection.request(method, PREFIX + path, encoded, headers)
            response = connection.getresponse()
            return response.status, response.headers.get(VERSION_HEADER), response.read()
        except TimeoutError as error:
            raise GatewayError(f"{self.path}: the gateway did not answer within {seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            told = "the gateway ended before it had answered; `miniclaw history` tells what was done until then"
            raise GatewayError(f"{self.path}: {told}") from error
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

    def _of_another_version(self, version: str | None) -> GatewayError:
        theirs = "none that this command knows" if version is None else f"version {version}"
        return GatewayError(
            f"{self.path}: the gateway that runs has another version of miniclaw than this command (its API is "
            f"{theirs}, not version {API_VERSION}); restart it"
        )


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, seconds: float | None) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect.

        Raises:
            NoGatewayError: Nobody answers.
            GatewayError: It may not be asked.
        """
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            with short_address(self._path) as address:
                self.sock.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NoGatewayError(self._path) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise GatewayError(f"{self._path}: could not connect: {error.strerror or error}") from error
