"""The session runtime over a `SessionStore`: every change is in the store before the call returns.

The runtime keeps the sessions in use in memory, under leases (`miniclaw.stores.hot`), and takes its turns at the daily
cleanup that all programs over the store share (`miniclaw.stores.sweep`).
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from miniclaw.clock import Clock, Now, as_clock, utc_now
from miniclaw.errors import (
    NoTrioError,
    SessionExistsError,
    SessionKeptError,
    SessionNotFoundError,
    TrashEntryNotFoundError,
)
from miniclaw.loggers import get_logger
from miniclaw.session.calls.rules import AUTOSAVE, rules_of
from miniclaw.session.entries import Deletion, SessionEntry, TrashedSession
from miniclaw.session.format import codec, growth
from miniclaw.session.format.metadata import merged
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import RemovalCandidate, RemovedSession
from miniclaw.session.names import make_session_id
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import LiveSession
from miniclaw.session.retention.policy import DAILY, PolicyError, RetentionPolicy
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS
from miniclaw.session.sessions import Sessions
from miniclaw.session.types import JSON, Message, Session
from miniclaw.stores.daily import DailySweep
from miniclaw.stores.hot import HotSession, HotSessions, decoded, new_op, patiently
from miniclaw.stores.paging import PAGE, Converted, Events, Paged
from miniclaw.stores.protocol import SessionStore, check_store
from miniclaw.stores.sweep import Sweeper, load_for_hook
from miniclaw.stores.types import AuditLine, Header, Outcome, Trashed

GRACE_SECONDS: Final = 5.0
"""Time for calls under way to end, and again for the release of the leases."""

MAX_HOT_SESSIONS: Final = 1_000
"""Most sessions in memory, unless they are in use."""

log: Final = get_logger("miniclaw.session.cleanup")


class StoreRuntime(Sessions):
    """A running session runtime over a store, made by `open_store_runtime`.

    Attributes:
        store: The store.
        policy: The retention policy.
        hot: The sessions in memory.
        daily: The turns of this program at the daily cleanup.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        policy: RetentionPolicy,
        cleanup: timedelta | time | None,
        removes: bool,
        notice: bool,
        hooks: Hooks,
        clock: Now,
        max_session_bytes: int,
        max_live_sessions: int,
    ) -> None:
        for rule in ("max_disk_bytes", "min_free_disk"):
            if getattr(policy, rule) is not None:
                raise PolicyError(rule, "it is a rule for sessions in files; leave it out for a store of your own")
        self.store = store
        self.policy = policy
        self._clock = clock
        self._max_bytes = max_session_bytes
        self.hooks = hooks
        self.hot: HotSessions = HotSessions(store, max_live_sessions)
        interval = cleanup if isinstance(cleanup, timedelta) else DAILY
        self._sweeper = Sweeper(
            store, policy=policy, interval=interval, notice=notice, hooks=hooks, now=self.now, live=self._live
        )
        self.daily: DailySweep = DailySweep(
            store, self._sweeper, cleanup or DAILY, removes=removes, notice=notice, now=self.now
        )

    def now(self) -> datetime:
        """Return the present in UTC, by the clock of the runtime."""
        return self._clock().astimezone(UTC)

    def _check_open(self) -> None:
        self.hot.check_open()

    def _live(self, session_id: str) -> LiveSession | None:
        hot = self.hot.find(session_id)
        if hot is None or hot.session is None:
            return None
        return LiveSession(hot.session.last_accessed, hot.users > 0, hot.session.pinned)

    async def end(self) -> None:
        """End calls and services, and release the leases; each has `GRACE_SECONDS`.

        Cancellation: without effect.
        """
        self.daily.stop()
        with trio.move_on_after(GRACE_SECONDS, shield=True):
            await self.daily.ended.wait()
        await self.hot.close(GRACE_SECONDS)
        with trio.move_on_after(GRACE_SECONDS, shield=True):
            await self.hooks.finish()
        self.hooks.close()

    # Access ---------------------------------------------------------------------------------------------------

    async def _get_or_create(self, channel: str, chat_id: str) -> Session:
        async with self.hot.held(make_session_id(channel, chat_id)) as hot:
            return await self.hot.commit(hot)

    async def _get(self, session_id: str) -> Session | None:
        async with self.hot.held(session_id) as hot:
            return None if hot.session is None else await self.hot.commit(hot)

    async def _read(self, session_id: str) -> Session | None:
        self._check_open()
        stored = await patiently(partial(self.store.load, session_id))
        return None if stored is None else decoded(stored)

    @asynccontextmanager
    async def _using(self, session_id: str, *, create: bool) -> AsyncIterator[Session]:
        async with self.hot.held(session_id) as hot:
            if not create:
                hot.found()
            session = await self.hot.commit(hot)
            hot.users += 1
        try:
            yield session
        finally:
            hot.users -= 1
            hot.used_at = trio.current_time()

    # Changes --------------------------------------------------------------------------------------------------

    async def _add_messages(self, session_id: str, messages: Sequence[Message], *, durable: bool) -> Session:
        del durable  # every change is
        measured = [codec.measure_message(message) for message in messages]
        async with self.hot.held(session_id) as hot:
            session, added = hot.found(), 0
            for message, size in measured:
                added += size
                growth.check_room(session, message, added, self._max_bytes)
            before = growth.file_bytes(session)
            session = await self.hot.commit(hot, messages=[message for message, _ in measured])
            growth.set_file_bytes(session, before + added)
            return session

    async def _pop_messages(self, session_id: str, count: int | None) -> builtins.list[Message]:
        async with self.hot.held(session_id) as hot:
            session = hot.found()
            keep = 0 if count is None else max(0, len(session.messages) - count)
            popped = session.messages[keep:]
            await self.hot.commit(hot, keep=keep)
            growth.set_file_bytes(session, sum(map(len, codec.encode_in_pieces(session))))
            return popped

    async def _set_metadata(self, session_id: str, values: Mapping[str, JSON]) -> Session:
        async with self.hot.held(session_id) as hot:
            after = merged(hot.found().metadata, values)
            return await self.hot.commit(hot, metadata=msgspec.json.encode(after) if after else b"", touch=False)

    async def _set_pinned(self, session_id: str, pinned: bool) -> bool:
        self._check_open()
        changed = await patiently(partial(self.store.pin, session_id, pinned))
        hot = self.hot.find(session_id)
        if hot is not None and hot.session is not None:
            hot.session.pinned = pinned
        return changed

    async def _durable(self, session_id: str) -> None:
        self._check_open()
        if await patiently(partial(self.store.header, session_id)) is None:
            raise SessionNotFoundError(session_id)

    # Lists ----------------------------------------------------------------------------------------------------

    def _list(
        self, *, channel: str | None, older_than: timedelta | None, younger_than: timedelta | None, pinned: bool | None
    ) -> AsyncIterator[SessionEntry]:
        async def page(last: Header | None) -> Sequence[Header]:
            return await self.store.headers(
                channel=channel, older_than=older_than, younger_than=younger_than, pinned=pinned,
                after="" if last is None else last.session_id, limit=PAGE,
            )  # fmt: skip

        return Converted(Paged(page), _entry_of)

    def _trash(self) -> AsyncIterator[TrashedSession]:
        return Converted(self._trashed(), _trashed_of)

    def _trashed(self, session_id: str | None = None) -> AsyncIterator[Trashed]:
        async def page(last: Trashed | None) -> Sequence[Trashed]:
            return await self.store.trash(session_id=session_id, before=last, limit=PAGE)

        return Paged(page)

    def _history(self) -> AsyncIterator[HistoryEvent]:
        async def page(last: AuditLine | None) -> Sequence[AuditLine]:
            return await self.store.audit(before=None if last is None else last.number, limit=PAGE)

        return Events(Paged(page))

    # Removal --------------------------------------------------------------------------------------------------

    async def _delete(self, session_id: str, *, erase: bool) -> Deletion:
        self._check_open()
        reason, trash_for = ("erased", None) if erase else ("deleted", self.policy.trash_for)
        await self._ask(session_id, reason, goes_to_trash=trash_for is not None)
        op, erased = new_op(), 0
        async with self.hot.held(session_id) as hot:
            if hot.session is None and not erase:
                raise SessionNotFoundError(session_id)
            outcome = await self._remove(hot, trash_for, reason, op)
        if erase:
            entries = [entry async for entry in self._trashed(session_id)]
            ids = [entry.entry_id for entry in entries]
            if ids:
                gone = await patiently(partial(self.store.empty_trash, ids, by="program", op=op))
                erased = sum(entry.size for entry in gone)
            elif outcome is None:
                raise SessionNotFoundError(session_id)
        if outcome is None:
            return Deletion(session_id, erased)
        freed = erased if outcome.entry_id else erased + outcome.size
        log.info("Session deleted", session_id=session_id, by="program", trash_entry=outcome.entry_id or None)
        self.hooks.removed(
            RemovedSession(
                session_id=session_id, reason=reason, bytes_freed=freed, entry_id=outcome.entry_id, by="program"
            )
        )
        return Deletion(session_id, freed, outcome.entry_id)

    async def _remove(self, hot: HotSession, trash_for: timedelta | None, reason: str, op: str) -> Outcome | None:
        """Remove a session that the caller holds; None: there is none."""
        lease = hot.lease
        if hot.session is None or lease is None:
            return None
        hot.revision = -1  # until the outcome is known
        outcome = await patiently(
            partial(self.store.remove, lease, trash_for=trash_for, reason=reason, by="program", op=op)
        )
        self.hot.forget(hot)
        return outcome if outcome.verdict == "removed" else None

    async def _ask(self, session_id: str, reason: str, *, goes_to_trash: bool) -> None:
        """Ask the program before a deletion on request.

        Raises:
            SessionKeptError: It keeps the session.
        """
        header = await patiently(partial(self.store.header, session_id)) if self.hooks.asks else None
        if header is None:
            return
        candidate = RemovalCandidate(
            session_id=session_id, channel=header.channel, chat_id=header.chat_id, last_accessed=header.last_accessed,
            pinned=header.pinned, bytes=header.size, reason=reason, goes_to_trash=goes_to_trash,
        )  # fmt: skip
        answer = (await self.hooks.ask([(candidate, partial(load_for_hook, self.store, session_id))]))[0]
        if answer is not None:
            raise SessionKeptError(session_id, answer)

    async def _restore(self, text: str) -> str:
        self._check_open()
        op = new_op()
        answer = await patiently(partial(self.store.restore, text, by="program", op=op))
        if answer.verdict == "gone":
            newest = await patiently(partial(self.store.trash, session_id=text, limit=1))
            if not newest:
                raise TrashEntryNotFoundError(None, text)
            answer = await patiently(partial(self.store.restore, newest[0].entry_id, by="program", op=op))
        if answer.verdict == "gone":
            raise TrashEntryNotFoundError(None, text)
        if answer.verdict == "taken":
            raise SessionExistsError(Path(answer.session_id), answer.session_id)
        log.info("Session restored", session_id=answer.session_id, trash_entry=text)
        return answer.session_id

    async def _plan(self) -> CleanupPlan:
        return await self._sweeper.plan()

    async def _clean_up(self, *, confirmed: bool) -> CleanupResult:
        result = await self._sweeper.run(confirmed=confirmed, by="program")
        await self.hooks.told()
        return result


