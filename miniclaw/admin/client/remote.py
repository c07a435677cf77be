"""What an administrator does to sessions that a running gateway owns: the same, over its socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio

from miniclaw.admin.client.client import GatewayClient
from miniclaw.admin.client.messages import MAX_PAGE, DeletedSession, QuarantineOutcome, error_of
from miniclaw.errors import GatewayError, StoreError
from miniclaw.session.cleanup import OnProgress
from miniclaw.session.operations.operations import Deleted
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.trash.entries import Restored, TrashRemoval

T = TypeVar("T")

_ORDER_CHARS: Final = 200_000  # of the names in one order; what a gateway takes is more, even if all are escaped


class _Remote:
    """Asks a gateway.

    Cancellation: the caller leaves at once; what the gateway was asked for goes on.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(1)

    async def _ask(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)


class RemoteQuarantine(_Remote):
    """`miniclaw.session.operations.quarantine.QuarantineOperations` of a running gateway; see there."""

    async def add(self, files: Sequence[str]) -> list[FileOutcome]:
        """Move files to quarantine; see `QuarantineOperations.add`."""
        done: list[FileOutcome] = []
        for some in _orders(files):
            done += map(_outcome, (await self._ask(partial(self._client.add_to_quarantine, some))).files)
        return done

    async def restore(self, text: str) -> str:
        """Put the session in a file into its place; see `QuarantineOperations.restore`."""
        return await self._ask(partial(self._client.restore_quarantined, text))

    async def delete(self, texts: Sequence[str], *, erase: bool = False) -> list[FileOutcome]:
        """Delete files; see `QuarantineOperations.delete`."""
        done: list[FileOutcome] = []
        for some in _orders(texts):
            done += map(_outcome, (await self._ask(partial(self._client.delete_quarantined, some, erase=erase))).files)
        return done


class RemoteOperations(_Remote):
    """`miniclaw.session.operations.operations.SessionOperations` of a running gateway; see there."""

    async def delete(self, session_ids: Sequence[str], *, erase: bool = False) -> list[Deleted]:
        """Delete sessions; see `SessionOperations.delete`."""
        done: list[Deleted] = []
        for some in _orders(session_ids):
            told = await self._ask(partial(self._client.delete, some, erase=erase))
            done += [_deleted(row) for row in told.sessions]
        return done

    @property
    def quarantine(self) -> RemoteQuarantine:
        """The operations on files in quarantine; see `SessionOperations.quarantine`."""
        return RemoteQuarantine(self._client)

    async def restore(self, text: str) -> Restored:
        """Take a session, or a file that lay in quarantine, out of the trash; see `SessionOperations.restore`."""
        return await self._ask(partial(self._client.restore, text))

    async def empty_trash(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Remove entries of the trash; see `SessionOperations.empty_trash`."""
        removals: list[TrashRemoval] = []
        for some in _orders(entry_ids):
            removals += (await self._ask(partial(self._client.empty_trash, some))).entries
        return removals

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, or unpin it; see `SessionOperations.set_pinned`."""
        return (await self._ask(partial(self._client.set_pinned, session_id, pinned))).changed

    async def move(self, session_id: str, target_id: str) -> None:
        """Move a session; see `SessionOperations.move`."""
        await self._ask(partial(self._client.move, session_id, target_id))

    async def cleanup(self, *, confirmed: bool = False, on_progress: OnProgress | None = None) -> CleanupResult:  # noqa: ARG002
        """Run a cleanup; see `SessionOperations.cleanup`. There is no progress to be seen."""
        return await self._ask(partial(self._client.cleanup, confirmed=confirmed))

    def stop_cleanup(self) -> bool:
        """Have the cleanup end after the batch it is at. Does not wait: the cleanup itself tells that it has ended."""
        threading.Thread(target=self._stop_quietly, daemon=True).start()
        return True

    def _stop_quietly(self) -> None:
        # What is wrong is told by the cleanup, which is asked as well.
        with suppress(GatewayError, StoreError):
            self._client.stop_cleanup()


def _deleted(row: DeletedSession) -> Deleted:
    error = None if row.error is None else error_of(row.error)
    return Deleted(row.session_id, row.bytes_freed, row.trash_entry or "", error)


def _outcome(row: QuarantineOutcome) -> FileOutcome:
    error = None if row.error is None else error_of(row.error)
    return FileOutcome(row.name, row.id or "", row.bytes_freed, row.trash_entry or "", error)


def _orders(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names, in their order, in lists that are short enough for one order."""
    some: list[str] = []
    for name in names:
        if some and (len(some) == MAX_PAGE or sum(map(len, some)) + len(name) > _ORDER_CHARS):
            yield some
            some = []
        some.append(name)
    if some:
        yield some
