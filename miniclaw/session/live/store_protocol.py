"""The protocol of a session store; `miniclaw.session.live.store` implements it over files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from miniclaw.errors import StoreError
from miniclaw.session.entries import Leftover, LeftoverRemoval, ScanRow, Verify
from miniclaw.session.files.on_disk import Difference
from miniclaw.session.files.ownable import Place
from miniclaw.session.live.save_job import SaveOutcome
from miniclaw.session.removal.relocation import Relocation
from miniclaw.session.removal.transaction import Consent, Removal, TrashOrder
from miniclaw.session.retention.policy import Staying
from miniclaw.session.threads import Epilogue
from miniclaw.session.types import Session, SessionHeader


class StoreScan(Protocol):
    """A listing in progress."""

    @property
    def complete(self) -> bool:
        """True once every entry is listed."""
        ...

    async def next_batch(self) -> list[ScanRow]:
        """Return the next rows; the list may be empty before the end, if every listed session is only counted."""
        ...

    def take_kept(self) -> tuple[int, int]:
        """Return the number and the bytes of the sessions that were only counted since the last call."""
        ...


class SessionStore(Protocol):
    """A store of sessions. One process owns it at a time."""

    async def load(self, session_id: str, *, finished: Callable[[], None] | None = None) -> Session:
        """Load a session.

        The caller holds the session's lock until `finished` is called. The call comes exactly once, when no work is
        under way any more. The same holds for `header` and `quarantine`.

        Raises:
            SessionNotFoundError: The session does not exist. No other failure may be reported as this one.
            CorruptSessionError: The file does not hold a valid session.
            StoreError: The session could not be read.
        """
        ...

    async def compare(self, session: Session, *, finished: Callable[[], None] | None = None) -> Difference:
        """Compare a session that was loaded or saved with the store's copy.

        The caller holds the session's lock as for `load`.

        Raises:
            StoreError: The store's copy could not be examined.
        """
        ...

    async def header(self, session_id: str, *, finished: Callable[[], None] | None = None) -> SessionHeader:
        """Read only the header of a session; raise the errors of `load`."""
        ...

    async def save(self, sessions: Sequence[Session], settled: Callable[[SaveOutcome], None]) -> None:
        """Save snapshots of sessions.

        Args:
            sessions: The snapshots; the caller holds the lock of each session.
            settled: Called exactly once for each session, when no work on it is under way any more.

        Cancellation: a save that has not begun is settled as an error at once. One that has begun continues in the
        background and is settled when it ends.
        """
        ...

    def scan(
        self, verify: Verify | None = None, staying: Staying | None = None
    ) -> AbstractAsyncContextManager[StoreScan]:
        """List the whole store once.

        Args:
            verify: Selects the headers to check against the whole session, as before a removal; called in a worker
                thread.
            staying: Selects the sessions that may be counted only and get no row.

        Raises:
            StoreError: The store cannot be listed.
        """
        ...

    def keys(self, session_id: str) -> Sequence[str]:
        """Return the keys under which the session may be stored."""
        ...

    def describe(self, key: str) -> str:
        """Return the location of a key, for display."""
        ...

    def check_process(self) -> None:
        """Refuse to be used in a forked child.

        Raises:
            ForkedRuntimeError: This process is a forked child.
        """
        ...

    def check_owned(self) -> None:
        """Refuse a change that could not be saved, before it is accepted.

        Raises:
            OwnershipLostError: Another process owns the sessions by now.
            ForkedRuntimeError: As `check_process`.
        """
        ...

    async def check_place(self) -> Place:
        """Check that the path still leads to the store and that this process still owns it."""
        ...

    async def say_stopping(self) -> None:
        """Announce that this process is stopping; a process that wants to own the sessions then waits.

        Cancellation: the announcement is made nevertheless.
        """
        ...

    async def examine(self, keys: Sequence[str]) -> dict[str, ScanRow | None]:
        """Read whole sessions, as a removal does, and return a row for each key; None for a vanished session."""
        ...

    async def remove(
        self,
        keys: Sequence[str],
        consent: Consent,
        *,
        finished: Callable[[], None],
        settled: Callable[[list[Removal]], Epilogue],
        order: TrashOrder | None = None,
    ) -> None:
        """Remove sessions, each verified at the last moment.

        Args:
            keys: The keys from the listing. The caller holds the lock of each session.
            consent: Called once, with the headers of the sound sessions (maybe none). Nothing can come between its
                answer and the removal.
            order: The sessions to move to the trash; None: none.
            settled: Called on the trio thread with one removal for each key, in the order of the keys; not called if
                nothing was begun. The epilogue runs in the worker thread.
            finished: Called exactly once, after `settled`, when no work is under way any more.

        Raises:
            StoreError: The batch could not be begun; nothing was removed.

        Cancellation: the caller returns at once; a removal that has begun ends in the background and is settled then.
        """
        ...

    async def quarantine(self, session_id: str, *, finished: Callable[[], None] | None = None) -> str:
        """Move an unreadable file from the session's place to quarantine, and return its new location.

        Raises:
            StoreError: The file was not moved.
        """
        ...

    async def leftovers(self, now: datetime, names: Sequence[str]) -> list[Leftover]:
        """List the leftovers beside the sessions.

        Args:
            now: The present, by which the age of an abandoned file is judged.
            names: The entries that a scan has found not to be sessions.
        """
        ...

    async def remove_leftovers(
        self,
        leftovers: Sequence[Leftover],
        settled: Callable[[list[LeftoverRemoval]], Epilogue],
        *,
        order: TrashOrder | None = None,
    ) -> None:
        """Remove leftovers.

        Args:
            leftovers: The leftovers.
            settled: As for `remove`.
            order: The files in quarantine to move to the trash; None: none.

        Cancellation: as `remove`.
        """
        ...

    async def free_disk(self) -> int | None:
        """Return the number of free bytes on the disk of the sessions; None if it is unknown."""
        ...

    async def find_trashed(self, text: str) -> tuple[str, str]:
        """Return the session id and the entry id for a text: an entry's id, or a session's for its newest entry.

        Raises:
            TrashEntryNotFoundError: The trash has no such entry.
            CorruptTrashError: The entry is damaged.
        """
        ...

    async def restore(self, entry_id: str, now: datetime, *, finished: Callable[[], None] | None = None) -> str:
        """Restore a session from the trash, as used just now, and return its id.

        The caller holds the session's lock until `finished` is called, and knows that it is not in memory.

        Raises:
            SessionExistsError: A session of that id exists.
            StoreError: The session was not restored; the trash still has the entry.
        """
        ...

    async def relocate(
        self,
        session_id: str,
        target_id: str,
        may_begin: Callable[[], bool],
        *,
        finished: Callable[[], None],
        settled: Callable[[Relocation | StoreError], Epilogue],
    ) -> None:
        """Give a session another id and change nothing else.

        The caller holds the locks of both ids until `finished` is called, has saved all changes of the session, and has
        no session of the new id in memory.

        Args:
            session_id: The session.
            target_id: The new id.
            may_begin: Asked on the trio thread before anything is changed.
            settled: Called on the trio thread with the outcome; not called if nothing was begun. The epilogue runs in
                the worker thread.
            finished: As for `remove`.

        Cancellation: as `remove`.
        """
        ...
