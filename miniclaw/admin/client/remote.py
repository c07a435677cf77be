"""The operations of an administrator on sessions that a running gateway owns, over its socket."""

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
from miniclaw.session.entries import ProblemFile
from miniclaw.session.operations.operations import Deleted
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.trash.entries import Restored, TrashRemoval

T = TypeVar("T")

_ORDER_CHARS: Final = 200_000  # of the names in one order; at 4 bytes each they fit `MAX_BODY_BYTES` of the API


class _Remote:
    """Operations that a gateway carries out.

    Cancellation: the call returns at once; the gateway continues the operation.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(1)

    async def _ask(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)


class RemoteQuarantine(_Remote):
    """`miniclaw.session.operations.quarantine.QuarantineOperations` of a running gateway."""

    async def add(self, files: Sequence[str]) -> list[FileOutcome]:
        """Move files to quarantine, as `QuarantineOperations.add`."""
        done: list[FileOutcome] = []
        for some in _orders(files):
            done += map(_outcome, (await self._ask(partial(self._client.add_to_quarantine, some))).files)
        return done

    async def restore(self, text: str) -> str:
        """Restore the session in a file, as `QuarantineOperations.restore`."""
        return await self._ask(partial(self._client.restore_quarantined, text))

    async def delete(self, texts: Sequence[str], *, erase: bool = False) -> list[FileOutcome]:
        """Delete files, as `QuarantineOperations.delete`."""
        done: list[FileOutcome] = []
        for some in _orders(texts):
            done += map(_outcome, (await self._ask(partial(self._client.delete_quarantined, some, erase=erase))).files)
        return done


class RemoteOperations(_Remote):
    """`miniclaw.session.operations.operations.SessionOperations` of a running gateway."""

    async def delete(self, session_ids: Sequence[str], *, erase: bool = False) -> list[Deleted]:
        """Delete sessions, as `SessionOperations.delete`."""
        done: list[Deleted] = []
        for some in _orders(session_ids):
            told = await self._ask(partial(self._client.delete, some, erase=erase))
            done += [_deleted(row) for row in told.sessions]
        return done

    @property
    def quarantine(self) -> RemoteQuarantine:
        """The operations on files in quarantine."""
        return RemoteQuarantine(self._client)

    async def restore(self, text: str) -> Restored:
        """Restore a session, or a file from quarantine, from the trash, as `SessionOperations.restore`."""
        return await self._ask(partial(self._client.restore, text))

    async def empty_trash(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Delete entries of the trash for good, as `SessionOperations.empty_trash`."""
        removals: list[TrashRemoval] = []
        for some in _orders(entry_ids):
            removals += (await self._ask(partial(self._client.empty_trash, some))).entries
        return removals

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin or unpin a session, as `SessionOperations.set_pinned`."""
        return (await self._ask(partial(self._client.set_pinned, session_id, pinned))).changed

    async def move(self, session_id: str, target_id: str) -> None:
        """Move a session to another chat, as `SessionOperations.move`."""
        await self._ask(partial(self._client.move, session_id, target_id))

    async def cleanup(self, *, confirmed: bool = False, on_progress: OnProgress | None = None) -> CleanupResult:  # noqa: ARG002
        """Run a cleanup, as `SessionOperations.cleanup`, but without calls of `on_progress`."""
        return await self._ask(partial(self._client.cleanup, confirmed=confirmed))

    def stop_cleanup(self) -> bool:
        """Stop the cleanup after its present batch. Returns True at once; the call of `cleanup` returns at its end."""
        threading.Thread(target=self._stop_quietly, daemon=True).start()
        return True

    def _stop_quietly(self) -> None:
        # The call of `cleanup` reports these errors.
        with suppress(GatewayError, StoreError):
            self._client.stop_cleanup()


def _deleted(row: DeletedSession) -> Deleted:
    error = None if row.error is None else error_of(row.error)
    remaining = [ProblemFile(each.file, each.kind, each.reason) for each in row.remaining]
    return Deleted(row.session_id, row.bytes_freed, row.trash_entry or "", error, remaining)


def _outcome(row: QuarantineOutcome) -> FileOutcome:
    error = None if row.error is None else error_of(row.error)
    return FileOutcome(row.name, row.id or "", row.bytes_freed, row.trash_entry or "", error)


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
