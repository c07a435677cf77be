"""The sessions that a program has in memory over a `SessionStore`: each under a lease, changed in the store first.

A session is *hot* from its first use until it was idle for `IDLE`. While it is hot, its lease is renewed, and no other
program changes it. A lease may be lost nevertheless, as after a pause of the program. The next change then acquires it
again: if the session has the known revision, the change is made; otherwise memory takes over the store's state, and
`RevisionConflictError` is raised.

The trio thread owns all state here. One task at a time works on a session, under its lock.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import msgspec
import trio
from msgspec import Raw
from msgspec.structs import replace

from miniclaw.errors import (
    LeaseLostError,
    RevisionConflictError,
    RuntimeClosedError,
    SessionNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from miniclaw.loggers import get_logger
from miniclaw.session.format.codec import encode_message, read_message
from miniclaw.session.format.footprint import SOURCE
from miniclaw.session.format.growth import set_file_bytes
from miniclaw.session.names import split_session_id
from miniclaw.session.ownership.opener import OpeningRun
from miniclaw.session.types import Message, Session
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import Change, Lease, Saved, Stored

T = TypeVar("T")

LEASE: Final = timedelta(seconds=30)
"""Duration of a lease; another program can use the sessions of one that was killed after that time."""

RENEWAL_SECONDS: Final = 10.0

IDLE_SECONDS: Final = 60.0
"""Time without a use after which a session leaves memory."""

PATIENCE_SECONDS: Final = 20.0
"""Time for which a call is repeated while the store does not answer."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

log: Final = get_logger("miniclaw.stores")


def new_op() -> str:
    """Return a new name for a change, unique among all programs."""
    return os.urandom(16).hex()


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call a store, and repeat the call while it does not answer, for `PATIENCE_SECONDS`.

    Raises:
        StoreUnavailableError: It did not answer in that time.
    """
    deadline, pause = trio.current_time() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await call()
        except StoreUnavailableError:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def encoded(message: Message) -> bytes:
    """Return a message as a store keeps it: its source text, if it was read from one."""
    source: Raw | None = vars(message).get(SOURCE)
    return encode_message(message) if source is None else bytes(source)


def decoded(stored: Stored) -> Session:
    """Return the session that a store has."""
    header = stored.header
    session = Session(
        header.session_id, header.channel, header.chat_id, header.created_at, header.last_accessed, [], header.pinned
    )
    if header.metadata:
        session.metadata = msgspec.json.decode(header.metadata, type=dict)
    time = header.created_at
    for text in stored.messages:
        message = read_message(Raw(text), time)
        time = message.timestamp
        session.messages.append(message)
    set_file_bytes(session, header.size)
    return session


class HotSession:
    """One session in memory; `session` is None if the store has none of this id.

    Attributes:
        lease: The lease as far as known; None: it has to be acquired.
        revision: Of `session`; -1: not known, because a change was broken off.
        users: Blocks that are using the session.
        waiting: Tasks that have the lock or wait for it.
        used_at: Time of the last use, on trio's clock.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.session: Session | None = None
        self.lease: Lease | None = None
        self.revision = -1
        self.users = 0
        self.waiting = 0
        self.used_at: float = trio.current_time()
        self.lock: trio.Lock = trio.Lock()

    def found(self) -> Session:
        """Return the session.

        Raises:
            SessionNotFoundError: The store has none.
        """
        if self.session is None:
            raise SessionNotFoundError(self.session_id)
        return self.session


