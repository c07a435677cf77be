"""The state that all stores over one directory share, and the steps in which they change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Raw, Struct
from msgspec.structs import replace

from miniclaw.clock import to_microseconds
from miniclaw.errors import (
    CorruptSessionError,
    InvalidMessageError,
    LeaseLostError,
    MismatchedSessionError,
    NoSessionFileError,
    RevisionConflictError,
    RuntimeClosedError,
    SessionBusyError,
    SessionFullError,
    SessionNotFoundError,
    SessionTooLargeError,
    StoreError,
    StoreUnavailableError,
)
from miniclaw.session.as_store.event_log import EventLog, Record
from miniclaw.session.format.codec import encode_in_pieces, encode_message, read_message
from miniclaw.session.format.footprint import SOURCE
from miniclaw.session.live.locks import FileLocks
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.types import Message, Session
from miniclaw.stores.leases import LeaseTable, SweepClaim
from miniclaw.stores.types import AuditKind, AuditLine, Header, Saved

T = TypeVar("T")

ALL: Final = ""
"""Name of the lock on the trash and the log; no session has this id. It is taken before those of sessions."""

UNUSABLE: Final = (CorruptSessionError, MismatchedSessionError, NoSessionFileError, SessionTooLargeError)
"""Errors of a file that holds no session. A new session may begin in its place; the file is moved to quarantine."""

_PROTOCOL_ERRORS: Final = (
    InvalidMessageError, LeaseLostError, RevisionConflictError, SessionBusyError, SessionNotFoundError,
    SessionFullError, StoreUnavailableError, RuntimeClosedError,
)  # fmt: skip


class Known(Struct):
    """A session as the stores know it.

    Attributes:
        revision: Its revision.
        state: Distinguishes it from a session that another program has put into its place.
        op: Name of its latest change; empty: none by a store.
        saved: The answer to that change.
    """

    revision: int
    state: tuple[object, ...]
    op: str = ""
    saved: Saved | None = None


class FileCore:
    """The sessions of a directory, as its stores see them. Changed on the trio thread only.

    Args:
        runtime: The runtime over the directory, without a daily cleanup.
        events: The log, as it was read.
        nursery: Runs the steps.

    Attributes:
        locks: One lock for each session, and `ALL`. A step holds them until what it has changed is durable.
        known: The sessions that a store has used.
        leases: The leases of all stores.
        claim: The claim on the sweep.
        closed: True once the directory is about to be closed.
        changed: Called with the id of each session that a step changes.
    """

    def __init__(self, runtime: SessionRuntime, events: EventLog, nursery: trio.Nursery) -> None:
        self.runtime = runtime
        self.manager: SessionManager = runtime.manager
        self.files: FileSessionStore = runtime.manager.store
        self.events = events
        self.locks: FileLocks = FileLocks()
        self.known: dict[str, Known] = {}
        self.closed: bool = False
        self.changed: Callable[[str], None] = lambda _: None  # called in each step that changes a session
        self._nursery = nursery
        self._writing = trio.CapacityLimiter(1)
        self._append_lock = trio.Lock()
        # Larger than every number of an earlier owner of the directory, even if the log is lost.
        numbers = [*events.lines, *events.begun, to_microseconds(self.now())]
        self._numbers = count(max(numbers) + 1)
        self.leases: LeaseTable = LeaseTable(self.now, self.next_number)
        self.claim: SweepClaim = SweepClaim(self.now, self.next_number)

    def now(self) -> datetime:
        """Return the present."""
        return self.runtime.now().astimezone(UTC)

    def next_number(self) -> int:
        """Return a token, revision or line number, larger than every earlier one."""
        return next(self._numbers)

    # Steps ----------------------------------------------------------------------------------------------------

    async def step(self, work: Callable[[], Awaitable[T]], *names: str) -> T:
        """Do work that no other step on these sessions sees in part, and return its result.

        Raises:
            StoreUnavailableError: The files refuse, or do not answer. Errors of the protocol are raised as they are.
            RuntimeClosedError: The directory is closed.

        Cancellation: the caller returns at once; the work is done nevertheless, and later steps wait for it.
        """
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise RuntimeClosedError
        done, results, errors = trio.Event(), list[T](), list[Exception]()

        async def run() -> None:
            try:
                async with self.locks.hold(*names):
                    results.append(await work())
            except Exception as error:  # noqa: BLE001 - raised to the caller
                errors.append(error)
            finally:
                done.set()

        self._nursery.start_soon(run)
        await done.wait()
        if results:
            return results[0]
        error = errors[0] if errors else RuntimeClosedError()
        if isinstance(error, StoreError) and not isinstance(error, _PROTOCOL_ERRORS):
            raise StoreUnavailableError(str(error)) from error
        raise error

    async def record(self, *records: Record) -> None:
        """Record events durably, and enter them; `StoreError`: some of them may be recorded."""
        async with self._append_lock:
            await self.files.run(lambda: self.events.append(records), self._writing)
            self.events.apply(records)
            if self.events.is_long:
                whole = self.events.records()
                await self.files.run(lambda: self.events.write(whole), self._writing)

    def line(self, kind: AuditKind, op: str, by: str, reason: str) -> AuditLine:
        """Return a new line of the audit log."""
        return AuditLine(self.next_number(), self.now(), kind, op, by, reason)

    # Sessions -------------------------------------------------------------------------------------------------

    async def read(self, session_id: str) -> Session | None:
        """Return a copy of a session; None: there is none that can be used. The caller holds its lock."""
        try:
            return await self.manager.editor.read(session_id)
        except UNUSABLE:
            return None

    def know(self, session_id: str, session: Session | None) -> Known:
        """Return what is known of a session that was just read; revision 0: there is none."""
        known = self.known.get(session_id)
        if session is None:
            self.known.pop(session_id, None)
            return Known(0, ())
        state = state_of(session)
        if known is None or known.state != state:
            known = self.known[session_id] = Known(self.next_number(), state)
        return known

    def header(self, session_id: str, session: Session) -> Header:
        """Return the header of a session that was just read."""
        due = self.events.due.get(session_id)
        is_due = due is not None and due.last_accessed == session.last_accessed
        return Header(
            session_id, session.channel, session.chat_id,
            created_at=session.created_at.astimezone(UTC),
            last_accessed=session.last_accessed.astimezone(UTC),
            revision=self.know(session_id, session).revision,
            count=len(session.messages),
            size=sum(map(len, encode_in_pieces(session))),
            pinned=bool(session.pinned),
            metadata=msgspec.json.encode(session.metadata) if session.metadata else b"",
            due_at=due.due_at if due is not None and is_due else None,
        )  # fmt: skip


def state_of(session: Session) -> tuple[object, ...]:
    """Return what distinguishes a session from one that another program has put into its place."""
    return session.created_at, session.last_accessed, len(session.messages), session.metadata


def to_messages(texts: Sequence[bytes], now: datetime) -> list[Message]:
    """Return messages whose source is kept, so that they are returned byte for byte."""
    return [_to_message(text, now) for text in texts]


def _to_message(text: bytes, now: datetime) -> Message:
    message = read_message(Raw(text), now)
    if SOURCE not in vars(message):
        return message
    in_utc = replace(message, timestamp=message.timestamp.astimezone(UTC))  # an edit of a message loses its source
    vars(in_utc)[SOURCE] = vars(message)[SOURCE]
    return in_utc


def to_text(message: Message) -> bytes:
    """Return the JSON of a message, as it was given."""
    source: Raw | None = getattr(message, SOURCE, None)
    return encode_message(message) if source is None else bytes(source)