def _entry_of(header: Header) -> SessionEntry:
    return SessionEntry(
        session_id=header.session_id, channel=header.channel, chat_id=header.chat_id, created_at=header.created_at,
        last_accessed=header.last_accessed, pinned=header.pinned, bytes=header.size,
        metadata=msgspec.json.decode(header.metadata) if header.metadata else {},
    )  # fmt: skip


def _trashed_of(entry: Trashed) -> TrashedSession:
    return TrashedSession(
        entry_id=entry.entry_id, session_id=entry.session_id, removed_at=entry.removed_at, expires_at=entry.expires_at,
        last_accessed=entry.last_accessed, reason=entry.reason, by=entry.by, bytes=entry.size,
    )  # fmt: skip


@asynccontextmanager
async def open_store_runtime(
    store: SessionStore,
    *,
    policy: RetentionPolicy | None = None,
    cleanup: timedelta | time | None = DAILY,
    removes: bool = True,
    notice: bool = True,
    hooks: Hooks | None = None,
    max_session_bytes: int = growth.GROWTH_BYTES,
    max_live_sessions: int = MAX_HOT_SESSIONS,
    clock: Clock | Now | None = None,
) -> AsyncIterator[StoreRuntime]:
    """Run a session runtime over a store around a block, in any trio program.

    When the block ends, calls under way have `GRACE_SECONDS` to end, and the leases are released.

    Args:
        store: The store; its opening and closing are the program's.
        policy: The retention policy; None: 30 days. `max_disk_bytes` and `min_free_disk` are rules for files only.
        cleanup: Time between two daily runs, or the time of day; None: no daily run by this program.
        removes: If false, the daily runs only announce.
        notice: If true, the daily runs remove only what a run has announced.
        hooks: The hooks of the program; None: none.
        max_session_bytes: Bound on the size to which people's messages let a session grow.
        max_live_sessions: Most sessions in memory that are not in use, at least 1.
        clock: The clock; None: that of the store, or else of the machine.

    Raises:
        NoTrioError: The program does not run on trio.
        TypeError: An argument has the wrong type.
        ValueError: A duration is not positive, or a bound is none. `PolicyError`: a rule is one for files only.
    """
    if not trio.lowlevel.in_trio_task():
        raise NoTrioError
    check_store(store)
    rules = rules_of(
        None, policy=policy, autosave=AUTOSAVE, cleanup=cleanup, removes=removes, notice=notice,
        max_session_bytes=max_session_bytes, persistence_interval_seconds=PERSISTENCE_INTERVAL_SECS,
        cleanup_interval_seconds=CLEANUP_INTERVAL_SECS, cleanup_at=None,
    )  # fmt: skip
    wall = (store.clock or utc_now) if clock is None else as_clock(clock).wall
    hooks = hooks or Hooks()
    runtime = StoreRuntime(
        store, policy=rules.policy, cleanup=cleanup, removes=removes, notice=notice, hooks=hooks,
        clock=wall, max_session_bytes=max_session_bytes, max_live_sessions=max_live_sessions,
    )  # fmt: skip
    # The nursery is an internal detail: an error of the block is raised as itself, not in its group.
    error_of_block: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.hot.run)
        nursery.start_soon(hooks.run)
        if cleanup is not None:
            await nursery.start(runtime.daily.run)
        try:
            yield runtime
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            error_of_block = error
        finally:
            await runtime.end()  # noqa: ASYNC102 - it has shields and deadlines of its own
            nursery.cancel_scope.cancel()
    if error_of_block is not None:
        raise error_of_block
