"""The trial of a store: two stores over the same new sessions, a way to let time pass, and helpers for the checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import msgspec
import trio

from miniclaw.clock import utc_now
from miniclaw.session.types import Message
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import Candidate, Change, Lease, Outcome, Saved, Stored

PassTime = Callable[[timedelta], Awaitable[None] | None]
"""Lets the clock of a store move on by a duration."""

FOREVER: Final = timedelta(days=365)
"""A duration that does not pass during a check."""

NEVER: Final = timedelta(0)
"""The age that any session has exceeded a moment after its last use."""

_WRITTEN_AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class BrokenPromiseError(AssertionError):
    """A store that does not do as `SessionStore` says."""


def message(text: str) -> bytes:
    """Return a message as a store receives it."""
    return msgspec.json.encode(Message("user", text, _WRITTEN_AT))


class Trial:
    """One check's view of the stores.

    Attributes:
        store, other: Two owners' stores over the same sessions; there are none at the beginning.
        unit: A short duration, which `wait` lets pass quickly.
        exact: True if the clock stands still between two calls of `wait`.
        many: Number of sessions for checks with many.
    """

    def __init__(
        self, stores: Sequence[SessionStore], unit: timedelta, pass_time: PassTime | None, *, many: int
    ) -> None:
        self.store: SessionStore
        self.other: SessionStore
        self.store, self.other = stores
        self.unit = unit
        self.exact: bool = pass_time is not None
        self.many = many
        self._pass_time = pass_time
        self._ops = count(1)

    async def wait(self, units: float) -> None:
        """Let time pass on the store's clock."""
        if self._pass_time is None:
            await trio.sleep((self.unit * units).total_seconds())
        elif (waiting := self._pass_time(self.unit * units)) is not None:
            await waiting

    def op(self) -> str:
        """Return a new name for a change."""
        return f"op-{next(self._ops)}"

    def now(self) -> datetime:
        """Return the present, as a program on the store's machine knows it."""
        return (self.store.clock or utc_now)()

    def empty(self) -> Change:
        """Return a change without messages: a use."""
        return Change(op=self.op())

    # Shortcuts ------------------------------------------------------------------------------------------------

    async def write(self, lease: Lease, *texts: str, store: SessionStore | None = None) -> Saved:
        """Append messages."""
        return await (store or self.store).commit(lease, Change(op=self.op(), messages=[*map(message, texts)]))

    async def put(self, session_id: str, *texts: str, store: SessionStore | None = None) -> Saved:
        """Append messages under a lease that is released at once."""
        store = store or self.store
        lease = await store.acquire(session_id, FOREVER)
        saved = await self.write(lease, *texts, store=store)
        await store.release(saved.lease)
        return saved

    async def candidate(self, session_id: str, *texts: str) -> Candidate:
        """Make a session, let its age exceed `NEVER`, and return it as a candidate of a removal."""
        saved = await self.put(session_id, *texts)
        await self.wait(0.01)
        return Candidate(session_id, saved.last_accessed)

    async def sweep(
        self,
        *candidates: Candidate,
        min_age: timedelta = NEVER,
        trash_for: timedelta | None = FOREVER,
        announced: bool = False,
        op: str = "",
        now: datetime | None = None,
        store: SessionStore | None = None,
    ) -> list[Outcome]:
        """Remove what is unused."""
        return [
            *await (store or self.store).remove_if_unused(
                candidates, min_age=min_age, trash_for=trash_for, reason="ttl", by="check", op=op or self.op(),
                now=now or self.now(), announced=announced,
            )
        ]  # fmt: skip

    async def verdict(
        self, candidate: Candidate, *, min_age: timedelta = NEVER, announced: bool = False, now: datetime | None = None
    ) -> str:
        """Return the verdict of a sweep on one candidate."""
        return (await self.sweep(candidate, min_age=min_age, announced=announced, now=now))[0].verdict

    async def loaded(self, session_id: str) -> Stored:
        """Return a session that has to exist."""
        stored = await self.store.load(session_id)
        if stored is None:
            raise BrokenPromiseError(f"the session {session_id!r} exists, but load returned None")
        return stored

    async def messages(self, session_id: str) -> list[bytes] | None:
        """Return the messages of a session; None: there is none."""
        stored = await self.store.load(session_id)
        return None if stored is None else [*stored.messages]

    async def has(self, session_id: str, *texts: str) -> None:
        """Check that a session has exactly these messages."""
        same(f"the messages of {session_id!r}", await self.messages(session_id), [*map(message, texts)])


def same(what: str, found: object, expected: object) -> None:
    """Check that two values are equal."""
    if found != expected:
        raise BrokenPromiseError(f"{what}: expected {expected!r:.300}, found {found!r:.300}")


def holds(promise: str, is_kept: bool) -> None:
    """Check a promise, given as a sentence."""
    if not is_kept:
        raise BrokenPromiseError(promise)


@contextmanager
def refused(error: type[Exception], what: str) -> Iterator[list[Exception]]:
    """Check that the block raises an error, which the list has after the block."""
    raised: list[Exception] = []
    try:
        yield raised
    except error as found:
        raised.append(found)
    else:
        raise BrokenPromiseError(f"{what} raises {error.__name__}; nothing was raised")
