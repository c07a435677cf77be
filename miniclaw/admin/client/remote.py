"""The operations of an administrator on sessions that a running gateway owns, over its socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import trio

from miniclaw.admin.client.client import GatewayClient
from miniclaw.admin.client.messages import (
    MAX_PAGE,
    CleanupOrder,
    DeletedSessions,
    DeleteOrder,
    Emptied,
    EmptyOrder,
    Failure,
    Moved,
    MoveOrder,
    Pinned,
    QuarantineDeleteOrder,
    QuarantineOrder,
    QuarantineOutcomes,
    RestoredFile,
    Stopping,
    error_of,
)
from miniclaw.errors import GatewayError, MiniclawError, StoreError
from miniclaw.formats import printable
from miniclaw.session.cleanup import OnProgress
from miniclaw.session.entries import ProblemFile
from miniclaw.session.operations.operations import Deleted
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.trash.entries import Restored, TrashRemoval

T = TypeVar("T")

_ORDER_CHARS: Final = 200_000  # of the names in one order; at 4 bytes each they fit `Limits.max_body_bytes`


class _Remote:
    """Operations that a gateway carries out, without a time limit.

    Cancellation: the call returns at once; the gateway continues the operation.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(1)

    async def _ask(self, method: str, path: str, answer: type[T], body: object = None) -> T:
        ask = partial(self._client.ask, method, path, answer, body)
        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)


class RemoteQuarantine(_Remote):
    """`miniclaw.session.operations.quarantine.QuarantineOperations` of a running gateway."""

    async def add(self, files: Sequence[str]) -> list[FileOutcome]:
        """Move files to quarantine, as `QuarantineOperations.add`."""
        return await self._order("/quarantine/add", files, QuarantineOrder)

    async def restore(self, text: str) -> str:
        """Restore the session in a file, as `QuarantineOperations.restore`."""
        return (await self._ask("POST", f"/quarantine/{_quoted(_sendable(text))}/restore", RestoredFile)).session_id

    async def delete(self, texts: Sequence[str], *, erase: bool = False) -> list[FileOutcome]:
        """Delete files, as `QuarantineOperations.delete`."""
        return await self._order("/quarantine/delete", texts, partial(QuarantineDeleteOrder, erase=erase))

    async def _order(
        self, path: str, files: Sequence[str], make_order: Callable[[list[str]], object]
    ) -> list[FileOutcome]:
        done: list[FileOutcome] = []
        for some in _orders([*map(_sendable, files)]):
            rows = (await self._ask("POST", path, QuarantineOutcomes, make_order(some))).files
            done += [
                FileOutcome(row.name, row.id or "", row.bytes_freed, row.trash_entry or "", _error(row.error))
                for row in rows
            ]
        return done


class RemoteOperations(_Remote):
    """`miniclaw.session.operations.operations.SessionOperations` of a running gateway."""

    @property
    def quarantine(self) -> RemoteQuarantine:
        """The operations on files in quarantine."""
        return RemoteQuarantine(self._client)

    async def delete(self, session_ids: Sequence[str], *, erase: bool = False) -> list[Deleted]:
        """Delete sessions, as `SessionOperations.delete`."""
        done: list[Deleted] = []
        for some in _orders(session_ids):
            for row in (
                await self._ask("POST", "/sessions/delete", DeletedSessions, DeleteOrder(some, erase))
            ).sessions:
                remaining = [ProblemFile(each.file, each.kind, each.reason) for each in row.remaining]
                entry_id, error = row.trash_entry or "", _error(row.error)
                done.append(Deleted(row.session_id, row.bytes_freed, entry_id, error, remaining))
        return done

    async def restore(self, text: str) -> Restored:
        """Restore a session, or a file from quarantine, from the trash, as `SessionOperations.restore`."""
        return await self._ask("POST", f"/trash/{_quoted(text)}/restore", Restored)

    async def empty_trash(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Delete entries of the trash for good, as `SessionOperations.empty_trash`."""
        removals: list[TrashRemoval] = []
        for some in _orders(entry_ids):
            removals += (await self._ask("POST", "/trash/empty", Emptied, EmptyOrder(some))).entries
        return removals

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin or unpin a session, as `SessionOperations.set_pinned`."""
        return (await self._ask("PUT" if pinned else "DELETE", f"/sessions/{_quoted(session_id)}/pin", Pinned)).changed

    async def move(self, session_id: str, target_id: str) -> None:
        """Move a session to another chat, as `SessionOperations.move`."""
        await self._ask("POST", f"/sessions/{_quoted(session_id)}/move", Moved, MoveOrder(target_id))

    async def cleanup(self, *, confirmed: bool = False, on_progress: OnProgress | None = None) -> CleanupResult:  # noqa: ARG002 - as `SessionOperations`
        """Run a cleanup, as `SessionOperations.cleanup`, but without calls of `on_progress`."""
        return await self._ask("POST", "/cleanup/run", CleanupResult, CleanupOrder(confirmed))

    def stop_cleanup(self) -> bool:
        """Stop the cleanup after its present batch. Returns True at once; the call of `cleanup` returns at its end."""
        threading.Thread(target=self._stop_quietly, daemon=True).start()
        return True

    def _stop_quietly(self) -> None:
        # The call of `cleanup` reports these errors.
        with suppress(GatewayError, StoreError):
            self._client.ask("POST", "/cleanup/stop", Stopping)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _error(failure: Failure | None) -> MiniclawError | None:
    return None if failure is None else error_of(failure)


def _sendable(file_name: str) -> str:
    """Return the name of a file as it can be sent; a name that is not UTF-8 is sent as `printable` shows it."""
    try:
        file_name.encode()
    except UnicodeEncodeError:
        return printable(file_name)
    return file_name


def _orders(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names, in their order, in lists short enough for one order."""
    some: list[str] = []
    for name in names:
        if some and (len(some) == MAX_PAGE or sum(map(len, some)) + len(name) > _ORDER_CHARS):
            yield some
            some = []
        some.append(name)
    if some:
        yield some
