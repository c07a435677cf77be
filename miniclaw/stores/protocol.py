"""The protocol between a session runtime and its store; it is the specification for the author of a store.

Three rules make it possible to implement it well over files, in memory, and over a server. *A change is sent, and not
the session*: a store appends. *A condition is data*: the store checks it in the step of the change, and calls nothing
back. *Only the holder of a lease changes a session*: everything else reads, pins, announces, or removes what is unused.

Each method is one step: all of it happens or nothing, and no other call sees it in part. What a method returned is
durable. A store decides by its own clock alone.

Errors: a method raises only the errors that it names, `StoreUnavailableError`, and `RuntimeClosedError` after the store
was closed. `StoreUnavailableError` means that the outcome is not known. The caller repeats the call with the same `op`;
a call without `op` can be repeated as it is.

Cancellation: a cancelled call may or may not have happened, but not in part; the caller may repeat it likewise.

`miniclaw.testing.check_store` checks a store against this text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Protocol

from miniclaw.session.entries import Leftover, QuarantinedFile
from miniclaw.stores.types import (
    AuditLine,
    Candidate,
    Change,
    Header,
    Lease,
    Outcome,
    Restoration,
    Saved,
    Stored,
    Totals,
    Trashed,
    Turn,
)


class SessionStore(Protocol):
    """A store of sessions. Lists come in pages: the next page is asked for with the last item of the page before.

    A page has at most `limit` items, and fewer only at the end. An item that exists during the whole list, and fits its
    filters, is in exactly one page.
    """

    @property
    def owner(self) -> str:
        """Name of the program in leases and claims, unique to this store object; not empty."""
        ...

    @property
    def clock(self) -> Callable[[], datetime] | None:
        """The clock of this store, if it runs in the same process; None: it is another machine's."""
        ...

    # Leases --------------------------------------------------------------------------------------------------

    async def acquire(self, session_id: str, duration: timedelta) -> Lease:
        """Take the lease on a session, which need not exist, from now on for `duration`.

        A lease that `owner` itself holds is replaced: the new token makes the earlier one invalid.

        Raises:
            SessionBusyError: Another owner's lease is in force; nothing has changed.
        """
        ...

    async def renew(self, leases: Sequence[Lease], duration: timedelta) -> AbstractSet[str]:
        """Let leases last for `duration` from now on; return the ids of those that are lost, which stay lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """End a lease; without effect if it has ended or was replaced."""
        ...

    # Reading -------------------------------------------------------------------------------------------------

    async def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        """Return a session with its newest `tail` messages, at least 0, or with all; None: there is none. No use."""
        ...

    async def header(self, session_id: str) -> Header | None:
        """Return the header of a session; None: there is none. No use."""
        ...

    async def headers(
        self,
        *,
        channel: str | None = None,
        older_than: timedelta | None = None,
        younger_than: timedelta | None = None,
        pinned: bool | None = None,
        after: str = "",
        limit: int = 200,
    ) -> Sequence[Header]:
        """Return the first headers that fit, by ascending `session_id` in the order of Unicode code points.

        Args:
            channel: Only those of this channel; None: of any.
            older_than: Only those whose last use is longer ago, exclusive.
            younger_than: Only those whose last use is less long ago, exclusive.
            pinned: Only those with or without a pin; None: both.
            after: Only those with a greater id.
            limit: Most headers to return, at least 1.
        """
        ...

    async def totals(self) -> Totals:
        """Return the numbers and sizes of all sessions and entries of the trash."""
        ...

    # Changing ------------------------------------------------------------------------------------------------

    async def commit(self, lease: Lease, change: Change) -> Saved:
        """Make a change; create the session if `lease.revision` is 0.

        If the session's latest change has the same `op`, the answer is that of the first time, with the same revision,
        also if the lease is lost meanwhile.

        Raises:
            LeaseLostError: The lease has ended or was replaced; nothing has changed.
            RevisionConflictError: The session does not have `lease.revision`; nothing has changed.
        """
        ...

    async def pin(self, session_id: str, pinned: bool) -> bool:
        """Pin a session or unpin it; return whether that changed it. It needs no lease, and is no use.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    # Removing ------------------------------------------------------------------------------------------------

    async def announce(self, candidates: Sequence[Candidate], delay: timedelta) -> int:
        """Announce removals: set `due_at` to `delay` from now, unless an earlier time is set; return for how many.

        Only sessions whose last use is that of the candidate, and that are not pinned, are announced. `due_at` ends
        with the next use.
        """
        ...

    async def remove_if_unused(
        self,
        candidates: Sequence[Candidate],
        *,
        min_age: timedelta,
        trash_for: timedelta | None,
        reason: str,
        by: str,
        op: str,
        now: datetime,
        announced: bool = False,
    ) -> Sequence[Outcome]:
        """Remove those of the candidates that are still unused; return one outcome for each, in the same order.

        Each removal is a step of its own, with its line in the audit log.

        Args:
            candidates: The sessions; each is removed only if its last use is still that of the candidate.
            min_age: Only sessions whose last use is longer ago, exclusive, are removed.
            trash_for: Time for which they are kept in the trash; None: they are deleted for good.
            reason: The rule, for trash and audit log.
            by: The actor, likewise.
            op: Name of the run. A candidate that this run has removed already is answered as ``removed`` again.
            now: The caller's clock.
            announced: If true, only sessions whose `due_at` is reached are removed.
        """
        ...

    async def remove(self, lease: Lease, *, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        """Remove a session at its holder's wish, whatever its age, pin and revision; ``removed`` or ``gone``.

        The lease stays in force; its revision is 0 from now on. A repetition with the same `op` is answered as the
        first time, also if the lease is lost.

        Raises:
            LeaseLostError: The lease has ended or was replaced; nothing has changed.
        """
        ...

    # Trash ---------------------------------------------------------------------------------------------------

    async def trash(
        self, *, session_id: str | None = None, before: Trashed | None = None, limit: int = 200
    ) -> Sequence[Trashed]:
        """Return entries of the trash, of one session or of all: the newest removal first, else the greatest id.

        Args:
            session_id: Only entries of this session.
            before: Only entries that come after this one in that order; it need not exist any more.
            limit: Most entries to return, at least 1.
        """
        ...

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        """Restore a session with its messages, metadata and pin, as used just now, under a new revision.

        The entry leaves the trash. A repetition with the same `op` is answered as the first time.
        """
        ...

    async def empty_trash(self, entry_ids: Sequence[str] | None, *, by: str, op: str) -> Sequence[Trashed]:
        """Delete entries for good: these, or with None those that have expired; return the ones deleted by this call.

        With None, one call may delete a part; the caller repeats it until nothing is returned.
        """
        ...

    # Records -------------------------------------------------------------------------------------------------

    async def note(self, text: str, *, by: str, op: str) -> None:
        """Append a caller's note to the audit log."""
        ...

    async def audit(self, *, before: int | None = None, limit: int = 200) -> Sequence[AuditLine]:
        """Return the newest lines of the audit log, the newest first; only those with a number less than `before`.

        A store may drop lines that are older than the sessions' longest retention.
        """
        ...

    async def begin_sweep(self, interval: timedelta, claim: timedelta) -> Turn:
        """Claim the sweep for `claim`, if the last completed one began at least `interval` ago, or none is known.

        Args:
            interval: Time between the beginnings of two sweeps, at least 0.
            claim: Time after which another program may begin the sweep, if this one has not ended it.
        """
        ...

    async def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        """End a claim; return whether it was still in force.

        If it was, and the sweep was `completed`, its beginning and its `note` are remembered for the next turn.
        """
        ...


def check_store(store: object) -> None:
    """Raise `TypeError` unless an argument has what a store has; a class in place of an object of it is no store."""
    if isinstance(store, type):
        raise TypeError(f"store is an object with the methods of SessionStore, not the class {store.__name__}")
    for name in vars(SessionStore):
        if not name.startswith("_") and not hasattr(store, name):
            raise TypeError(f"store is an object with the methods of SessionStore; {store!r:.80} has no {name}")


class FileMaintenance(Protocol):
    """A look at the files beside the sessions. Every method raises `StoreUnavailableError` if the disk refuses."""

    async def leftovers(self) -> Sequence[Leftover]:
        """Return the files beside the sessions: temporary, unfinished, in quarantine, or in the trash."""
        ...

    async def quarantined(self) -> Sequence[QuarantinedFile]:
        """Return the files in quarantine, the oldest first."""
        ...

    async def free_disk(self) -> int | None:
        """Return the free bytes of the disk; None: it does not report them."""
        ...

    async def misplaced(self) -> str:
        """Return why the path no longer leads to the directory; empty: it does."""
        ...