class HotSessions:
    """The sessions in memory.

    Args:
        store: The store.
        max_sessions: Most sessions that are kept without being in use.
    """

    def __init__(self, store: SessionStore, max_sessions: int) -> None:
        self._store = store
        self._max = max_sessions
        self._hot: dict[str, HotSession] = {}
        self._known: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._closed = False
        self._opener = OpeningRun()
        self._idle = trio.Event()
        self._wake = trio.Event()  # set when the first session becomes hot; replaced by `run`
        self._under_way = 0

    def find(self, session_id: str) -> HotSession | None:
        """Return a session that is hot."""
        return self._hot.get(session_id)

    def check_open(self) -> None:
        """Raise `RuntimeClosedError` from the end of the runtime on, and the errors of `OpeningRun.check`."""
        self._opener.check()
        if self._closed:
            raise RuntimeClosedError

    @asynccontextmanager
    async def held(self, session_id: str) -> AsyncIterator[HotSession]:
        """Hold a session, leased and as the store has it, for a block that no other task of this program shares.

        Raises:
            SessionBusyError: Another program has it.
            StoreUnavailableError: The store does not answer.
        """
        self.check_open()
        hot = self._hot.setdefault(session_id, HotSession(session_id))
        self._wake.set()
        hot.waiting += 1
        self._under_way += 1
        try:
            async with hot.lock:
                if hot.lease is None or hot.revision < 0:
                    await self._take(hot)
                yield hot
        finally:
            hot.used_at = trio.current_time()
            hot.waiting -= 1
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        if hot.session is None or len(self._hot) > self._max:
            await self._make_room(hot)

    async def _take(self, hot: HotSession) -> None:
        """Acquire the lease, and load the session unless memory has its revision."""
        lease = await patiently(lambda: self._store.acquire(hot.session_id, LEASE))
        if lease.revision != hot.revision:
            await self._load(hot)
        hot.lease = replace(lease, revision=hot.revision)

    async def _load(self, hot: HotSession) -> None:
        stored = await patiently(lambda: self._store.load(hot.session_id))
        if stored is None:
            hot.session, hot.revision = None, 0
            self._known.pop(hot.session_id, None)
            return
        session = decoded(stored)
        known = hot.session or self._known.get(hot.session_id)
        if known is not None:  # an object that a caller holds keeps its identity
            for name in Session.__struct_fields__:
                setattr(known, name, getattr(session, name))
            vars(known).update(vars(session))
            session = known
        hot.session, hot.revision = session, stored.header.revision
        self._known[hot.session_id] = session

    async def commit(
        self,
        hot: HotSession,
        *,
        messages: Sequence[Message] = (),
        keep: int | None = None,
        metadata: bytes | None = None,
        touch: bool = True,
    ) -> Session:
        """Make a change in the store, and then in memory; the caller holds the session.

        Raises:
            RevisionConflictError: Another program has changed the session; memory has its present state now.
            StoreUnavailableError: The store does not answer; whether the change was made is not known.
        """
        change = Change(
            op=new_op(), messages=[encoded(each) for each in messages], keep=keep, metadata=metadata, touch=touch
        )
        revision, hot.revision = hot.revision, -1  # until the outcome is known: a call may be cancelled
        saved = await self._send(hot, change, revision)
        hot.lease, hot.revision = saved.lease, saved.lease.revision
        session = hot.session
        if session is None:
            parts = split_session_id(hot.session_id)
            session = Session(hot.session_id, *parts, saved.last_accessed, saved.last_accessed)
            hot.session = self._known[hot.session_id] = session
        session.last_accessed = saved.last_accessed
        if keep is not None:
            del session.messages[keep:]
        session.messages += messages
        if metadata is not None:
            session.metadata = msgspec.json.decode(metadata, type=dict) if metadata else {}
        return session

    async def _send(self, hot: HotSession, change: Change, revision: int) -> Saved:
        uncertain = False

        async def send() -> Saved:
            nonlocal uncertain
            while True:
                # With the revision that memory knows: another one is no ground for this change.
                lease = hot.lease or await self._store.acquire(hot.session_id, LEASE)
                hot.lease = lease = replace(lease, revision=revision)
                try:
                    return await self._store.commit(lease, change)
                except LeaseLostError:
                    hot.lease = None
                except StoreUnavailableError:
                    uncertain = True
                    raise

        try:
            return await patiently(send)
        except RevisionConflictError as error:
            hot.lease = None
            await self._take(hot)  # noqa: ASYNC120 - a cancellation may take its place: the next use loads
            if uncertain:
                raise StoreUnavailableError("and another program has changed the session since") from error
            raise RevisionConflictError(hot.session_id) from error

    def forget(self, hot: HotSession) -> None:
        """Note that the session was removed; an object that a caller holds is no session any more."""
        hot.session, hot.revision = None, 0
        self._known.pop(hot.session_id, None)
        if hot.lease is not None:
            hot.lease = replace(hot.lease, revision=0)

    # Leases --------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renew the leases until cancelled, and let idle sessions leave memory."""
        task_status.started()
        while True:
            if not self._hot:
                self._wake = trio.Event()
                await self._wake.wait()
            await trio.sleep(RENEWAL_SECONDS)
            idle_since = trio.current_time() - IDLE_SECONDS
            try:
                for hot in [hot for hot in self._hot.values() if hot.used_at <= idle_since]:
                    await self._evict(hot)
                await self._renew()
            except StoreError as error:
                log.warning("Leases on sessions could not be renewed", error=str(error))

    async def _renew(self) -> None:
        leased = {hot.session_id: hot.lease for hot in self._hot.values() if hot.lease is not None}
        if leased:
            for session_id in await self._store.renew([*leased.values()], LEASE):
                hot = self._hot.get(session_id)
                if hot is not None and hot.lease is not None and hot.lease.token == leased[session_id].token:
                    hot.lease = None

    async def _make_room(self, used: HotSession) -> None:
        if used.session is None:
            await self._evict(used)
        for hot in sorted(self._hot.values(), key=lambda hot: hot.used_at)[: max(0, len(self._hot) - self._max)]:
            await self._evict(hot)

    async def _evict(self, hot: HotSession) -> None:
        """Let a session leave memory, unless it is in use; its lease then ends by itself, if not by the release."""
        if hot.users or hot.waiting or self._hot.get(hot.session_id) is not hot:
            return
        hot.waiting += 1
        try:
            async with hot.lock:
                if hot.lease is not None:
                    with suppress(StoreUnavailableError):
                        await self._store.release(hot.lease)
                    hot.lease = None
                if hot.waiting == 1 and not hot.users:
                    self._hot.pop(hot.session_id, None)
        finally:
            hot.waiting -= 1

    async def close(self, grace_seconds: float) -> None:
        """Refuse new calls, wait for those under way, and release the leases; each for `grace_seconds` at most.

        Cancellation: without effect.
        """
        self._closed = True
        with trio.move_on_after(grace_seconds, shield=True):
            while self._under_way:
                self._idle = trio.Event()
                await self._idle.wait()
        with trio.move_on_after(grace_seconds, shield=True):
            async with trio.open_nursery() as nursery:
                for hot in self._hot.values():
                    if hot.lease is not None:
                        nursery.start_soon(self._release, hot.lease)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._store.release(lease)
        except StoreError as error:
            log.warning("Lease could not be released; it ends by itself", session_id=lease.session_id, error=str(error))
