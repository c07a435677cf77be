"""What the runtime needs of a store; `miniclaw.session.live.store` has the one over files."""

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
        """Whether everything was listed."""
        ...

    async def next_batch(self) -> list[ScanRow]:
        """Return some more rows; they may be none before the end, where sessions stay that only count."""
        ...

    def take_kept(self) -> tuple[int, int]:
        """Return how many sessions stay that got no row since this was asked, and their bytes."""
        ...


class SessionStore(Protocol):
    """What the runtime needs of a store. One process owns it at a time."""

    async def load(self, session_id: str, *, finished: Callable[[], None] | None = None) -> Session:
        """Load a session.

        The caller holds the session's lock until `finished` is called, exactly once, when no work is under way any
        more; so also for `header` and `quarantine`.

        Raises:
            SessionNotFoundError: There is none. Nothing else may be taken for that.
            CorruptSessionError: It cannot be read as a session.
            StoreError: It could not be read.
        """
        ...

    async def compare(self, session: Session, *, finished: Callable[[], None] | None = None) -> Difference:
        """Return how a session that was loaded or saved differs from the store's.

        The caller holds the session's lock as for `load`.

        Raises:
            StoreError: It does not say.
        """
        ...

    async def header(self, session_id: str, *, finished: Callable[[], None] | None = None) -> SessionHeader:
        """Read only the header of a session; raises as `load`."""
        ...

    async def save(self, sessions: Sequence[Session], settled: Callable[[SaveOutcome], None]) -> None:
        """Save snapshots of sessions.

        Args:
            sessions: The caller holds the lock of each.
            settled: Called exactly once for each session, when no work on it is under way any more.

        Cancellation: what has not begun is settled as an error at once; what has begun goes on in the background,
        and is settled when it ends.
        """
        ...

    def scan(
        self, verify: Verify | None = None, staying: Staying | None = None
    ) -> AbstractAsyncContextManager[StoreScan]:
        """List all there is, once.

        Args:
            verify: Which headers to check against the whole session, as before a removal; called in a thread.
            staying: What may be counted only, and get no row.

        Raises:
            StoreError: It cannot be listed.
        """
        ...

    def keys(self, session_id: str) -> Sequence[str]:
        """Return the keys under which the session may lie."""
        ...

    def describe(self, key: str) -> str:
        """Return where that is, for a person."""
        ...

    def check_process(self) -> None:
        """Refuse to be used in a forked child.

        Raises:
            ForkedRuntimeError: This is one.
        """
        ...

    def check_owned(self) -> None:
        """Refuse what could not be saved, before it is accepted.

        Raises:
            OwnershipLostError: Another process owns the sessions by now.
            ForkedRuntimeError: As `check_process`.
        """
        ...

    async def check_place(self) -> Place:
        """Look whether what is saved is where people look for it, and whether this process still owns it."""
        ...

    async def say_stopping(self) -> None:
        """Let a process that wants to own the sessions know that this one is stopping; it waits for that.

        Cancellation: it is said all the same.
        """
        ...

    async def examine(self, keys: Sequence[str]) -> dict[str, ScanRow | None]:
        """Read sessions whole, as a removal does, and return what they are by their keys; None: it is gone."""
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
            keys: As they were listed. The caller holds the lock of each session.
            consent: Called once, with the headers of those that are sound (maybe none), and nothing can come between
                its answer and the removal.
            order: What goes to the trash; None: nothing does.
            settled: Called on the trio thread with one removal for each key, in their order; not called where nothing
                was begun. The epilogue is done in the worker thread.
            finished: Called exactly once, after `settled`, when no work is under way any more.

        Raises:
            StoreError: The batch could not be begun; nothing was removed.

        Cancellation: the caller leaves at once; a removal that has begun ends in the background, and is settled then.
        """
        ...

    async def quarantine(self, session_id: str, *, finished: Callable[[], None] | None = None) -> str:
        """Put what cannot be read out of the session's way, keep it, and return where it is now.

        Raises:
            StoreError: It is where it was.
        """
        ...

    async def leftovers(self, now: datetime, names: Sequence[str]) -> list[Leftover]:
        """Return what lies beside the sessions.

        Args:
            now: The time by which files are old enough to be nobody's.
            names: What a scan has found that is no session.
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
            leftovers: What is removed.
            settled: As for `remove`.
            order: Which files in quarantine go to the trash; None: none do.

        Cancellation: as `remove`.
        """
        ...

    async def free_disk(self) -> int | None:
        """Return how many bytes are free where the sessions lie; None: nobody knows."""
        ...

    async def find_trashed(self, text: str) -> tuple[str, str]:
        """Return which session and which entry of the trash is meant by an entry's id, or by a session's: its newest.

        Raises:
            TrashEntryNotFoundError: There is none.
            CorruptTrashError: It is damaged.
        """
        ...

    async def restore(self, entry_id: str, now: datetime, *, finished: Callable[[], None] | None = None) -> str:
        """Put a session from the trash back into its place, as used just now; return its id.

        The caller holds the session's lock until `finished` is called, and knows that it is not in memory.

        Raises:
            SessionExistsError: There is a session of that id.
            StoreError: The entry is still there.
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
        """Give a session another id, and change nothing else of it.

        The caller holds the locks of both ids until `finished` is called, has saved all changes of the session, and has
        no session of the new id in memory.

        Args:
            session_id: The session.
            target_id: The new id.
            may_begin: Asked on the trio thread before anything is changed.
            settled: Called on the trio thread with the outcome; not called where nothing was begun. The epilogue is
                done in the worker thread.
            finished: As for `remove`.

        Cancellation: as `remove`.
        """
        ...
